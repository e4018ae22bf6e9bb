package client

import (
	"fmt"
	"runtime"
	"time"

	"ffwd/queue/wire"
)

// Action is what a Verdict decides.
type Action = wire.Action

// Actions. Source: VQ-2.
const (
	Drop   = wire.Drop
	Accept = wire.Accept // on behind the hook; a diverted packet: behind its rule
	Repeat = wire.Repeat // ask the hook's rules again from the first on
	Move   = wire.Move   // to the queue Verdict.Queue
	Take   = wire.Take   // the packet is this listener's: the switch forgets it
)

// Verdict says what is to become of a packet.
type Verdict struct {
	Action Action
	Queue  uint16  // of Move
	Mark   *uint32 // the packet's new mark; nil: as it is
	CtMark *uint32 // its connection's new mark; nil: as it is

	// Packet takes the old packet's place, from the network header on; nil: as it
	// is. Lengths and checksums are the listener's business; the switch parses it
	// like one from a wire, and drops it when it is none. A packet that has other
	// addresses or ports than before belongs to no flow. For one packet only.
	Packet []byte
}

// record turns it into what goes into the ring.
func (v *Verdict) record(id uint64) wire.Verdict {
	r := wire.Verdict{Action: v.Action, Queue: v.Queue, ID: id}
	if v.Mark != nil {
		r.Flags, r.Mark = r.Flags|wire.SetMark, *v.Mark
	}
	if v.CtMark != nil {
		r.Flags, r.CtMark = r.Flags|wire.SetCtMark, *v.CtMark
	}
	if v.Packet != nil {
		r.Flags |= wire.Rewrite
	}
	return r
}

// Decide gives the verdict for one packet.
//
// A verdict for a packet that does not wait any more, or for a copy, has no effect.
func (l *Listener) Decide(p *Packet, v Verdict) error {
	if p.IsCopy() {
		return nil
	}
	return l.send(int(p.Worker), v.record(p.ID), v.Packet)
}

// DecideUpTo gives the verdict for a packet and for every one that was queued before it
// by the same worker and still waits.
func (l *Listener) DecideUpTo(p *Packet, v Verdict) error {
	if v.Packet != nil {
		return fmt.Errorf("queue %d: a rewritten packet is for one packet: use Decide", l.Queue())
	}
	r := v.record(p.ID)
	r.Flags |= wire.UpTo
	return l.send(int(p.Worker), r, nil)
}

// DecideAll gives one verdict for all of the packets that one Receive returned: one
// record for each worker. Packets of earlier Receives that still wait are decided too.
func (l *Listener) DecideAll(packets []Packet, v Verdict) error {
	for i := range packets {
		p := &packets[i]
		// A worker's packets are next to each other, but for copies.
		last := true
		for j := i + 1; j < len(packets) && packets[j].Worker == p.Worker; j++ {
			if !packets[j].IsCopy() {
				last = false
				break
			}
		}
		if last && !p.IsCopy() {
			if err := l.DecideUpTo(p, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// room is how long a verdict waits for a worker to take those before it. A worker takes
// them within a poll, so one that does not is gone.
const room = 2 * time.Second

// send writes a record into a worker's ring.
func (l *Listener) send(worker int, v wire.Verdict, data []byte) error {
	if !l.enter() {
		return ErrClosed
	}
	defer l.using.Unlock()
	if worker >= len(l.out) {
		return fmt.Errorf("queue %d: there is no worker %d", l.Queue(), worker)
	}
	if n := wire.VerdictRecord(len(data)); n > l.welcome.Layout.VerdictRing || v.Flags&wire.Rewrite != 0 && len(data) == 0 {
		return fmt.Errorf("queue %d: a rewritten packet of %d bytes", l.Queue(), len(data))
	}
	out := &l.out[worker]
	var start time.Time
	for {
		rec, err := out.Reserve(wire.VerdictRecord(len(data)))
		if err != nil {
			return err
		}
		if rec != nil {
			v.Put(rec, data)
			out.Publish()
			return nil
		}
		if l.closing.Load() {
			return ErrClosed
		}
		if start.IsZero() {
			start = time.Now()
		} else if time.Since(start) > room {
			return fmt.Errorf("queue %d: worker %d takes no verdicts: %w", l.Queue(), worker, ErrClosed)
		}
		runtime.Gosched()
	}
}

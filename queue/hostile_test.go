package queue

import (
	"errors"
	"strings"
	"testing"

	"ffwd/packet"
	"ffwd/queue/client"
	"ffwd/queue/wire"
)

// fuzzBed has a binding without a server or a listener: the test writes what a listener
// could, at the places where it could.
func fuzzBed(t testing.TB) (*bed, *binding) {
	o := plain(0)
	o.MaxPackets, o.MaxBytes = 16, 4096
	b := newBed(t, 1, o, plain(1))
	q := b.set.Lookup(0)
	shared, err := newBinding(q.layout(1))
	if err != nil {
		t.Fatal(err)
	}
	q.binding.Store(shared)
	b.poll()
	t.Cleanup(func() { shared.close() })
	return b, shared
}

// Whatever is in the memory that a listener writes, the worker comes through, every
// packet comes back once, and the work of a poll is bounded. Source: VQ-5
func FuzzVerdictMemory(f *testing.F) {
	v := wire.Verdict{Action: wire.Accept, Flags: wire.UpTo, ID: 1<<16 | 5}
	rec := make([]byte, wire.VerdictHeader)
	v.Put(rec, nil)
	f.Add(rec, uint64(len(rec)), uint64(0), uint8(3))
	v = wire.Verdict{Action: wire.Move, Queue: 1, ID: 1<<16 | 1, Flags: wire.Rewrite}
	rec = make([]byte, wire.VerdictRecord(100))
	v.Put(rec, make([]byte, 100))
	f.Add(rec, uint64(len(rec)), uint64(64), uint8(9))
	f.Fuzz(func(t *testing.T, memory []byte, tail, head uint64, packets uint8) {
		b, shared := fuzzBed(t)
		defer func() { b.set.Lookup(0).binding.Store(nil); b.poll() }()
		w := b.workers[0]
		for i := range int(packets % 20) {
			b.push(w, b.packet(i%4, i, 60), in0)
		}
		// Sleeping, the lane's two positions, and its ring.
		copy(shared.verdicts[64+128:], memory)
		wire.Sleeping(shared.verdicts).Store(uint32(head))
		setPositions(shared, head, tail)
		for range 3 {
			if n := len(b.release(w, 8)); n > 8 {
				t.Fatalf("%d packets", n)
			}
			w.Flush(b.nowNs)
			b.push(w, b.packet(1, 1, 60), in0)
			b.nowNs += wakeInterval
		}
	})
}

// setPositions writes how far the listener of worker 0 has read and written.
func setPositions(b *binding, head, tail uint64) {
	put := func(at int, v uint64) {
		for i := range 8 {
			b.verdicts[at+i] = byte(v >> (8 * i))
		}
	}
	put(64, head)
	put(128, tail)
}

// A listener that breaks the protocol is given up, its packets leave, and the queue can
// have another. Source: VQ-5
func TestBrokenListener(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(*binding)
		why  string // that it is told
	}{
		"head beyond tail":     {func(s *binding) { setPositions(s, 1<<40, 0) }, "the head"},
		"tail beyond the ring": {func(s *binding) { setPositions(s, 0, 1<<40) }, "the tail"},
		"tail between records": {func(s *binding) { setPositions(s, 0, 7) }, "the tail"},
		"record of no length":  {func(s *binding) { setPositions(s, 0, 32) }, "the length of a record"},
		"unknown action": {func(s *binding) {
			v := wire.Verdict{Action: 99}
			v.Put(s.verdicts[192:], nil)
			s.verdicts[192] = 32
			s.verdicts[193], s.verdicts[194], s.verdicts[195] = 0, 0, 0
			setPositions(s, 0, 32)
		}, "an action"},
	} {
		t.Run(name, func(t *testing.T) {
			o := plain(0)
			o.Stall = 1 << 62
			b := newBed(t, 1, o)
			l := b.listen(0)
			w := b.workers[0]
			b.push(w, b.packet(1, 1, 60), packet.Queueing{Options: packet.QueueBypass})
			shared := b.set.Lookup(0).binding.Load()
			c.harm(shared)
			broken := func() bool { return b.stats(0).Broken == 1 }
			b.until("it to be given up", func() bool {
				for range 200 { // the packet ring's position is looked at when the ring seems full
					b.push(w, b.packet(1, 1, 60), packet.Queueing{Options: packet.QueueBypass | packet.QueueFailOpen})
				}
				b.nowNs += int64(b.set.Lookup(0).Timeout) // makes room
				return broken()
			})
			var err error
			for err == nil { // what it was given before
				_, err = l.Receive(t.Context(), make([]client.Packet, 1))
			}
			var refused *client.Refused
			if !errors.As(err, &refused) || refused.Code != wire.CodeProtocol || !strings.Contains(refused.Text, c.why) {
				t.Errorf("the listener is told: %v", err)
			}
			l.Close()
			b.listen(0).Close()
		})
	}
}

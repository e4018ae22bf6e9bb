package client

import (
	"context"
	"errors"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"ffwd/queue/wire"
)

// Packet is a packet that waits for a verdict. Data lies in shared memory and is valid
// until the next Receive.
type Packet struct {
	wire.Packet
	Data []byte // from the network header on; shorter than Length when cut
}

// HookName returns where the packet was queued.
func (p *Packet) HookName() string {
	if p.Hook == 0 {
		return "in"
	}
	return "out"
}

var stateNames = [...]string{"invalid", "new", "established", "related", "untracked"}

// StateName returns the packet's relation to its flow, as rules name it.
func (p *Packet) StateName() string {
	if int(p.State) < len(stateNames) {
		return stateNames[p.State]
	}
	return "unknown"
}

// IsCopy tells whether nobody waits for a verdict: a rule gave a copy and went on.
func (p *Packet) IsCopy() bool { return p.Flags&wire.FlagTee != 0 }

// IsIPv6 tells the packet's family.
func (p *Packet) IsIPv6() bool { return p.Flags&wire.FlagIPv6 != 0 }

// IsReply tells whether the packet travels against its flow's first packet.
func (p *Packet) IsReply() bool { return p.Flags&wire.FlagReply != 0 }

// Waiting returns how long ago the packet was queued.
func (p *Packet) Waiting() time.Duration {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return 0
	}
	return time.Duration(now.Nano() - p.ReceivedNs)
}

// Receive waits for packets, stores them at the front of packets and returns how many.
// It also gives back the memory of those that the Receive before it returned; that says
// nothing of their verdicts, which may still come.
//
// It returns ctx's error when ctx ends, a *Refused when the switch sent the listener
// away, and ErrClosed after Close.
func (l *Listener) Receive(ctx context.Context, packets []Packet) (int, error) {
	if !l.enter() {
		return 0, ErrClosed
	}
	defer l.using.Unlock()
	for w := range l.in {
		l.in[w].Release()
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if n, err := l.gather(packets); n > 0 || err != nil {
		return n, err
	}
	if l.opts.spin <= 0 {
		return l.sleep(ctx, packets)
	}
	began := time.Now()
	if n, err := l.look(packets, began.Add(l.window)); n > 0 || err != nil {
		return n, err
	}
	n, err := l.sleep(ctx, packets)
	l.adapt(time.Since(began))
	return n, err
}

// adapt chooses how long to look the next time, after a wait that looking did not end: as
// long as may be if that would have ended it, else half as long as this time.
func (l *Listener) adapt(waited time.Duration) {
	if l.window /= 2; l.window < time.Microsecond {
		l.window = 0
	}
	if waited <= l.opts.spin {
		l.window = l.opts.spin
	}
}

// enter claims the memory; false when it is gone or about to go.
func (l *Listener) enter() bool {
	l.using.Lock()
	if l.closing.Load() {
		l.using.Unlock()
		return false
	}
	return true
}

// look looks for packets until a time has come.
func (l *Listener) look(packets []Packet, end time.Time) (int, error) {
	for time.Now().Before(end) {
		for range 64 {
			if n, err := l.gather(packets); n > 0 || err != nil {
				return n, err
			}
		}
		runtime.Gosched()
	}
	return 0, nil
}

// gather takes what is in the rings, each worker's in turn.
func (l *Listener) gather(packets []Packet) (n int, err error) {
	for i := range l.in {
		w := l.turn + i
		if w >= len(l.in) {
			w -= len(l.in)
		}
		for n < len(packets) {
			rec, err := l.in[w].Next()
			if err != nil {
				return n, err
			}
			if rec == nil {
				break
			}
			p := &packets[n]
			if p.Packet, p.Data, err = wire.ParsePacket(rec); err != nil || int(p.Worker) != w {
				return n, wire.ErrCorrupt
			}
			n++
		}
	}
	if l.turn++; l.turn >= len(l.in) {
		l.turn = 0
	}
	return n, nil
}

// sleep waits until there are packets, the context ends, or the switch says good-bye.
//
// The flag is set before the rings are looked at for the last time: a worker publishes
// first and looks at the flag afterwards, so one of the two sees the other.
func (l *Listener) sleep(ctx context.Context, packets []Packet) (int, error) {
	stop := context.AfterFunc(ctx, l.interrupt)
	defer stop()
	defer l.sleeping.Store(0)
	for {
		l.sleeping.Store(1)
		if n, err := l.gather(packets); n > 0 || err != nil {
			return n, err
		}
		var events [3]unix.EpollEvent
		n, err := unix.EpollWait(l.epoll, events[:], -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, err
		}
		for _, e := range events[:max(n, 0)] {
			if err := l.event(ctx, int(e.Fd)); err != nil {
				return 0, err
			}
		}
	}
}

// event deals with what woke us.
func (l *Listener) event(ctx context.Context, fd int) error {
	switch fd {
	case l.wake: // take the event, or epoll tells it for ever
		var events [1]unix.EpollEvent
		_, _ = unix.EpollWait(l.wake, events[:], 0)
	case l.cancel:
		var count [8]byte
		_, _ = unix.Read(l.cancel, count[:])
		if l.closing.Load() {
			return ErrClosed
		}
		return ctx.Err() // nil when the interrupt was for a Receive before this one
	case l.socket:
		return l.farewell()
	}
	return nil
}

// farewell reads why the switch ends the connection.
func (l *Listener) farewell() error {
	if err := l.conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, files, err := l.message()
	for _, fd := range files {
		unix.Close(fd)
	}
	var r *Refused
	switch {
	case errors.As(err, &r):
		return r
	case err == nil:
		return nil // a message that this version does not know
	}
	return ErrClosed
}

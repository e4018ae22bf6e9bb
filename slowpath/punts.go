package slowpath

import (
	"errors"
	"sync/atomic"
)

// punts carries frames from the workers to the twins: a ring per worker, and one
// writer that empties all of them.
//
// A writer that finds every ring empty goes to sleep in the kernel and says so
// before it looks a last time. A worker that punts looks whether it sleeps, after
// the frame is in the ring, and only then makes a system call. Either the writer
// sees the frame, or the worker sees the writer asleep.
type punts struct {
	sinks []*Sink
	twins []*Twin // by the switch's interface index
	bell  *bell
	ended atomic.Bool
}

// Sink is a worker's way to the kernel. All its methods belong to the worker.
type Sink struct {
	ring *ring
	bell *bell
}

// reservedSlots of a ring are for control traffic alone, so that whatever fills
// the rest cannot keep it out. Source: SP-4.
const reservedSlots = puntSlots / 4

// Punt copies a frame, given in two pieces, into the ring to the twin of an
// interface. It reports false when there is no room, which there is longer for
// control traffic. It allocates nothing and does not wait.
func (s *Sink) Punt(iface uint16, control bool, first, second []byte) bool {
	reserve := uint32(reservedSlots)
	if control {
		reserve = 0
	}
	if !s.ring.push(iface, first, second, reserve) {
		return false
	}
	if s.bell.asleep.Load() != 0 {
		s.bell.ring()
	}
	return true
}

func newPunts(workers, frameBytes int, twins []*Twin) (*punts, error) {
	p := &punts{}
	for _, t := range twins {
		for len(p.twins) <= int(t.config.Iface) {
			p.twins = append(p.twins, nil)
		}
		p.twins[t.config.Iface] = t
	}
	var err error
	if p.bell, err = newBell(); err != nil {
		return nil, err
	}
	for range workers {
		r, err := newRing(puntSlots, frameBytes)
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.sinks = append(p.sinks, &Sink{r, p.bell})
	}
	return p, nil
}

// turn is how many frames of one worker the writer takes before it looks at the
// next one's.
const turn = 32

// run writes until stop, and then what is left.
func (p *punts) run() {
	for {
		if p.drain() {
			continue
		}
		if p.ended.Load() {
			return
		}
		p.bell.asleep.Store(1)
		if p.waiting() || p.ended.Load() {
			p.bell.asleep.Store(0)
			continue
		}
		p.bell.wait()
	}
}

// drain takes a turn at every ring, and reports whether there was anything.
func (p *punts) drain() (any bool) {
	for _, s := range p.sinks {
		for range turn {
			iface, frame := s.ring.peek()
			if frame == nil {
				break
			}
			any = true
			if int(iface) < len(p.twins) && p.twins[iface] != nil {
				p.twins[iface].write(frame)
			}
			s.ring.pop()
		}
	}
	return any
}

func (p *punts) waiting() bool {
	for _, s := range p.sinks {
		if s.ring.length() > 0 {
			return true
		}
	}
	return false
}

// stop makes run return when the rings are empty.
func (p *punts) stop() {
	p.ended.Store(true)
	p.bell.ring()
}

func (p *punts) close() error {
	errs := []error{p.bell.close()}
	for _, s := range p.sinks {
		errs = append(errs, s.ring.close())
	}
	return errors.Join(errs...)
}

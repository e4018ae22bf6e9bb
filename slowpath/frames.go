package slowpath

import (
	"errors"
	"sync"
)

// frames carries frames from the twins to the workers: a ring per worker, which
// the readers of all twins fill.
type frames struct {
	sources    []*Source
	owner      func(iface uint16, frame []byte) int
	frameBytes int
}

// Source is what the kernel sent and a worker is to transmit. Peek and Pop belong
// to the worker.
type Source struct {
	ring    *ring
	filling sync.Mutex // held by a reader
}

// Peek returns the interface and the bytes of the oldest frame, valid until Pop,
// and nil when there is none.
func (s *Source) Peek() (iface uint16, frame []byte) { return s.ring.peek() }

// Pop removes the frame that Peek returned.
func (s *Source) Pop() { s.ring.pop() }

func newFrames(workers, frameBytes int, owner func(uint16, []byte) int) (*frames, error) {
	f := &frames{owner: owner, frameBytes: frameBytes}
	for range workers {
		r, err := newRing(frameSlots, frameBytes)
		if err != nil {
			return nil, errors.Join(err, f.close())
		}
		f.sources = append(f.sources, &Source{ring: r})
	}
	return f, nil
}

// push gives a frame to the worker that owns its flow, and reports whether that
// worker's ring had room.
func (f *frames) push(iface uint16, frame []byte) bool {
	s := f.sources[f.owner(iface, frame)]
	s.filling.Lock()
	defer s.filling.Unlock()
	return s.ring.push(iface, frame, nil, 0)
}

func (f *frames) close() error {
	var errs []error
	for _, s := range f.sources {
		errs = append(errs, s.ring.close())
	}
	return errors.Join(errs...)
}

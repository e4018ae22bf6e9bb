package slowpath

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
)

const (
	// linkBytes is what a frame has beyond its MTU: an Ethernet header and, where
	// somebody tags on top of a twin, a VLAN tag.
	linkBytes = 14 + 4

	// puntSlots and frameSlots are the lengths of a worker's rings. They take a
	// burst from each side; what lasts is bounded by rates, not by rings.
	puntSlots  = 1024
	frameSlots = 1024
)

// Config is what a slow path is made of.
type Config struct {
	Netns      string // a name under /run/netns or a path; "" = our own
	Twins      []TwinConfig
	Workers    int
	FrameBytes int // longest frame that a port receives, link header included
	// Owner returns the worker that a frame from the kernel is for. Readers of
	// several twins call it at once.
	Owner func(iface uint16, frame []byte) int
	Log   *slog.Logger
}

// SlowPath is all twins, and what runs between them and the workers.
type SlowPath struct {
	ns     *Netns
	twins  []*Twin
	punts  *punts
	frames *frames
	teller *teller

	cancel  context.CancelFunc
	writing sync.WaitGroup
	reading sync.WaitGroup
}

// Open makes the twins, with their links down. Nothing runs yet. On failure
// nothing stays.
func Open(c Config) (*SlowPath, error) {
	ns, err := OpenNetns(c.Netns)
	if err != nil {
		return nil, err
	}
	s := &SlowPath{ns: ns, cancel: func() {}}
	s.teller = newTeller(ns, func(iface uint16) int { return s.Twin(iface).Index() }, c.Log)
	if err := s.open(&c); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *SlowPath) open(c *Config) (err error) {
	longest := c.FrameBytes
	for i := range c.Twins {
		config := c.Twins[i]
		made, err := openTAP(s.ns, &config)
		if err != nil {
			return err
		}
		s.twins = append(s.twins, &Twin{
			config: config, ns: s.ns, log: c.Log, tap: made, back: func() { s.teller.forget(config.Iface) },
		})
		longest = max(longest, config.MTUBytes+linkBytes)
	}
	if s.frames, err = newFrames(c.Workers, longest, c.Owner); err != nil {
		return err
	}
	s.punts, err = newPunts(c.Workers, longest, s.twins)
	return err
}

// Start lets frames flow.
func (s *SlowPath) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.writing.Go(s.punts.run)
	for _, t := range s.twins {
		s.reading.Go(func() { t.read(ctx, s.frames) })
	}
	s.reading.Go(func() { s.teller.run(ctx) })
}

// Close removes the twins. No worker may use its rings any more; what workers
// punted before is still given to the kernel.
func (s *SlowPath) Close() error {
	if s.punts != nil {
		s.punts.stop()
	}
	s.writing.Wait()
	s.cancel()
	var errs []error
	for _, t := range s.twins {
		errs = append(errs, t.close())
	}
	s.reading.Wait()
	if s.punts != nil {
		errs = append(errs, s.punts.close())
	}
	if s.frames != nil {
		errs = append(errs, s.frames.close())
	}
	return errors.Join(append(errs, s.ns.Close())...)
}

// Sink returns a worker's way to the kernel.
func (s *SlowPath) Sink(worker int) *Sink { return s.punts.sinks[worker] }

// Source returns what the kernel sends by way of a worker.
func (s *SlowPath) Source(worker int) *Source { return s.frames.sources[worker] }

// Netns returns the namespace that the twins are in. It stays ours to close.
func (s *SlowPath) Netns() *Netns { return s.ns }

// Twins returns all twins, in the order of the configuration.
func (s *SlowPath) Twins() []*Twin { return slices.Clone(s.twins) }

// Twin returns the twin of an interface of the switch, nil if it has none.
func (s *SlowPath) Twin(iface uint16) *Twin {
	for _, t := range s.twins {
		if t.config.Iface == iface {
			return t
		}
	}
	return nil
}

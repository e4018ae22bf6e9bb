package slowpath

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// defaultReceiveBytes holds about 20 thousand routes' notifications (each takes
	// 768 bytes of the kernel's memory or so): what BIRD sends while we apply a batch.
	defaultReceiveBytes = 16 << 20
	// batchMessages is how many datagrams are read before what they changed is
	// applied: at a million per second a batch is a few milliseconds.
	batchMessages = 4096
	// defaultResyncInterval is the least time between two resyncs.
	defaultResyncInterval = 200 * time.Millisecond
	// tendInterval is how often a follower looks after what no event tells.
	tendInterval = time.Second
	// reopenMin and reopenMax bound the wait before a socket is opened again.
	reopenMin, reopenMax = 50 * time.Millisecond, 5 * time.Second
	// dumpTries is how often a dump that was interrupted is made again at once.
	dumpTries = 5
	// dumpTimeout ends a dump that does not come.
	dumpTimeout = 30 * time.Second
)

// follower is a view of the kernel that a feed keeps up to date. Its methods are
// called by one goroutine.
type follower interface {
	// dump asks for everything, and makes the view that.
	dump(s *socket) error
	// event enters one notification. It reports whether the kernel changes more
	// by what it tells than it will tell.
	event(m message) (resync bool)
	// settle makes the FIB follow the view.
	settle()
	// tend is called now and then, after settle.
	tend()
}

// feed reads a follower's notifications, and dumps when some were lost.
type feed struct {
	name     string
	ns       *Netns
	groups   []int
	bytes    int
	interval time.Duration // between resyncs, at least
	log      *slog.Logger
	follower follower

	events *socket // notifications
	dumps  *socket

	resyncDue bool
	resynced  time.Time
	tended    time.Time

	mu    sync.Mutex // guards state
	state FeedStatus
}

// FeedStatus is what happened to a feed.
type FeedStatus struct {
	Name      string `json:"name"`
	Messages  uint64 `json:"messages"` // notifications
	Resyncs   uint64 `json:"resyncs"`  // dumps, but for the first
	ResyncDue bool   `json:"resync_due"`
	Overruns  uint64 `json:"overruns"`   // losses of notifications
	Reopens   uint64 `json:"reopens"`    // of a socket that failed
	LastError string `json:"last_error"` // "" when there was none
}

func newFeed(name string, c *MirrorConfig, groups []int, f follower) *feed {
	return &feed{name: name, ns: c.Netns, groups: groups, bytes: c.receiveBytes, interval: c.resyncInterval, log: c.Log, follower: f,
		state: FeedStatus{Name: name}}
}

// open opens the sockets, notifications first, so that nothing changes between
// the dump and them, and dumps.
func (f *feed) open() (err error) {
	if f.events, err = openSocket(f.ns, f.bytes, f.groups...); err != nil {
		return fmt.Errorf("mirror of %s: %w", f.name, err)
	}
	if f.dumps, err = openSocket(f.ns, f.bytes); err == nil {
		err = f.resync()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("mirror of %s: %w", f.name, err), f.close())
	}
	return nil
}

func (f *feed) close() error {
	var errs []error
	for _, s := range []**socket{&f.events, &f.dumps} {
		if *s != nil {
			errs = append(errs, (*s).close())
		}
		*s = nil
	}
	return errors.Join(errs...)
}

// resync dumps, and applies the difference.
func (f *feed) resync() error {
	f.resyncDue = false
	var err error
	for range dumpTries {
		if err = f.dumps.file.SetReadDeadline(time.Now().Add(dumpTimeout)); err != nil {
			return err
		}
		if err = f.follower.dump(f.dumps); !errors.Is(err, errInterrupted) {
			break
		}
	}
	if errors.Is(err, errInterrupted) {
		f.resyncDue, err = true, nil // what came is good; the rest comes later
	}
	f.resynced = time.Now()
	if err != nil {
		return err
	}
	f.follower.settle()
	return nil
}

// run follows until ctx ends. A socket that fails is opened again.
func (f *feed) run(ctx context.Context) {
	wait := reopenMin
	for {
		events := f.events
		stop := context.AfterFunc(ctx, func() { _ = events.file.SetReadDeadline(time.Unix(1, 0)) })
		err := f.follow(ctx)
		stop()
		if closed := f.close(); err == nil {
			err = closed
		}
		if ctx.Err() != nil {
			return
		}
		f.note(err, func(s *FeedStatus) { s.Reopens++ })
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			if err = f.open(); err == nil {
				wait = reopenMin
				break
			}
			f.note(err, nil)
			wait = min(2*wait, reopenMax)
		}
	}
}

// note keeps an error and counts.
func (f *feed) note(err error, count func(*FeedStatus)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if count != nil {
		count(&f.state)
	}
	if err != nil && f.state.LastError != err.Error() { // once, and not for each try
		f.state.LastError = err.Error()
		f.log.Warn("mirror", "of", f.name, "error", err)
	}
}

func (f *feed) status() FeedStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

// follow reads and applies notifications until ctx ends or the socket fails.
func (f *feed) follow(ctx context.Context) error {
	for ctx.Err() == nil {
		deadline := f.tended.Add(tendInterval)
		if due := f.resynced.Add(f.interval); f.resyncDue && due.Before(deadline) {
			deadline = due
		}
		if err := f.events.file.SetReadDeadline(deadline); err != nil {
			return err
		}
		select {
		case <-ctx.Done(): // its deadline came before ours
			return nil
		default:
		}
		if err := f.batch(); err != nil {
			return err
		}
		if f.resyncDue && time.Since(f.resynced) >= f.interval {
			if err := f.resync(); err != nil {
				return err
			}
			f.note(nil, func(s *FeedStatus) { s.Resyncs, s.ResyncDue = s.Resyncs+1, f.resyncDue })
		}
		if time.Since(f.tended) >= tendInterval {
			f.tended = time.Now()
			f.follower.tend()
		}
	}
	return nil
}

// batch waits for notifications, reads those that are there, up to a bound, and
// applies them.
func (f *feed) batch() error {
	read := uint64(0)
	for n := range batchMessages {
		data, err := f.events.receive(n == 0)
		switch {
		case errors.Is(err, errOverrun):
			f.resyncDue = true
			f.note(err, func(s *FeedStatus) { s.Overruns++ })
			continue
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, unix.EAGAIN):
		case err != nil:
			return err
		}
		if data == nil && err != nil {
			break
		}
		for m := range messages(data) {
			read++
			if f.follower.event(m) {
				f.resyncDue = true
			}
		}
	}
	if read > 0 {
		f.note(nil, func(s *FeedStatus) { s.Messages, s.ResyncDue = s.Messages+read, f.resyncDue })
		f.follower.settle()
	}
	return nil
}

// fixedPart is the part of a request before its attributes.
type fixedPart []byte

func (p fixedPart) Len() int          { return len(p) }
func (p fixedPart) Serialize() []byte { return p }

// dumpRequest asks for all objects of a kind: header is the fixed part of its
// messages, which begins with the family.
func dumpRequest(kind int, header fixedPart, attributes ...*nl.RtAttr) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(kind, unix.NLM_F_DUMP)
	r.AddData(header)
	for _, a := range attributes {
		r.AddData(a)
	}
	return r
}

// familyHeader is a fixed part of n bytes that names a family and nothing else.
func familyHeader(n int, family byte) fixedPart {
	h := make(fixedPart, n)
	h[0] = family
	return h
}

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
	// resyncPause is how many times as long as a resync took the next one waits: a
	// kernel that never rests costs a third of a core at most.
	resyncPause = 2
	// defaultAuditInterval is how often the view is compared with the kernel though
	// nothing says that they differ, and defaultAuditPause as above: 1 % of a core.
	defaultAuditInterval = time.Minute
	defaultAuditPause    = 100
	// tendInterval is how often a follower looks after what no event tells.
	tendInterval = time.Second
	// reopenMin and reopenMax bound the wait before a socket is opened again.
	reopenMin, reopenMax = 50 * time.Millisecond, 5 * time.Second
	// maxRecheckDoublings is how often the wait for a dump that skips nothing doubles: up to
	// 3.2 s with the default interval, and 3 % of a core.
	maxRecheckDoublings = 4
	// dumpTries is how often a dump that was interrupted is made again at once.
	dumpTries = 5
	// dumpTimeout ends a dump that does not come.
	dumpTimeout = 30 * time.Second
)

// follower is a view of the kernel that a feed keeps up to date. Its methods are
// called by one goroutine.
type follower interface {
	// dump asks for everything, and makes the view that. What isPartial calls so is good
	// as far as it goes, but not if there is a trusted, which is asked when all is
	// there: then any error leaves the view as it is.
	dump(s *socket, trusted func() error) error
	// event enters one notification, which is told anew if the last dump may have
	// had what it says. It reports whether only a dump can tell what the kernel has
	// now.
	event(m message, again bool) (resync bool)
	// settle makes the FIB follow the view, and returns how many of its entries
	// changed.
	settle() (changes int)
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
	audits   time.Duration // between audits, at least
	pause    int           // between audits, times as long as one took
	log      *slog.Logger
	follower follower

	events *socket // notifications
	dumps  *socket

	resyncDue bool
	skips     int       // dumps in a row that may have skipped something
	recheck   time.Time // when the next of them is due; zero: none
	draining  bool      // notifications were lost, and more will be until all that wait are read
	replaying bool      // notifications from before the end of the last dump may wait
	resynced  time.Time
	took      time.Duration // the last resync or audit
	audited   time.Time     // or resynced
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
	Audits    uint64 `json:"audits"`     // dumps that nothing asked for
	Corrected uint64 `json:"corrected"`  // entries of the FIB that an audit found wrong
	LastError string `json:"last_error"` // "" when there was none
}

func newFeed(name string, c *MirrorConfig, groups []int, f follower) *feed {
	return &feed{name: name, ns: c.Netns, groups: groups, bytes: c.receiveBytes, interval: c.resyncInterval, audits: c.auditInterval, pause: c.auditPause,
		log: c.Log, follower: f, state: FeedStatus{Name: name}}
}

// open opens the sockets, notifications first, so that nothing changes between
// the dump and them, and dumps.
func (f *feed) open(ctx context.Context) (err error) {
	f.draining = false
	if f.events, err = openSocket(f.ns, f.bytes, f.groups...); err != nil {
		return fmt.Errorf("mirror of %s: %w", f.name, err)
	}
	if f.dumps, err = openSocket(f.ns, f.bytes); err == nil {
		_, err = f.resync(ctx, nil)
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

// resync dumps, applies the difference, and returns how many entries of the FIB
// that changed. trusted is as in follower. The end of ctx interrupts it.
func (f *feed) resync(ctx context.Context, trusted func() error) (changes int, err error) {
	begun, dumps := time.Now(), f.dumps
	stop := context.AfterFunc(ctx, func() { _ = dumps.close() }) // a deadline would be overwritten
	defer stop()
	for range dumpTries {
		if err = f.dumps.file.SetReadDeadline(time.Now().Add(dumpTimeout)); err != nil {
			return 0, err
		}
		if err = f.dumps.barrier(); err != nil {
			return 0, err
		}
		if err = f.follower.dump(f.dumps, trusted); !errors.Is(err, errInterrupted) {
			break
		}
	}
	f.audited, f.took = time.Now(), time.Since(begun)
	if err != nil && (trusted != nil || !isPartial(err)) {
		return 0, err
	}
	f.resynced, f.replaying = f.audited, true
	f.resyncDue = errors.Is(err, errInterrupted)
	f.planRecheck(errors.Is(err, errSkipped))
	f.note(nil, func(s *FeedStatus) { s.ResyncDue = true }) // until all that waits was replayed
	return f.follower.settle(), nil
}

// planRecheck makes another dump due if the last may have skipped something. Where the
// kernel never rests they become as rare as audits.
func (f *feed) planRecheck(skipped bool) {
	if !skipped {
		f.skips, f.recheck = 0, time.Time{}
		return
	}
	wait := max(f.interval, resyncPause*f.took) << min(f.skips, maxRecheckDoublings)
	f.skips++
	f.recheck = f.resynced.Add(min(wait, f.auditPause()))
}

// auditPause is the least time between two audits.
func (f *feed) auditPause() time.Duration { return max(f.audits, time.Duration(f.pause)*f.took) }

// errChanging: the kernel changed while it was compared with the view.
var errChanging = errors.New("the kernel's state changed meanwhile")

// audit compares the view with the kernel. Only when nothing changes meanwhile is
// what differs a fault: ours, or of what the kernel told. It is put right, and
// counted.
func (f *feed) audit(ctx context.Context) error {
	changes, err := f.resync(ctx, func() error {
		if err := f.dumps.barrier(); err != nil {
			return err
		}
		if f.events.pending() {
			return errChanging
		}
		return nil
	})
	if errors.Is(err, errChanging) || isPartial(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if changes > 0 {
		f.log.Warn("mirror: the kernel had not told all that it changed; it was put right", "of", f.name, "entries", changes)
	}
	f.note(nil, func(s *FeedStatus) { s.Audits, s.Corrected = s.Audits+1, s.Corrected+uint64(changes) })
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
			if err = f.open(ctx); err == nil {
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
		next, due := f.nextDump()
		if due && !f.draining && next.Before(deadline) { // one that has passed lets nothing be read
			deadline = next
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
		var err error
		next, due = f.nextDump()
		switch now := time.Now(); {
		case due && !f.draining && !now.Before(next):
			_, err = f.resync(ctx, nil)
			f.note(nil, func(s *FeedStatus) { s.Resyncs++ })
		case !f.resyncDue && !f.replaying && !now.Before(f.audited.Add(f.auditPause())):
			err = f.audit(ctx)
		}
		if err != nil {
			return err
		}
		if time.Since(f.tended) >= tendInterval {
			f.follower.tend()
			f.tended = time.Now() // not before: a deadline that has passed lets nothing be read
		}
	}
	return nil
}

// nextDump is the earliest time of the next dump but for audits; false: none is due.
func (f *feed) nextDump() (at time.Time, due bool) {
	if f.resyncDue {
		return f.resynced.Add(max(f.interval, resyncPause*f.took)), true
	}
	return f.recheck, !f.recheck.IsZero()
}

// batch waits for notifications, reads those that are there, up to a bound, and
// applies them.
//
// A socket that was full gets nothing more until it was read to its end, and says so
// once: a dump before that would miss what comes after it, and be overwritten by what
// waits from before it. Source: netlink_overrun, netlink_rcv_wake in
// net/netlink/af_netlink.c.
func (f *feed) batch() error {
	read := uint64(0)
	for n := range batchMessages {
		data, err := f.events.receive(n == 0 && !f.replaying && !f.draining)
		switch {
		case errors.Is(err, errOverrun):
			f.resyncDue, f.draining = true, true
			f.note(err, func(s *FeedStatus) { s.Overruns++ })
			continue
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, unix.EAGAIN):
		case err != nil:
			return err
		}
		if data == nil && err != nil {
			if errors.Is(err, unix.EAGAIN) {
				f.replaying, f.draining = false, false
			}
			break
		}
		for m := range messages(data) {
			read++
			if f.follower.event(m, f.replaying) {
				f.resyncDue = true
			}
		}
	}
	f.note(nil, func(s *FeedStatus) {
		s.Messages, s.ResyncDue = s.Messages+read, f.resyncDue || f.replaying || f.draining || f.skips > 0
	})
	if read > 0 {
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

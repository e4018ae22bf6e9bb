package slowpath

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// askSlots is how many questions of a worker may wait.
	askSlots = 256
	// maxAsked is how many neighbours may be asked for at a time. The kernel
	// begins to throw out neighbours that it has not used lately, which the fast
	// path's are to it, above 512 (gc_thresh2): a scan of a subnet must not get there.
	maxAsked = 384
	// askAgain is how long a question stands. A worker puts one only twice a second;
	// several workers may put the same at once. Somebody may have flushed what the
	// kernel knew since the last time, so what comes sooner is put again behind that.
	askAgain = 20 * time.Millisecond
	// answerBy is when the kernel has given up: three questions, a second apart.
	answerBy = 3500 * time.Millisecond
	// defaultFreshInterval is how often is looked which stale neighbours are in use. With
	// the kernel's 5 seconds of delay and 3 of probes, one that died is noticed
	// some 15 seconds after it turned stale.
	defaultFreshInterval = 5 * time.Second
)

// ResolverConfig is what a Resolver is made of.
type ResolverConfig struct {
	Netns   *Netns
	Mirror  *Mirror
	Workers int
	Index   func(iface uint16) int // the kernel's index of a twin, 0: it is not there
	// Used returns for each neighbour how many packets went by it.
	Used func([]Neighbour) []uint64

	freshInterval time.Duration // 0: the default
}

// Resolver makes the kernel look for neighbours: those that workers ask for, and
// those that are in use by the fast path and stale to the kernel, which sees none
// of their traffic. The answers come by the Mirror. Source: SP-3.
type Resolver struct {
	config ResolverConfig
	askers []*Asker
	bell   *bell
	handle *netlink.Handle

	asked map[Neighbour]time.Time // at most maxAsked
	again map[Neighbour]struct{}  // of them, those to be put again
	due   time.Time               // when
	used  map[Neighbour]uint64    // of stale neighbours
	fresh time.Time

	mu    sync.Mutex
	state ResolverStatus

	cancel  context.CancelFunc
	running sync.WaitGroup
}

// ResolverStatus is what a Resolver has done.
type ResolverStatus struct {
	Asked     uint64 `json:"asked"`     // neighbours that workers asked for
	Refreshed uint64 `json:"refreshed"` // stale ones that were in use
	Forgotten uint64 `json:"forgotten"` // that did not answer
	Waiting   int    `json:"waiting"`   // for an answer
	Errors    uint64 `json:"errors"`
	LastError string `json:"last_error"` // "" when there was none
}

// Asker is a worker's way to a Resolver.
type Asker struct {
	slots [askSlots]Neighbour
	tail  atomic.Uint32 // written by the worker
	head  atomic.Uint32 // written by the Resolver
	bell  *bell
}

// Ask puts a question, unless too many wait. The worker's own.
//
// The slot is written before tail, and head is read before the slot is written:
// atomics are sequentially consistent.
func (a *Asker) Ask(iface uint16, addr netip.Addr) bool {
	at := a.tail.Load()
	if at-a.head.Load() >= askSlots {
		return false
	}
	a.slots[at%askSlots] = Neighbour{iface, addr}
	a.tail.Store(at + 1)
	if a.bell.asleep.Load() != 0 {
		a.bell.ring()
	}
	return true
}

// next takes a question out.
func (a *Asker) next() (n Neighbour, ok bool) {
	at := a.head.Load()
	if at == a.tail.Load() {
		return n, false
	}
	n = a.slots[at%askSlots]
	a.head.Store(at + 1)
	return n, true
}

// OpenResolver makes a Resolver. Questions wait until Start.
func OpenResolver(c ResolverConfig) (*Resolver, error) {
	r := &Resolver{config: c, asked: map[Neighbour]time.Time{}, again: map[Neighbour]struct{}{}, used: map[Neighbour]uint64{}, fresh: time.Now()}
	if c.freshInterval == 0 {
		r.config.freshInterval = defaultFreshInterval
	}
	var err error
	if r.bell, err = newBell(); err != nil {
		return nil, err
	}
	if r.handle, err = c.Netns.Netlink(); err != nil {
		return nil, errors.Join(err, r.bell.close())
	}
	for range c.Workers {
		r.askers = append(r.askers, &Asker{bell: r.bell})
	}
	return r, nil
}

// Start makes the Resolver work until Stop.
func (r *Resolver) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.running.Go(func() { r.run(ctx) })
}

// Stop ends what Start began. Workers may still ask, and get no answer.
func (r *Resolver) Stop() {
	r.cancel()
	r.bell.ring()
	r.running.Wait()
}

// Asker returns a worker's way to ask.
func (r *Resolver) Asker(worker int) *Asker { return r.askers[worker] }

// Close undoes OpenResolver. No worker may ask any more.
func (r *Resolver) Close() error {
	r.handle.Close()
	return r.bell.close()
}

// Status reports what was done.
func (r *Resolver) Status() ResolverStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// run answers questions until ctx ends, and tends once a second.
func (r *Resolver) run(ctx context.Context) {
	for tended := time.Now(); ctx.Err() == nil; {
		r.answer()
		if time.Since(tended) >= tendInterval {
			tended = time.Now()
			r.forget(tended)
			if tended.Sub(r.fresh) >= r.config.freshInterval {
				r.fresh = tended
				r.refresh()
			}
		}
		r.bell.asleep.Store(1)
		if ctx.Err() == nil && !r.waiting() {
			until := tended.Add(tendInterval)
			if len(r.again) > 0 && r.due.Before(until) {
				until = r.due
			}
			r.bell.waitUntil(until)
		}
		r.bell.asleep.Store(0)
	}
}

// waiting reports whether there is a question that can be put now.
func (r *Resolver) waiting() bool {
	if len(r.asked) >= maxAsked {
		return false
	}
	for _, a := range r.askers {
		if a.head.Load() != a.tail.Load() {
			return true
		}
	}
	return false
}

// answer puts the workers' questions to the kernel, one of each in turn.
func (r *Resolver) answer() {
	if len(r.again) > 0 && !time.Now().Before(r.due) {
		for n := range r.again {
			r.put(n)
		}
		clear(r.again)
	}
	for more := true; more; {
		more = false
		for _, a := range r.askers {
			if len(r.asked) >= maxAsked {
				return
			}
			n, ok := a.next()
			more = more || ok
			switch {
			case !ok:
			case time.Since(r.asked[n]) >= askAgain:
				r.put(n)
			default:
				if len(r.again) == 0 {
					r.due = time.Now().Add(askAgain)
				}
				r.again[n] = struct{}{}
			}
		}
	}
}

// put puts a question to the kernel.
func (r *Resolver) put(n Neighbour) {
	r.asked[n] = time.Now()
	r.use(n, func(s *ResolverStatus) { s.Asked++ })
}

// forget drops the questions that have had their time. What did not answer is
// taken out of the kernel, which would keep it for longer than it can be flooded.
func (r *Resolver) forget(now time.Time) {
	for n, at := range r.asked {
		if now.Sub(at) < answerBy {
			continue
		}
		delete(r.asked, n)
		if r.config.Mirror.unresolved(n) {
			err := r.handle.NeighDel(&netlink.Neigh{LinkIndex: r.config.Index(n.Iface), Family: familyOf(n.Addr), IP: n.Addr.AsSlice()})
			if err == nil {
				r.note(nil, func(s *ResolverStatus) { s.Forgotten++ })
			}
		}
	}
	r.note(nil, func(s *ResolverStatus) { s.Waiting = len(r.asked) })
}

// refresh makes the kernel probe the stale neighbours by which packets went since
// the last look. The others age as the kernel lets them.
func (r *Resolver) refresh() {
	stale := r.config.Mirror.stale()
	counts := r.config.Used(stale)
	now := make(map[Neighbour]uint64, len(stale))
	for i, n := range stale {
		now[n] = counts[i]
		if before, known := r.used[n]; known && before != counts[i] {
			r.use(n, func(s *ResolverStatus) { s.Refreshed++ })
		}
	}
	r.used = now
}

// use tells the kernel that a packet for the neighbour is there: it resolves one
// that it does not know, and probes a stale one. Source: neigh_add in
// net/core/neighbour.c, NTF_USE.
func (r *Resolver) use(n Neighbour, count func(*ResolverStatus)) {
	index := r.config.Index(n.Iface)
	if index == 0 {
		return // the twin is being made again
	}
	err := r.handle.NeighSet(&netlink.Neigh{
		LinkIndex: index, Family: familyOf(n.Addr), State: unix.NUD_NONE, Flags: unix.NTF_USE,
		IP: net.IP(n.Addr.AsSlice()),
	})
	if err != nil {
		err = fmt.Errorf("ask for neighbour %v: %w", n.Addr, err)
	}
	r.note(err, count)
}

func (r *Resolver) note(err error, count func(*ResolverStatus)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	count(&r.state)
	if err != nil {
		r.state.Errors++
		r.state.LastError = err.Error()
	}
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// unresolved reports whether the kernel looks for a neighbour, or has given up.
func (m *Mirror) unresolved(n Neighbour) bool {
	v := m.neighbours
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.kernel[kernelNeighbour{v.twins.indexOf(n.Iface), n.Addr}]
	return s.state&(unix.NUD_INCOMPLETE|unix.NUD_FAILED) != 0
}

// stale lists the neighbours in the FIB that the kernel has not heard of lately.
func (m *Mirror) stale() (list []Neighbour) {
	v := m.neighbours
	v.mu.Lock()
	defer v.mu.Unlock()
	for k, s := range v.kernel {
		iface, _, ours := v.twins.byIndex(k.ifIndex)
		if n := (Neighbour{iface, k.addr}); ours && s.state&unix.NUD_STALE != 0 {
			if _, installed := v.installed[n]; installed {
				list = append(list, n)
			}
		}
	}
	return list
}

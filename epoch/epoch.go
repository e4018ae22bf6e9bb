package epoch

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// offline is what a member that reads nothing shows: it holds nobody back.
const offline = math.MaxUint64

// Domain is a set of members and what was retired under their eyes.
type Domain struct {
	global atomic.Uint64 // number of retirements so far
	_      [56]byte      // readers poll global: keep the mutex off its line

	mu      sync.Mutex
	members []*Member
	retired []retired // in order of epoch
}

type retired struct {
	epoch uint64
	at    time.Time
	free  func()
}

// Member is one worker's place in a Domain.
type Member struct {
	domain *Domain
	local  uint64 // what seen holds, read without a barrier by the owner
	_      [48]byte
	seen   atomic.Uint64 // latest epoch after which the owner was quiescent
	_      [56]byte
}

// Join adds a member, offline until its worker calls Online.
func (d *Domain) Join() *Member {
	m := &Member{domain: d, local: offline}
	m.seen.Store(offline)
	d.mu.Lock()
	d.members = append(d.members, m)
	d.mu.Unlock()
	return m
}

// Leave removes the member. Its worker must be offline.
func (m *Member) Leave() {
	d := m.domain
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, other := range d.members {
		if other == m {
			d.members = append(d.members[:i], d.members[i+1:]...)
			return
		}
	}
}

// Online declares that the worker is about to read shared memory.
//
// The store is sequentially consistent, so it is visible before any later load
// of a shared pointer: a retirer that misses it unpublished before those loads.
func (m *Member) Online() { m.Quiescent() }

// Offline declares that the worker reads nothing until it calls Online again.
func (m *Member) Offline() {
	m.local = offline
	m.seen.Store(offline)
}

// Quiescent declares that the worker holds no reference to shared memory.
//
// Called once per poll. It costs a load and a compare when nothing was retired
// since the last call. The load of global precedes every later load of a shared
// pointer (both are Go atomics, hence ordered), so what was retired up to that
// epoch cannot be found again.
func (m *Member) Quiescent() {
	if g := m.domain.global.Load(); g != m.local {
		m.local = g
		m.seen.Store(g)
	}
}

// Retire runs free once every member that is online now has been quiescent.
// The caller has unpublished the object already. free runs inside Reclaim.
func (d *Domain) Retire(free func()) {
	d.mu.Lock()
	// Incremented under the lock so that retired stays in order.
	d.retired = append(d.retired, retired{d.global.Add(1), time.Now(), free})
	d.mu.Unlock()
}

// Reclaim frees what every online member has passed and returns how many
// objects it freed and how many still wait.
func (d *Domain) Reclaim() (freed, waiting int) {
	d.mu.Lock()
	passed := d.global.Load()
	for _, m := range d.members {
		passed = min(passed, m.seen.Load())
	}
	n := 0
	for n < len(d.retired) && d.retired[n].epoch <= passed {
		n++
	}
	ready := d.retired[:n:n]
	if n > 0 { // a worker that stalls is asked often, and much may wait for it
		d.retired = append([]retired(nil), d.retired[n:]...)
	}
	waiting = len(d.retired)
	d.mu.Unlock()
	for _, r := range ready { // outside the lock: free may retire more
		r.free()
	}
	return n, waiting
}

// Lag returns the age of the oldest object that waits for a worker, 0 when none does.
func (d *Domain) Lag() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.retired) == 0 {
		return 0
	}
	return time.Since(d.retired[0].at)
}

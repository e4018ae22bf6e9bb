package fib

import "sync"

// Retirer delays reuse of what workers may still be reading. Retire is called by
// the control side after the object was unpublished; free must run, on any
// goroutine, once every worker has been quiescent since. It may run at once if
// there is no worker. The epoch is the production implementation.
type Retirer interface {
	Retire(free func())
}

// pool hands out the indices below its limit, lowest first while they are fresh,
// so that pages of the table behind it that were never needed stay untouched.
// It has its own lock because the Retirer gives indices back on any goroutine,
// even from inside Retire.
type pool struct {
	mu    sync.Mutex
	free  []uint32
	next  uint32 // the lowest index never handed out
	limit uint32
}

// take returns an index, false when there is none.
func (p *pool) take() (uint32, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		i := p.free[n-1]
		p.free = p.free[:n-1]
		return i, true
	}
	if p.next == p.limit {
		return 0, false
	}
	p.next++
	return p.next - 1, true
}

// available is how many takes will succeed at least; gives can only add.
func (p *pool) available() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.free) + int(p.limit-p.next)
}

// used is how many indices are out, those not given back yet included.
func (p *pool) used() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int(p.next) - len(p.free)
}

// give takes an index back for reuse.
func (p *pool) give(i uint32) {
	p.mu.Lock()
	p.free = append(p.free, i)
	p.mu.Unlock()
}

// dead is an index on its way back to its pool.
type dead struct {
	pool  *pool
	index uint32
}

// grave collects what one control operation unpublished.
type grave struct{ dead []dead }

func (g *grave) bury(p *pool, index uint32) { g.dead = append(g.dead, dead{p, index}) }

// close hands the content to the retirer in one piece. The caller has
// unpublished all of it.
func (g *grave) close(r Retirer) {
	if len(g.dead) == 0 {
		return
	}
	all := g.dead
	g.dead = nil
	free := func() {
		for _, d := range all {
			d.pool.give(d.index)
		}
	}
	if r == nil { // no worker reads this table
		free()
		return
	}
	r.Retire(free)
}

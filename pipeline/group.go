package pipeline

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Group is the workers that run together: their rings, their common beginning and end.
type Group struct {
	rings     [][]*Handoff // [from][to]; nil where from == to
	into      [][]*Handoff // [to], without nil
	stop      atomic.Bool
	abort     atomic.Bool
	receiving atomic.Int32 // workers that may still put packets into rings

	entering sync.WaitGroup // workers that are not on their threads yet
	failed   atomic.Bool    // one of them could not
}

// NewGroup makes the group for n workers with rings of slots packets between
// each two; slots must be a power of two.
func NewGroup(n, slots int) *Group {
	g := &Group{rings: make([][]*Handoff, n), into: make([][]*Handoff, n)}
	g.receiving.Store(int32(n))
	g.entering.Add(n)
	for from := range g.rings {
		g.rings[from] = make([]*Handoff, n)
		for to := range n {
			if to != from {
				g.rings[from][to] = NewHandoff(slots)
				g.into[to] = append(g.into[to], g.rings[from][to])
			}
		}
	}
	return g
}

// enter says that a worker is on its thread, or could not be, and waits for all others.
// It returns false when one of the group could not: then none may receive, because nobody
// would empty that one's rings.
func (g *Group) enter(ok bool) (all bool) {
	if !ok {
		g.failed.Store(true)
	}
	g.entering.Done()
	if ok {
		g.entering.Wait()
	}
	return !g.failed.Load()
}

// Stop makes every worker finish: first none receives any more, then each
// empties the rings that lead to it, so that no packet stays behind.
func (g *Group) Stop() { g.stop.Store(true) }

// Abort makes the workers of a group that stops leave without waiting for one that does
// not come: what lies in its rings and queues stays there.
func (g *Group) Abort() { g.abort.Store(true) }

// inbound returns the rings that lead to a worker.
func (g *Group) inbound(to int) []*Handoff {
	return g.into[to]
}

// steer returns the stage that hands over packets of the steered ports, and of others
// where there are flows; nil when there is nothing to hand over.
func (g *Group) steer(c *context, config Config) *Steer {
	if len(g.rings) < 2 || config.Table == nil && !slices.Contains(config.Steered, true) {
		return nil
	}
	steered := make([]bool, len(config.Tx))
	copy(steered, config.Steered)
	return &Steer{
		context: c, self: config.Index, rings: g.rings[config.Index], fill: make([]uint32, len(g.rings)),
		ports: steered, spread: config.Spread,
	}
}

// Backlog returns how many packets are between two workers. When these have ended.
func (g *Group) Backlog() (n int) {
	for _, to := range g.into {
		for _, ring := range to {
			n += ring.Len()
		}
	}
	return n
}

package pipeline

import (
	"ffwd/ct"
	"ffwd/packet"
)

// Reassembly gives every fragment the flow of its datagram, without reassembling any:
// the first one's ports are those of all. Those that come before it are kept until it
// does, and then go on behind it.
//
// With several workers the fragments of a datagram meet at its home, a worker that their
// addresses choose; from there they go to the owner of their flow. A device that spreads
// packets by ports leads them anywhere.
//
// Needs:  Parse, Tuple.
// Writes: flow key, ports and protocol; Verdict Held.
// Drops:  tiny_fragment, fragment_malformed, fragment_overlap, fragment_duplicate,
//
//	fragment_pieces, fragment_source_limit, fragment_full, fragment_timeout, handoff_full.
//
// Source: CT-5, CT-1; RFC 1858, RFC 5722. Design: docs/decisions/0013-virtual-reassembly.md.
type Reassembly struct {
	*context
	store  *ct.Fragments
	steer  *Steer // nil: there is one worker
	closed bool   // the worker stops: nothing waits any more
}

// Process handles the burst; in most there is nothing to do.
func (s *Reassembly) Process(b *packet.Burst) {
	if !b.Strays {
		return
	}
	held := s.store.Held
	for i := range b.Live() {
		p := &b.Pkts[i]
		if p.Verdict == packet.Continue && p.Key1 == 0 && p.Is(packet.IsFragment) {
			s.fragment(p, b.NowNs)
		}
	}
	s.counters.Held += s.store.Held - held
}

func (s *Reassembly) fragment(p *packet.Packet, nowNs int64) {
	zone := s.snap.Zones[p.Ingress]
	where := uint32(s.snap.Interfaces[p.Ingress].VRF)<<16 | uint32(zone)
	switch {
	case s.steer != nil && s.steer.handOver(p, ct.Owner(s.secret.FragmentHome(p, where), len(s.steer.rings))):
	case s.closed:
		p.DropFor(packet.FragmentTimeout)
	default:
		s.store.Take(p, s.secret, zone, where, nowNs)
	}
}

// expire gives up fragments whose first one has not come.
func (w *Worker) expireFragments(nowNs int64) {
	w.reassembly.store.Expire(nowNs, w.snap.FragmentTimeouts)
	w.releaseFragments(nowNs)
}

// releaseFragments takes the fragments that wait no longer through the rest of the
// pipeline, or drops them.
func (w *Worker) releaseFragments(nowNs int64) {
	for store := w.reassembly.store; store.Pending(); {
		store.Next(&w.burst, w.config.Burst, nowNs)
		w.counter.Held -= uint64(w.burst.N)
		w.through(stageSteer)
		if w.waits != nil {
			w.passOn(nowNs)
		}
	}
}

// dropFragments ends the waiting for good.
func (w *Worker) dropFragments(nowNs int64) {
	w.reassembly.closed = true
	w.reassembly.store.Clear()
	w.releaseFragments(nowNs)
	w.flush()
}

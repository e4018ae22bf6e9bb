package pipeline

import (
	"net/netip"

	"ffwd/fib"
	"ffwd/packet"
)

// Neighbour marks the packets whose next hop has no known address on its link.
// They wait for it, see hold.go; without a slow path, and when they have waited
// in vain, they are rejected. What the stages behind this one reject, because it has
// expired or does not fit, is left to them: it neither waits nor makes anybody ask.
//
// Needs:  Route, both hooks.
// Writes: Verdict Await.
// Drops:  no_neighbour with an ICMP error.
// Source: SP-3, SP-5, FF-8.
type Neighbour struct{ *context }

// Process handles the burst; in most there is nothing to do.
func (s *Neighbour) Process(b *packet.Burst) {
	if !b.Glean {
		return
	}
	for i := range b.Live() {
		p := &b.Pkts[i]
		if p.Verdict != packet.Continue {
			continue
		}
		a := (*fib.Adjacency)(p.NextHop)
		if a.Kind != fib.Glean || s.refused(p) {
			continue
		}
		if h := s.holder; h == nil || h.closed || h.final {
			p.RejectFor(packet.NoNeighbour, packet.HostUnreachable)
			continue
		}
		p.Verdict, p.Reason = packet.Await, packet.NoNeighbour
		s.counts[s.snap.Interfaces[p.Ingress].VRF].Take(a, 1, uint64(p.L3Len())) // it is counted when it comes back
	}
}

// refused tells whether TTL or MTU will reject the packet.
func (s *Neighbour) refused(p *packet.Packet) bool {
	var ttl uint8
	mayCut := false
	if p.Is(packet.IsIPv6) {
		ttl = p.IPv6().HopLimit()
	} else {
		h := p.IPv4()
		ttl, mayCut = h.TTL(), h.FragField()&packet.IPv4DontFragment == 0
	}
	return ttl <= 1 && !s.snap.Interfaces[p.Ingress].Stealth || p.L3Len() > int(p.MTU) && !mayCut
}

// target is the neighbour that a packet waits for: its gateway, or on a connected
// subnet its destination.
type target struct {
	iface uint16
	addr  netip.Addr
}

func targetOf(p *packet.Packet, a *fib.Adjacency) target {
	if a.Family != 0 {
		return target{a.Iface, a.Gateway()}
	}
	return target{a.Iface, destination(p)}
}

// destination is a packet's, without allocation.
func destination(p *packet.Packet) netip.Addr {
	if p.Is(packet.IsIPv6) {
		return netip.AddrFrom16(*p.IPv6().Dst())
	}
	return netip.AddrFrom4([4]byte(p.IPv4()[16:20]))
}

package pipeline

import (
	"ffwd/fib"
	"ffwd/packet"
)

// ReversePathMode says how the source of a packet is held against the routes.
// Source: FF-15; RFC 3704.
type ReversePathMode uint8

// The zero mode looks at no route.
const (
	ReversePathOff    ReversePathMode = iota
	ReversePathStrict                 // a way to the source leaves by the port that the packet came in by
	ReversePathLoose                  // there is a way to the source, by any port; the default route is one
)

// ReversePath drops packets whose source could not be answered the way they came, on
// ports that ask for it. It comes before everything that remembers a packet.
//
// What no host can have as its address has no way in either mode: an address of ours, a
// subnet's broadcast, and whatever is routed to a blackhole or refused. Of several equal
// ways (ECMP) any will do. IPv6 link-local sources are exempt: they are on every link,
// and are not forwarded.
//
// Needs:  Parse.
// Drops:  reverse_path.
// Source: FF-15; RFC 3704 2.2 and 2.4.
type ReversePath struct {
	*context
	v4, v6 routeBatch
	src4   [packet.MaxBurst]uint32
	src6   [packet.MaxBurst]*[16]byte
}

// Process checks the burst, one VRF after the other.
func (s *ReversePath) Process(b *packet.Burst) {
	if !s.snap.reversePath {
		return
	}
	for vrf, table := range s.snap.Tables {
		s.gather(b, uint16(vrf))
		if s.v4.n > 0 {
			table.ResolveBatch4(s.src4[:s.v4.n], s.v4.adjacencies[:])
			s.check(b, table, &s.v4)
		}
		if s.v6.n > 0 {
			table.ResolveBatch6(s.src6[:s.v6.n], s.v6.adjacencies[:])
			s.check(b, table, &s.v6)
		}
	}
}

// gather lists the packets to be checked in one VRF.
func (s *ReversePath) gather(b *packet.Burst, vrf uint16) {
	s.v4.n, s.v6.n = 0, 0
	for i := range b.Live() {
		p := &b.Pkts[i]
		in := &s.snap.Interfaces[p.Ingress]
		if p.Verdict != packet.Continue || in.ReversePath == ReversePathOff || in.VRF != vrf {
			continue
		}
		if !p.Is(packet.IsIPv6) {
			s.src4[s.v4.n] = p.IPv4().Src()
			s.v4.at[s.v4.n] = uint8(i)
			s.v4.n++
		} else if src := p.IPv6().Src(); !linkLocal6(src) {
			s.src6[s.v6.n] = src
			s.v6.at[s.v6.n] = uint8(i)
			s.v6.n++
		}
	}
}

func (s *ReversePath) check(b *packet.Burst, table *fib.Table, r *routeBatch) {
	lines := table.Lines()
	for i, at := range r.at[:r.n] {
		p, a := &b.Pkts[at], &lines[r.adjacencies[i]]
		strict := s.snap.Interfaces[p.Ingress].ReversePath == ReversePathStrict
		if !leadsBack(table, a, p.Ingress, strict) {
			p.DropFor(packet.ReversePath)
		}
	}
}

// leadsBack tells whether an adjacency is a way to a host, by an interface if strict.
func leadsBack(table *fib.Table, a *fib.Adjacency, iface uint16, strict bool) bool {
	switch a.Kind {
	case fib.Forward, fib.Glean, fib.Group, fib.Punt:
		return !strict || table.Leaves(a, iface)
	}
	return false
}

package pipeline

import (
	"encoding/binary"
	"unsafe"

	"ffwd/fib"
	"ffwd/packet"
)

// Route finds each packet's next hop: one lookup answers forward, local,
// broadcast, blackhole, unreachable or prohibited.
//
// Needs:  Parse; Tuple for the choice among equal next hops.
// Writes: NextHop, Egress, MTU; the counters of next hops; of plain packets all that is
//
//	left to be written, see shortcut.go; flow keys where Tuple left them to it.
//
// Drops:  blackhole; no_route, unreachable, prohibited with an ICMP error.
// Punts:  local, multicast (subnet broadcast), slow_route.
// Source: FF-5, FF-8, FF-12, FF-14, FF-16.
type Route struct {
	*context
	v4, v6 routeBatch
	dst4   [packet.MaxBurst]uint32
	dst6   [packet.MaxBurst]*[16]byte
}

// routeBatch gathers the packets of one family and VRF for a lookup.
type routeBatch struct {
	n           int
	at          [packet.MaxBurst]uint8  // index in the burst
	bytes       [packet.MaxBurst]uint16 // of L3
	adjacencies [packet.MaxBurst]fib.AdjacencyIndex
}

// count counts the packets for the next hops they were found to go by.
func (r *routeBatch) count(table *fib.Table, to *fib.Counts) {
	to.AddBurst(table.Lines(), r.adjacencies[:r.n], r.bytes[:r.n])
}

// Process routes the burst, one VRF after the other.
func (s *Route) Process(b *packet.Burst) {
	b.Glean, b.Departed = false, false
	departed := 0
	if b.Divert {
		keepLocal(b)
	}
	for vrf, table := range s.snap.Tables {
		s.gather(b, uint16(vrf))
		if s.v4.n > 0 {
			table.ResolveBatch4(s.dst4[:s.v4.n], s.v4.adjacencies[:])
			departed += s.apply(&s.v4, b, table, s.counts[vrf])
		}
		if s.v6.n > 0 {
			table.ResolveBatch6(s.dst6[:s.v6.n], s.v6.adjacencies[:])
			departed += s.apply(&s.v6, b, table, s.counts[vrf])
		}
	}
	b.Departed, b.Chosen = departed == b.N, false
}

// apply does with the packets of a batch what the lookup said. It returns how many
// have nothing before them but Confirm.
func (s *Route) apply(r *routeBatch, b *packet.Burst, table *fib.Table, counts *fib.Counts) (departed int) {
	if b.Chosen {
		r.choose(b, table)
	}
	r.count(table, counts)
	if s.short && !b.Divert {
		departed = r.shorten(b, table.Lines())
	}
	if r.n > 0 {
		if s.lateTuples && r.meetsGroup(table.Lines()) {
			s.secret.Tuples(b, s.snap.Zones)
		}
		r.mark(b, table, counts)
	}
	return departed
}

// meetsGroup tells whether a packet of the batch has a choice among next hops.
func (r *routeBatch) meetsGroup(lines []fib.Adjacency) bool {
	for _, a := range r.adjacencies[:r.n] {
		if lines[a].Kind == fib.Group {
			return true
		}
	}
	return false
}

// keepLocal punts what is for us without a route: link-local addresses are those
// of a link, and no table has them.
func keepLocal(b *packet.Burst) {
	for i := range b.Live() {
		if p := &b.Pkts[i]; p.Diverted() && p.Reason == packet.PuntLocal {
			p.Verdict = packet.Punt
		}
	}
}

// gather lists the packets to be looked up in one VRF.
func (s *Route) gather(b *packet.Burst, vrf uint16) {
	n4, n6, single := 0, 0, len(s.snap.Tables) == 1
	pkts := b.Live()
	for i := range pkts {
		p := &pkts[i]
		if p.Verdict != packet.Continue || !single && s.snap.Interfaces[p.Ingress].VRF != vrf {
			continue
		}
		if p.Flags&packet.IsIPv6 != 0 {
			s.dst6[n6&255] = p.IPv6().Dst()
			s.v6.at[n6&255], s.v6.bytes[n6&255] = uint8(i), uint16(p.L3Len())
			n6++
			continue
		}
		s.dst4[n4&255] = p.IPv4().Dst()
		s.v4.at[n4&255], s.v4.bytes[n4&255] = uint8(i), uint16(p.L3Len())
		n4++
	}
	s.v4.n, s.v6.n = n4, n6
}

// mark writes next hops into the packets. What is not plain forwarding over IPv4
// is put off to a second loop, so that the first one calls nothing.
func (r *routeBatch) mark(b *packet.Burst, table *fib.Table, counts *fib.Counts) {
	lines, others := table.Lines(), 0
	for i, at := range r.at[:r.n] {
		p, a := &b.Pkts[at], &lines[r.adjacencies[i]]
		if a.Kind != fib.Forward || p.Flags&packet.IsIPv6 != 0 {
			r.at[others], r.adjacencies[others] = at, r.adjacencies[i]
			others++
			continue
		}
		p.NextHop, p.Egress, p.MTU = unsafe.Pointer(a), a.Iface, a.MTUBytes
	}
	for i, at := range r.at[:others] {
		if markOther(&b.Pkts[at], table, &lines[r.adjacencies[i]], counts) {
			b.Glean = true
		}
	}
}

// markOther handles groups, IPv6 and what cannot be forwarded. It reports whether
// the neighbour's address is not known: that is the Neighbour stage's, behind the
// hook that may drop the packet.
func markOther(p *packet.Packet, table *fib.Table, a *fib.Adjacency, counts *fib.Counts) (glean bool) {
	if a.Kind == fib.Group {
		a = table.Member(a, flowHash(p))
		counts.Add(a, 1, uint64(p.L3Len()))
	}
	if a.Kind != fib.Forward && a.Kind != fib.Glean {
		unforwardable(p, a)
		return false
	}
	p.NextHop, p.Egress, p.MTU = unsafe.Pointer(a), a.Iface, a.MTUBytes
	if p.Egress != p.Ingress && fromLinkLocal(p) {
		p.RejectFor(packet.Martian, packet.BeyondScope) // Source: RFC 4291 2.5.6, RFC 4443 3.1
	}
	return a.Kind == fib.Glean
}

// unforwardable says what becomes of a packet whose route does not lead on.
func unforwardable(p *packet.Packet, a *fib.Adjacency) {
	switch a.Kind {
	case fib.Local:
		if p.Reason == packet.PuntDiscovery {
			p.Verdict = packet.Punt
			return
		}
		p.PuntFor(packet.PuntLocal)
	case fib.Broadcast:
		p.PuntFor(packet.PuntMulticast)
	case fib.Blackhole:
		p.DropFor(packet.Blackhole)
	case fib.Unreachable:
		p.RejectFor(packet.Unreachable, packet.HostUnreachable)
		if p.Is(packet.IsIPv6) { // as Linux: "address unreachable" is for neighbours that do not answer
			p.Answer = packet.NetUnreachable
		}
	case fib.Punt:
		p.PuntFor(packet.PuntRoute)
	case fib.Prohibit:
		p.RejectFor(packet.Prohibited, packet.AdminProhibited)
	default:
		p.RejectFor(packet.NoRoute, packet.NetUnreachable)
	}
}

// flowHash chooses among equal next hops. A packet goes by its flow, and so do all
// fragments of a datagram, see Reassembly. Without flows fragments go by their addresses,
// the first one too, which has ports: all of a datagram takes one path, though it may be
// another than that of the flow's whole datagrams, as with the layer 4 hash of Linux.
func flowHash(p *packet.Packet) uint32 {
	if p.Hash != 0 {
		return uint32(p.Hash >> 16)
	}
	const spread = 0x9e3779b97f4a7c15 // 2^64 / phi
	if p.Flags&packet.IsIPv6 == 0 {
		h := p.IPv4()
		return uint32((uint64(h.Src())<<32 | uint64(h.Dst())) * spread >> 32)
	}
	h, le := p.IPv6(), binary.LittleEndian
	mixed := le.Uint64(h[8:])*3 ^ le.Uint64(h[16:])*5 ^ le.Uint64(h[24:])*7 ^ le.Uint64(h[32:])*11
	return uint32(mixed * spread >> 32)
}

package pipeline

import "ffwd/packet"

// Depart takes packets that the rules let pass to the device where nobody looks at them
// again: those of known flows, for Confirm has to enter the others, and any where there
// is no conntrack. Bursts in which a rule chose a way, or addresses
// are translated, it leaves to Route.
//
// Needs:  a burst from the receive queue; Conntrack, PolicyIn.
// Writes: the frames and mbufs it takes, see lane; their Verdict Held, or an empty burst.
// Source: FF-1, FF-6, CT-2.
type Depart struct{ *lane }

// Process takes the packets of one family that lead the burst.
func (s *Depart) Process(b *packet.Burst) {
	if b.N == 0 || !s.fromQueue || b.Divert || b.Chosen || b.Translated || !s.snap.open() {
		return
	}
	if s.settled(b); s.n == 0 {
		return
	}
	s.way()
	s.check()
	s.depart(s.received[:s.n])
	if s.n == b.N {
		b.N = 0
		return
	}
	for i := range b.Pkts[:s.n] {
		b.Pkts[i].Verdict = packet.Held
	}
}

// settled makes the run the leading packets whose way is all that is left to be found.
func (l *lane) settled(b *packet.Burst) {
	pkts, n, least := b.Live(), 0, uint32(0)
	family := pkts[0].Flags & packet.IsIPv6
	if l.table != nil {
		least = 1 // flow 0 is none
	}
	for i := range pkts[:min(len(pkts), packet.MaxBurst)] {
		p := &pkts[i]
		if p.Verdict != packet.Continue || p.Flow < least || p.L3 != packet.EthernetLen || p.Flags&packet.IsIPv6 != family {
			break
		}
		at := i & (packet.MaxBurst - 1)
		l.run.Heads[at].Data, l.run.Size[at] = p.Data, uint16(p.L3Len())
		if family == 0 {
			if l.run.Dst4[at] = p.IPv4().Dst(); p.IPv4().TTL() <= 1 {
				break
			}
		} else if l.run.Dst6[at] = p.IPv6().Dst(); p.IPv6().HopLimit() <= 1 || linkLocal6(p.IPv6().Src()) {
			break
		}
		n++
	}
	l.at, l.n, l.ipv6 = 0, n, family != 0
}

package pipeline

import "ffwd/packet"

// MTU finds the packets that are larger than their way out. The cutting itself
// is the output's, see fragment.go.
//
// Needs:  Route.
// Writes: Verdict Fragment.
// Drops:  cannot_fragment with an ICMP error that carries the MTU.
// Source: FF-9, FF-14; RFC 1191 section 4, RFC 8200 section 5.
type MTU struct{}

// Process handles the burst.
func (*MTU) Process(b *packet.Burst) {
	for i := range b.Live() {
		p := &b.Pkts[i]
		if p.Verdict != packet.Continue || p.L3Len() <= int(p.MTU) {
			continue
		}
		if p.Is(packet.IsIPv6) || p.IPv4().FragField()&packet.IPv4DontFragment != 0 {
			p.RejectFor(packet.CannotFragment, packet.TooBig)
			continue
		}
		p.Verdict = packet.Fragment
	}
}

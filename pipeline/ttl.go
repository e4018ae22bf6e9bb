package pipeline

import "ffwd/packet"

// TTL rejects expired packets and decrements the others.
//
// Needs:  Route, so that packets for the switch itself keep theirs.
// Writes: TTL and header checksum, or hop limit.
// Drops:  ttl_expired when it is 0 or 1 on arrival, with an ICMP error.
// Source: FF-7, FF-14; RFC 1812 5.3.1, RFC 1624 section 3, RFC 8200 section 3.
type TTL struct{ *context }

// Process handles the burst.
func (s *TTL) Process(b *packet.Burst) {
	interfaces := s.snap.Interfaces
	pkts := b.Live()
	for i := range pkts {
		p := &pkts[i]
		if p.Verdict != packet.Continue || interfaces[p.Ingress].Stealth {
			continue
		}
		if p.Flags&packet.IsIPv6 != 0 {
			if h := p.IPv6(); h.HopLimit() <= 1 {
				p.RejectFor(packet.TTLExpired, packet.TimeExceeded)
			} else {
				h[7]--
			}
			continue
		}
		if h := p.IPv4(); h.TTL() <= 1 {
			p.RejectFor(packet.TTLExpired, packet.TimeExceeded)
		} else {
			h.DecrementTTL()
		}
	}
}

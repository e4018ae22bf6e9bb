package pipeline

import (
	"encoding/binary"
	"unsafe"

	"ffwd/fib"
	"ffwd/packet"
	"ffwd/policy"
)

// mayShorten tells whether nothing that stands between Route and Confirm asks for more
// of a plain packet than TTL, MTU and Rewrite do: no rule judges what leaves, no sender
// is told of a shorter way, no interface hides the switch.
func (s *Snapshot) mayShorten() bool {
	return s.Rules.Empty(policy.HookOut) && s.forwards()
}

// forwards is mayShorten but for the rules.
func (s *Snapshot) forwards() bool { return !s.redirects && !s.stealth }

// shorten takes plain packets of the batch from their adjacency to the wire in one pass,
// and leaves the others in the batch. It returns how many it took.
//
// It does what mark, TTL, MTU and Rewrite do one after the other, which load and store
// each packet four times, for nearly all packets: forwarded, not expired, not too long,
// from an untagged link to an untagged one. Whatever it leaves takes the long way, where
// every answer is (BenchmarkPipeline: 20 cycles a packet in place of 29, lookup included).
//
// Writes: TTL and checksum, or hop limit; the link header; the mbuf's lengths; Egress;
// Verdict Transmit. NextHop and MTU are for the stages that the packet does not meet.
// Source: FF-1, FF-5, FF-7, FF-9, FF-14.
func (r *routeBatch) shorten(b *packet.Burst, lines []fib.Adjacency) (taken int) {
	left := 0
	for i, at := range r.at[:r.n] {
		p, to := &b.Pkts[at], r.adjacencies[i]
		a := &lines[to]
		ttl := (*uint8)(unsafe.Add(p.Data, packet.EthernetLen+8)) // of IPv4
		if p.Flags&packet.IsIPv6 != 0 {
			ttl = (*uint8)(unsafe.Add(p.Data, packet.EthernetLen+7))
		}
		if a.Kind != fib.Forward || *ttl <= 1 || p.L3 != packet.EthernetLen || a.L2Len != packet.EthernetLen ||
			p.L3Len() > int(a.MTUBytes) || p.Flags&packet.IsIPv6 != 0 && linkLocal6(p.IPv6().Src()) {
			r.at[left], r.adjacencies[left] = at, to
			left++
			continue
		}
		if p.Flags&packet.IsIPv6 != 0 {
			*ttl--
		} else {
			(*packet.IPv4)(unsafe.Add(p.Data, packet.EthernetLen)).DecrementTTL()
		}
		le, link := binary.LittleEndian, (*[12]byte)(p.Data)
		le.PutUint64(link[0:], le.Uint64(a.L2[0:]))
		le.PutUint32(link[8:], le.Uint32(a.L2[8:]))
		seal(p.Mbuf, p.Len)
		p.Egress, p.Verdict = a.Iface, packet.Transmit
	}
	taken, r.n = r.n-left, left
	return taken
}

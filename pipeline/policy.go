package pipeline

import (
	"encoding/binary"

	"ffwd/ct"
	"ffwd/packet"
	"ffwd/policy"
)

// Policy asks the rules of one hook. A flow's verdict is cached in the flow, so
// that an established flow costs a compare; an empty hook costs nothing.
//
// Needs:  Conntrack; at the out hook also Route.
// Writes: the flow's verdict cache.
// Drops:  policy_in, policy_out.
// Source: FF-6.
type Policy struct {
	*context
	hook ct.Hook
}

// Process judges the burst.
func (s *Policy) Process(b *packet.Burst) {
	rules := s.snap.Rules
	hook := policy.HookIn
	reason := packet.PolicyIn
	if s.hook == ct.HookOut {
		hook, reason = policy.HookOut, packet.PolicyOut
	}
	if rules.Empty(hook) {
		return
	}
	generation := rules.Generation()
	for i := range b.Live() {
		p := &b.Pkts[i]
		if p.Verdict != packet.Continue {
			continue
		}
		verdict := ct.Unknown
		if p.Flow != 0 {
			verdict = s.table.Flow(p.Flow).Cached(generation, direction(p), s.hook, p.Ingress, p.Egress)
		}
		if verdict == ct.Unknown {
			verdict = s.ask(rules, hook, p)
		}
		if verdict != ct.Accepted {
			p.DropFor(reason)
		}
	}
}

// ask evaluates the rules and caches the answer.
func (s *Policy) ask(rules *policy.Ruleset, hook policy.Hook, p *packet.Packet) ct.Cached {
	src, dst := p.Ports()
	k := policy.Key{
		SrcPort: src, DstPort: dst, InPort: p.Ingress, OutPort: p.Egress,
		Family: 4, Protocol: p.Proto, HasPorts: p.Is(packet.HasPorts), State: policy.State(p.State),
	}
	switch p.Proto {
	case packet.ProtoICMP, packet.ProtoICMPv6:
		k.HasPorts = false // an identifier is no port
	case packet.ProtoTCP, packet.ProtoUDP, packet.ProtoSCTP:
		// A first fragment has no flow, but ports: without them a sender would
		// evade a rule by setting MF.
		if p.Flags&(packet.IsFragment|packet.LaterFragment|packet.Truncated) == packet.IsFragment {
			k.HasPorts = true
		}
	}
	if p.Is(packet.IsIPv6) {
		k.Family = 6
		k.Src, k.Dst = *p.IPv6().Src(), *p.IPv6().Dst()
	} else {
		h := p.IPv4()
		binary.BigEndian.PutUint32(k.Src[12:], h.Src())
		binary.BigEndian.PutUint32(k.Dst[12:], h.Dst())
	}
	verdict := ct.Denied
	if action, _ := rules.Match(hook, &k); action == policy.Accept {
		verdict = ct.Accepted
	}
	if p.Flow != 0 {
		s.table.Flow(p.Flow).Cache(rules.Generation(), direction(p), s.hook, p.Ingress, p.Egress, verdict)
	}
	return verdict
}

func direction(p *packet.Packet) int {
	if p.Flags&packet.ReplyDir != 0 {
		return ct.Reply
	}
	return ct.Original
}

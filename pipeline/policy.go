package pipeline

import (
	"encoding/binary"

	"ffwd/ct"
	"ffwd/packet"
	"ffwd/policy"
)

// Policy asks the rules of one hook. What they decide for a flow is remembered in the
// flow, so that an established flow costs a compare and two additions; an empty hook
// costs nothing.
//
// Needs:  Conntrack; at the out hook also Route.
// Writes: Mark, CtMark, Via, Policy, Limits, Priority, Translation; the flow's mark and decisions; the rules' hits.
// Drops:  policy_in, policy_out; with an answer where a rule rejects. nat_no_flow, nat_no_address, nat_full.
// Source: FF-6, TO-3. Design: docs/decisions/0005-rule-decisions.md.
type Policy struct {
	*context
	hook   ct.Hook
	reason packet.Reason
}

func newPolicy(c *context, hook ct.Hook) *Policy {
	reason := packet.PolicyIn
	if hook == ct.HookOut {
		reason = packet.PolicyOut
	}
	return &Policy{c, hook, reason}
}

// Process judges the burst.
func (s *Policy) Process(b *packet.Burst) {
	rules := s.snap.Rules
	if rules.Empty(policy.Hook(s.hook)) {
		return
	}
	generation := rules.Generation()
	s.ledger.follow(generation, rules.Len())
	if s.resume != nil {
		s.judgeAgain(b, rules)
		return
	}
	for i := range b.Live() {
		p := &b.Pkts[i]
		if p.Verdict != packet.Continue || p.Reason == packet.PuntDiscovery {
			continue
		}
		if p.Flow != 0 {
			n := s.table.Flow(p.Flow).Decision(generation, direction(p), s.hook)
			if d := &s.ledger.decisions[n&(maxDecisions-1)]; d.holdsFor(p) {
				d.hits.add(p)
				p.Mark = d.markAfter
				if d.more {
					s.follow(b, i, rules, &d.decided)
				}
				continue
			}
		}
		s.ask(rules, b, i, fromFirst)
	}
}

// follow does what a decision says beyond hits and mark.
func (s *Policy) follow(b *packet.Burst, i int, rules *policy.Ruleset, d *decided) {
	p := &b.Pkts[i]
	if d.via != 0 {
		p.Via, b.Chosen = d.via, true
	}
	switch d.action {
	case policy.Accept:
	case policy.Queue:
		rule := d.last()
		s.enqueue(i, p, rules, rule, rules.Effect(rule))
	default:
		s.refuse(p, d.action, d.answer)
	}
}

// refuse ends the packet's way as an action says that is not Accept.
func (s *Policy) refuse(p *packet.Packet, action policy.Action, answer packet.Answer) {
	if action == policy.Reject {
		p.RejectFor(s.reason, answer)
		return
	}
	p.DropFor(s.reason)
}

// ask walks the rules, does what they say, and remembers what they decided.
func (s *Policy) ask(rules *policy.Ruleset, b *packet.Burst, i int, from judgement) {
	p, hook := &b.Pkts[i], policy.Hook(s.hook)
	var k policy.Key
	s.key(&k, p)
	d := decided{ingress: p.Ingress, egress: p.Egress, markBefore: p.Mark}
	ctMark := k.CtMark
	remember := from == fromFirst
	for after := from.after; ; {
		action, rule := rules.MatchAfter(hook, &k, after)
		if rule >= 0 && s.within(p, rules.Effect(rule)) {
			after = rule
			continue
		}
		slot := s.ledger.slot(rule, s.hook)
		s.ledger.hits[slot].add(p)
		d.pass(slot)
		d.action = action
		if rule < 0 {
			break
		}
		e := rules.Effect(rule)
		s.give(b, p, &k, &d, e)
		if action == policy.Reject {
			d.answer = answerTo(p, e.RejectWith)
		}
		switch {
		case action.Translates():
			d.action = policy.Accept
			if reason := s.translate(b, p, rule, e); reason != packet.Unfinished {
				p.DropFor(reason)
				return
			}
		case action == policy.Tee:
			remember = false // each packet is copied
			s.tee(b, p, rules, rule, e)
		case action == policy.Queue && from.listened:
			d.action = policy.Accept
		case action == policy.Queue:
			s.enqueue(i, p, rules, rule, e)
		}
		if action.Terminal() && !(from.listened && action == policy.Queue && e.Queue.Divert) {
			break
		}
		after = rule
	}
	d.markAfter = p.Mark
	// What was decided by a connection's mark that is another one now is not what the
	// next packet would be told.
	if remember && p.Flow != 0 && d.passed <= maxPassed && k.CtMark == ctMark {
		s.table.Flow(p.Flow).Remember(rules.Generation(), direction(p), s.hook, s.ledger.enter(&d))
	}
	if d.action != policy.Accept && d.action != policy.Queue {
		s.refuse(p, d.action, d.answer)
	}
}

// give gives a packet what a rule that matches it has for it besides an action.
func (s *Policy) give(b *packet.Burst, p *packet.Packet, k *policy.Key, d *decided, e *policy.Effect) {
	s.mark(p, k, e)
	if e.NextHop != 0 {
		p.Via, d.via, b.Chosen = e.NextHop, e.NextHop, true
	}
	p.Priority = p.Priority || e.Priority
	if e.Timeout != 0 {
		s.table.Attach(p, e.Timeout)
	}
}

// within tells whether a rule is for connections above a limit, and the packet's is not:
// the rule does not match it.
func (s *Policy) within(p *packet.Packet, e *policy.Effect) bool {
	return e.Limit != 0 && (s.table == nil || !s.table.Exceeds(p, e.Limit))
}

// mark sets the packet's and its connection's mark as a rule says. A flow that is not
// confirmed yet has its mark in the packet.
func (s *Policy) mark(p *packet.Packet, k *policy.Key, e *policy.Effect) {
	p.Mark = e.SetMark.Set(p.Mark)
	k.Mark = p.Mark
	if e.SetCtMark.Mask == 0 {
		return
	}
	k.CtMark = e.SetCtMark.Set(k.CtMark)
	if p.Flow != 0 {
		s.table.SetMark(p.Flow, k.CtMark)
	} else {
		p.CtMark = k.CtMark
	}
}

// answerTo says how the sender of a packet is told.
func answerTo(p *packet.Packet, with policy.RejectWith) packet.Answer {
	switch with {
	case policy.TCPReset:
		return packet.TCPReset
	case policy.HostUnreachable:
		return packet.HostUnreachable
	case policy.NetUnreachable:
		return packet.NetUnreachable
	case policy.AdminProhibited:
		return packet.AdminProhibited
	case policy.RejectDefault:
		if p.Proto == packet.ProtoTCP {
			return packet.TCPReset
		}
	}
	return packet.PortUnreachable
}

// key writes what the rules look at in a packet into k, which is zero: a key that is
// returned would be copied, and the copy wait for its own stores.
func (s *Policy) key(k *policy.Key, p *packet.Packet) {
	k.SrcPort, k.DstPort = p.Ports()
	k.InPort, k.OutPort = p.Ingress, p.Egress
	k.Family, k.Protocol, k.HasPorts = 4, p.Proto, p.Is(packet.HasPorts)
	k.State, k.Mark, k.CtMark = policy.State(p.State), p.Mark, p.CtMark
	if p.Flow != 0 {
		k.CtMark = s.table.Flow(p.Flow).Mark()
	}
	switch p.Proto {
	case packet.ProtoICMP, packet.ProtoICMPv6:
		k.HasPorts = false // an identifier is no port
	case packet.ProtoTCP, packet.ProtoUDP, packet.ProtoSCTP:
		// A first fragment has no flow, but ports: without them a sender would
		// evade a rule by setting MF.
		if p.Flags&(packet.IsFragment|packet.LaterFragment|packet.Broken) == packet.IsFragment {
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
}

func direction(p *packet.Packet) int {
	if p.Flags&packet.ReplyDir != 0 {
		return ct.Reply
	}
	return ct.Original
}

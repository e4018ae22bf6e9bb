package pipeline

import (
	"ffwd/ct"
	"ffwd/packet"
	"ffwd/policy"
)

// Destination writes the new destination of packets whose addresses are translated, before
// the route lookup: it may be ours. So the rules of hook in judge what was received, those
// of hook out what is routed.
//
// Needs:  Conntrack, PolicyIn.
// Writes: destination address and port, and their checksums; of an ICMP error the quote too.
// Drops:  nat_no_flow, where the flow gave way to another packet of the burst; nat_no_port, of
// fragments of SCTP whose ports would change.
// Source: FF-6. Design: docs/decisions/0016-address-translation.md.
type Destination struct{ *context }

// Process handles the burst; in most there is nothing to do.
func (s *Destination) Process(b *packet.Burst) {
	if !b.Translated {
		return
	}
	for i := range b.Live() {
		if p := &b.Pkts[i]; p.Verdict == packet.Continue && p.Translation != 0 {
			if !s.table.Destination(p) {
				p.DropFor(s.table.Refusal())
			}
		}
	}
}

// Source writes the new source of packets whose addresses are translated, now that they
// leave: nothing before needs it, and senders are told of what they sent.
//
// Needs:  Confirm, which chooses the source of new flows.
// Writes: source address and port, and their checksums.
// Drops:  nat_no_flow, where the flow gave way to another packet of the burst; nat_no_port, of
// fragments of SCTP whose ports would change.
// Source: FF-6. Design: docs/decisions/0016-address-translation.md.
type Source struct{ *context }

// Process handles the burst; in most there is nothing to do.
func (s *Source) Process(b *packet.Burst) {
	if !b.Translated {
		return
	}
	for i := range b.Live() {
		p := &b.Pkts[i]
		if p.Translation != 0 && (p.Verdict == packet.Transmit || p.Verdict == packet.Fragment) {
			if !s.table.Source(p) {
				p.DropFor(s.table.Refusal())
			}
		}
	}
}

// translate notes for a packet that starts a flow what a rule says of its addresses. Those
// of a flow follow what was noted for its first one. It returns the reason for which a
// packet cannot be translated, else Unfinished.
func (s *Policy) translate(b *packet.Burst, p *packet.Packet, rule int, e *policy.Effect) packet.Reason {
	if p.Flow != 0 || p.State == packet.CtRelated {
		return packet.Unfinished
	}
	if s.table == nil || !ct.Translates(p) {
		return packet.NATNoFlow
	}
	b.Translated = true
	if s.hook == ct.HookOut {
		if !s.table.SetSource(p, uint32(rule)+1) {
			return packet.NATFull
		}
		return packet.Unfinished
	}
	var to ct.Range
	if !s.rangeOf(&to, e, p, p.Ingress) {
		return packet.NATNoAddress
	}
	if !s.table.SetDestination(p, &to) {
		return packet.NATFull
	}
	return packet.Unfinished
}

// rangeOf writes what a rule translates to. It returns false when that is an address of an
// interface which has none of the packet's family.
func (c *context) rangeOf(r *ct.Range, e *policy.Effect, p *packet.Packet, iface uint16) bool {
	r.FirstPort, r.LastPort = e.To.Ports.First, e.To.Ports.Last
	in, to := &c.snap.Interfaces[iface], &e.To
	switch {
	case to.First.Is4():
		first, last := to.First.As4(), to.Last.As4()
		copy(r.First[:], first[:])
		copy(r.Last[:], last[:])
	case to.First.IsValid():
		r.First, r.Last = to.First.As16(), to.Last.As16()
	case p.Is(packet.IsIPv6):
		r.First, r.Last = in.Addr6, in.Addr6
		return in.Addr6 != [16]byte{}
	default:
		copy(r.First[:], in.Addr4[:])
		r.Last = r.First
		return in.Addr4 != [4]byte{}
	}
	return true
}

// confirm enters the flow of a new packet that leaves, see ct.Table.Confirm, and tells for
// what reason it may not.
func (c *context) confirm(p *packet.Packet, nowNs int64) (why packet.Reason, ok bool) {
	if p.Translation == 0 {
		ok = c.table.Confirm(p, nowNs, c.snap.Timeouts)
	} else if rule := c.table.NotedSource(p); rule == 0 {
		ok = c.table.ConfirmTranslated(p, nil, nowNs, c.snap.Timeouts)
	} else {
		var from ct.Range
		if !c.rangeOf(&from, c.snap.Rules.Effect(int(rule)-1), p, p.Egress) {
			return packet.NATNoAddress, false
		}
		ok = c.table.ConfirmTranslated(p, &from, nowNs, c.snap.Timeouts)
	}
	return c.table.Refusal(), ok
}

// putBack puts a packet that waited back to what was received, so that it can go through
// both hooks again. One of which nobody knows any more what that was is dropped.
func (c *context) putBack(p *packet.Packet) (ok bool) {
	if p.Translation == 0 || c.table.Restore(p) {
		return true
	}
	p.DropFor(packet.NATNoFlow)
	return false
}

// forgetTranslation takes from a new packet what rules of another ruleset decided.
func (c *context) forgetTranslation(p *packet.Packet) {
	if p.Translation != 0 && ct.Translates(p) {
		c.table.ReleaseTranslation(p)
	}
}

// restoreRewritten puts back the destination of a packet that a listener has rewritten. way
// is how it went, which nothing else tells yet. It returns false if the listener changed
// what we had translated, or an ICMP error: the packet is of no flow then.
func (c *context) restoreRewritten(p *packet.Packet, way uint8) (known bool) {
	if p.Translation == 0 {
		return true
	}
	p.Flags |= way
	known = p.State != packet.CtRelated && c.table.Restore(p)
	p.Flags &^= way
	return known
}

// forgetSource takes from a new packet what the rules of hook out decided, which are asked
// again.
func (s *Policy) forgetSource(p *packet.Packet) {
	if s.hook == ct.HookOut && p.Translation != 0 && ct.Translates(p) {
		s.table.SetSource(p, 0)
	}
}

// finishTranslation translates a packet that goes to the kernel wholly: it neither meets
// Confirm nor Source. begun is whether a flow has begun with it; reason, other than
// Unfinished, why it may not go.
func (w *Worker) finishTranslation(p *packet.Packet, nowNs int64) (begun bool, reason packet.Reason) {
	if ct.Translates(p) {
		created := w.table.Created
		if why, ok := w.confirm(p, nowNs); !ok {
			return false, why
		}
		begun = w.table.Created != created
	}
	if p.Translation != 0 && !w.table.Source(p) {
		return begun, w.table.Refusal()
	}
	return begun, packet.Unfinished
}

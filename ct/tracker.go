package ct

import "ffwd/packet"

// admits reports whether a packet without a flow may start one. An answer with
// no question may not; a TCP segment in mid-stream may, so that connections
// survive a restart of the switch. Source: CT-2, CT-3 (loose pickup), CT-4.
func (t *Table) admits(p *packet.Packet) bool {
	if p.Is(packet.LaterFragment) { // its first one has been asked
		return true
	}
	switch p.Proto {
	case packet.ProtoTCP:
		var seg segment
		if !parseSegment(p, &seg) {
			return false
		}
		return seg.kind == segSyn || seg.kind == segAck && t.settings.Loose
	case packet.ProtoICMP, packet.ProtoICMPv6:
		return !queryOf(p.Proto, p.Transport()[0]).answer
	case packet.ProtoSCTP:
		return admitsSCTP(p)
	}
	return true
}

// tracksHeader reports whether a protocol's tracker reads the header of every packet.
func tracksHeader(proto uint8) bool { return proto == packet.ProtoTCP || proto == packet.ProtoSCTP }

// start returns the state of a new flow whose first packet p is.
func (t *Table) start(p *packet.Packet, flow uint32) State {
	switch p.Proto {
	case packet.ProtoTCP:
		return t.startTCP(p, flow)
	case packet.ProtoUDP:
		return UDPUnreplied
	case packet.ProtoICMP:
		return ICMPQuery
	case packet.ProtoICMPv6:
		return ICMPv6Query
	case packet.ProtoGRE:
		return GREUnreplied
	case packet.ProtoSCTP:
		return t.startSCTP(p, flow)
	}
	return Generic
}

// streamTicks is how long a UDP flow must last, answered, to be a stream.
const streamTicks = uint32(2 * 1_000_000_000 >> tickShift)

// advance takes a flow's tracker one packet further. It is called before the packet
// counts as a reply.
func (t *Table) advance(p *packet.Packet, flow, now uint32, dir int) outcome {
	f := t.flow(flow)
	switch f.proto() {
	case packet.ProtoTCP:
		return t.trackTCP(p, flow, dir)
	case packet.ProtoSCTP:
		return t.trackSCTP(p, flow, dir)
	case packet.ProtoGRE:
		if f.state == GREUnreplied && f.flags&seenReply != 0 { // behind the first answer
			f.state = GREReplied
			f.flags |= assured
			t.settle(flow)
		}
	case packet.ProtoUDP:
		switch {
		case f.state == UDPUnreplied && dir == Reply:
			f.state = UDPAnswered
		case f.state == UDPAnswered && t.cold[flow].lasted(now) > streamTicks:
			f.state = UDPReplied
			f.flags |= assured
		}
	}
	return accepted
}

// timeout returns the state whose timeout the flow lives by after a packet.
func (t *Table) timeout(p *packet.Packet, flow uint32, timeouts *Timeouts) State {
	if p.Proto == packet.ProtoTCP {
		return t.timeoutTCP(p, flow, timeouts)
	}
	return t.flow(flow).state
}

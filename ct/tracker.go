package ct

import "ffwd/packet"

// admits reports whether a packet without a flow may start one. An answer with
// no question may not; a TCP segment in mid-stream may, so that connections
// survive a restart of the switch. Source: CT-2, CT-3 (loose pickup), CT-4.
func admits(p *packet.Packet) bool {
	switch p.Proto {
	case packet.ProtoTCP:
		switch f := tcpFlags(p); {
		case f&packet.TCPRst != 0:
			return false
		case f&packet.TCPSyn != 0:
			return f&packet.TCPAck == 0
		default:
			return f&packet.TCPAck != 0 && f&packet.TCPFin == 0
		}
	case packet.ProtoICMP:
		return p.Transport()[0] == packet.ICMPEchoRequest
	case packet.ProtoICMPv6:
		return p.Transport()[0] == packet.ICMPv6EchoRequest
	}
	return true
}

// initialState returns the state of a flow whose first packet p is.
func initialState(p *packet.Packet) State {
	switch p.Proto {
	case packet.ProtoTCP:
		if tcpFlags(p)&packet.TCPSyn != 0 {
			return TCPSynSent
		}
		return TCPEstablished // picked up in mid-stream
	case packet.ProtoUDP:
		return UDPUnreplied
	case packet.ProtoICMP:
		return ICMPQuery
	case packet.ProtoICMPv6:
		return ICMPv6Query
	}
	return Generic // SCTP too, until it has a tracker
}

// tcpFlags returns the flag bits of a TCP packet. The parse stage saw to it that
// the whole fixed header is there.
func tcpFlags(p *packet.Packet) uint8 { return p.Transport()[13] }

// advance takes the flow's tracker one packet further. It reports whether the packet
// began a new connection in the place of the flow's old one.
func (f *Flow) advance(p *packet.Packet, dir int) (restarted bool) {
	switch f.proto() {
	case packet.ProtoUDP:
		if dir == Reply {
			f.state = UDPReplied
		}
	case packet.ProtoTCP:
		before := f.flags
		f.advanceTCP(tcpFlags(p), dir)
		return before&^f.flags&seenReply != 0
	}
	return false
}

// advanceTCP follows the connection by its flags alone.
func (f *Flow) advanceTCP(flags uint8, dir int) {
	switch {
	case flags&packet.TCPRst != 0:
		f.state = TCPClose
	case flags&packet.TCPSyn != 0:
		f.synTCP(flags, dir)
	case flags&packet.TCPFin != 0:
		switch f.state {
		case TCPSynRecv, TCPEstablished:
			f.state = TCPFinWait
		case TCPFinWait, TCPCloseWait:
			f.state = TCPLastAck
		}
	case flags&packet.TCPAck != 0:
		switch f.state {
		case TCPSynRecv:
			if dir == Original {
				f.state = TCPEstablished
			}
		case TCPFinWait:
			f.state = TCPCloseWait
		case TCPLastAck:
			f.state = TCPTimeWait
		}
	}
}

// synTCP handles SYN and SYN/ACK: the handshake, or a connection that reuses the
// ports of one that has ended.
func (f *Flow) synTCP(flags uint8, dir int) {
	if flags&packet.TCPAck != 0 {
		if f.state == TCPSynSent && dir == Reply {
			f.state = TCPSynRecv
		}
		return
	}
	if dir == Original && (f.state == TCPTimeWait || f.state == TCPClose) {
		f.state = TCPSynSent
		f.flags &^= seenReply
		f.forget()
	}
}

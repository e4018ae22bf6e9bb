package ct

import "ffwd/packet"

// A note is what the tracker remembers of a segment it let through without
// believing it, until the next segment, which may be the answer: 16 bits in the
// flow's cold part.
//
//	kind 1 | scaled 1 | selective acks 1 | - | scale 4 | digest of the number expected 8
const (
	noteSyn       = 0 // a SYN on a live connection; its acknowledgement number is expected
	noteChallenge = 1 // an ACK in answer to a SYN; it is the RST's sequence number

	noteKindMask   = 1
	noteScaled     = 1 << 1
	noteSackOK     = 1 << 2
	noteScaleShift = 4
	noteShift      = 8
)

func noteDigest(number uint32) uint16 { return uint16(number * 0x9e3779b1 >> 24 << noteShift) }

// note remembers n with the flow.
func (t *Table) note(flow uint32, n uint16) {
	t.cold[flow].note = n
	t.flow(flow).flags |= noted
}

// remembers reports whether there is a note of this kind.
func (t *Table) remembers(flow uint32, kind uint16) bool {
	return t.flow(flow).flags&noted != 0 && t.cold[flow].note&noteKindMask == kind
}

// expects reports whether there is a note of this kind about this number.
func (t *Table) expects(flow uint32, kind uint16, number uint32) bool {
	return t.remembers(flow, kind) && t.cold[flow].note>>noteShift<<noteShift == noteDigest(number)
}

// resync takes note of a segment that is let through. It reports whether the
// segment is the SYN/ACK that accepts a SYN let through before: then both ends
// have a new connection, and the flow begins again with it.
//
// The window of that SYN is not remembered; the next segment of its sender tells.
func (t *Table) resync(flow uint32, dir int, seg *segment) bool {
	switch {
	case seg.kind == segSyn:
		scale, sackOK := seg.offers()
		n := noteSyn | noteDigest(seg.end)
		if scale >= 0 {
			n |= noteScaled | uint16(scale)<<noteScaleShift
		}
		if sackOK {
			n |= noteSackOK
		}
		t.note(flow, n)
	case seg.kind == segAck && dir == Reply:
		t.note(flow, noteChallenge|noteDigest(seg.ack))
	case seg.kind == segSynAck && dir == Reply && t.expects(flow, noteSyn, seg.ack):
		w := t.window(flow)
		*w = window{}
		o := &w.side[Original]
		o.end, o.maxEnd, o.maxWin = seg.ack, seg.ack, 0xffff
		n := t.cold[flow].note
		if n&noteScaled != 0 {
			o.bits |= sideScaled | uint8(n>>noteScaleShift)&scaleMask
		}
		if n&noteSackOK != 0 {
			o.bits |= sideSackOK
		}
		return true
	}
	return false
}

// reset is what to make of a RST.
type reset uint8

const (
	resetCheck reset = iota // closes if it is inside the windows
	resetSure               // closes
	resetDoubt              // may be a guess: let through, the connection goes on
	resetInvalid
)

// checkReset applies RFC 5961 3.2: a RST closes an established connection only
// with exactly the number that its receiver expects next, which is what it has
// acknowledged or, right behind data, the end of that. Another number inside the
// window goes to the receiver, who will challenge it. A RST below what was
// acknowledged is no endpoint's.
func (t *Table) checkReset(flow uint32, dir int, seg *segment) reset {
	f, w := t.flow(flow), t.window(flow)
	from, to := &w.side[dir], &w.side[dir^1]
	last := int(w.side[Original].more & (connLastBack | connLastEnd))
	switch {
	case dir == Reply && seg.flags&packet.TCPAck != 0 && t.expects(flow, noteSyn, seg.ack):
		return resetSure // it refuses the SYN that was let through
	case dir == Original && f.state == TCPSynSent && t.expects(flow, noteChallenge, seg.seq):
		return resetSure // it clears the far end's old connection; the SYN will be sent again, and open the flow anew
	case dir == Reply && f.state == TCPSynSent && seg.flags&packet.TCPAck == 0:
		return resetInvalid // RFC 9293 3.10.7.3
	case f.state >= TCPFinWait && f.state <= TCPClose:
		return resetSure // little is left to be reset, and the ports may be in use again
	case to.bits&sideAcked == 0 || t.remembers(flow, noteSyn): // what was acknowledged may be out of date
		return resetCheck
	case after(to.maxAck, seg.seq):
		return resetInvalid
	case f.state != TCPEstablished || f.flags&assured == 0 || seg.seq == to.maxAck || seg.seq == from.end && last == dir*connLastBack|connLastEnd:
		return resetCheck
	}
	return resetDoubt
}

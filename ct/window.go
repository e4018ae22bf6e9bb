package ct

import (
	"unsafe"

	"ffwd/packet"
)

// window is what the TCP tracker knows of a connection beyond its state: half a
// cache line, beside the flow in an array of its own. Other trackers use the same
// 32 bytes in their way.
//
// Each side's numbers follow the four bounds of Guido van Rooij, "Real Stateful
// TCP Packet Filtering in IP Filter" (2000), for a segment that the side sends:
//
//	seq <= maxEnd                                 the other side has room for it
//	end >= this side's end - the other's maxWin   it is no older than one window
//	ack <= the other side's end                   what it acknowledges was sent
//	ack >= the other side's end - maxAckLag       and not too long ago
type window struct{ side [2]side }

// side is one direction of a connection, by what its sender said. 16 bytes.
type side struct {
	end    uint32 // behind the last it sent
	maxEnd uint32 // behind the last it may send: acknowledgement and window of the other side
	maxAck uint32 // the highest acknowledgement it sent
	maxWin uint16 // the largest window it announced, in units of 1<<scale; 0: not seen yet
	bits   uint8  // scale and flags
	more   uint8  // of the Original side: flags of the connection; of the Reply side: digest of the latest segment
}

// bits of a side.
const (
	scaleMask   = 15
	sideSackOK  = 1 << 4
	sideScaled  = 1 << 5 // offered a window scale
	sideUnacked = 1 << 6 // sent data that is not acknowledged yet
	sideAcked   = 1 << 7 // maxAck is valid
)

// more of the Original side.
const (
	retransMask  = 3      // how often the latest segment was repeated, up to maxRetrans
	connLiberal  = 1 << 2 // windows are not enforced: its beginning was not seen
	connBothOpen = 1 << 3 // both sides sent a SYN
	connAgreed   = 1 << 4 // on the scale of their windows
	connLastBack = 1 << 5 // the latest data or acknowledgement came from the Reply side,
	connLastEnd  = 1 << 6 // and nothing was sent behind it
)

// maxRetrans is how often a segment may be repeated before the connection lives
// by the shorter timeout; Linux's nf_conntrack_tcp_max_retrans.
const maxRetrans = 3

// maxAckLag is how far an acknowledgement may lag behind, at least: more than
// any unscaled window.
const maxAckLag = 66000

func (t *Table) window(flow uint32) *window {
	return (*window)(unsafe.Add(t.windowBase, uintptr(flow)*unsafe.Sizeof(window{})))
}

func (s *side) scale() uint8 { return s.bits & scaleMask }

// window returns the largest window the side announced, in bytes.
func (s *side) window() uint32 { return uint32(s.maxWin) << s.scale() }

// announce notes a window of so many bytes.
func (s *side) announce(bytes uint32) {
	unit := uint32(1) << s.scale()
	s.maxWin = max(s.maxWin, uint16(min((bytes+unit-1)>>s.scale(), 0xffff)))
}

// open starts a side with its SYN: sequence numbers, window and options.
//
// The window of a SYN is not scaled, and a scale holds only if both sides offer
// one (RFC 7323 2.2). Until both are known the window stays as it was announced.
func (w *window) open(dir int, seg *segment) {
	s, other := &w.side[dir], &w.side[dir^1]
	*s = side{end: seg.end, maxEnd: seg.end, maxWin: max(1, seg.win), more: s.more}
	scale, sackOK := seg.offers()
	if scale >= 0 {
		s.bits |= sideScaled | uint8(scale)
	}
	if sackOK {
		s.bits |= sideSackOK
	}
	if other.maxWin == 0 {
		return
	}
	agreed := w.side[Original].more&connAgreed != 0
	switch {
	case s.bits&other.bits&sideScaled != 0:
		s.scaleWindow()
		if !agreed {
			other.scaleWindow()
		}
	default:
		if agreed {
			other.maxWin = uint16(min(other.window(), 0xffff))
		}
		s.bits &^= scaleMask
		other.bits &^= scaleMask
	}
	w.side[Original].more |= connAgreed
}

// scaleWindow turns a window in bytes into one in units, rounded up.
func (s *side) scaleWindow() {
	bytes := uint32(s.maxWin)
	s.maxWin = 0
	s.announce(bytes)
}

// join starts the side in mid-stream, with a segment whose predecessors were not
// seen.
func (s *side) join(seg *segment, other *side) {
	s.end, s.maxWin = seg.end, max(1, seg.win)
	s.maxEnd = seg.end + s.window()
	switch {
	case other.maxWin == 0: // nothing of the other side yet: it is where this one says
		other.end, other.maxEnd = seg.sack, seg.sack
	case seg.sack == other.end+1: // the answer to a keep-alive
		other.end++
	}
}

// fit says how a segment lies to the windows.
type fit uint8

const (
	inside fit = iota
	older      // a copy of what has passed: let through, teaches nothing
	excess     // more than the window, by less than a window: let through, its end is noted
	beyond     // sequence or acknowledgement that cannot be
)

// place compares a segment of s with the windows.
func (s *side) place(seg *segment, other *side) fit {
	room := other.maxWin == 0 || after(seg.end, s.end-other.window()-1)
	recent := after(seg.sack, other.end-max(s.window(), maxAckLag)-1)
	switch {
	case after(seg.sack, other.end):
		return beyond
	case after(seg.seq, s.maxEnd):
		if other.maxWin != 0 && room && recent && seg.end-s.maxEnd+1 <= other.window() {
			return excess
		}
		return beyond
	case !room || !recent:
		return older
	}
	return inside
}

// learn takes over what a segment inside the windows says.
func (s *side) learn(seg *segment, other *side) {
	win := uint32(seg.win)
	if seg.flags&packet.TCPSyn == 0 {
		win <<= s.scale()
	}
	s.announce(win + seg.sack - seg.ack)
	if after(seg.end, s.end) {
		s.end = seg.end
		s.bits |= sideUnacked
	}
	if other.maxWin != 0 && after(seg.end, s.maxEnd) { // the other side took more than it announced
		other.announce(other.window() + seg.end - s.maxEnd)
	}
	if !after(other.maxEnd, seg.sack+win) {
		other.maxEnd = seg.sack + max(win, 1) // one byte for a probe of a closed window
	}
	if seg.flags&packet.TCPAck == 0 {
		return
	}
	if s.bits&sideAcked == 0 || after(seg.ack, s.maxAck) {
		s.maxAck = seg.ack
		s.bits |= sideAcked
	}
	if seg.ack == other.end {
		other.bits &^= sideUnacked
	}
}

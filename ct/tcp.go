package ct

import "ffwd/packet"

// The TCP tracker follows a connection by the segments that pass. docs/trackers.md
// has its states and transitions as tables and says where they differ from
// Linux's. Source: CT-3; RFC 9293 3.3.2 and 3.10, RFC 5961, RFC 7323, RFC 2018.

// What a segment can do besides leading to a state.
const (
	invalid State = NumStates + iota // no endpoint in this state sends it
	through                          // an endpoint may well send it, but it says nothing that can be relied on
	again                            // opens a new connection in the place of one that has ended
)

// tcpNext is the transition for each direction, kind of segment and state.
var tcpNext = func() (next [2][numKinds][TCPSynSent2 - TCPSynSent + 1]State) {
	const (
		ss, sr, es, fw = TCPSynSent, TCPSynRecv, TCPEstablished, TCPFinWait
		cw, la, tw, cl = TCPCloseWait, TCPLastAck, TCPTimeWait, TCPClose
		s2, iv, th, ag = TCPSynSent2, invalid, through, again
	)
	//                        from:  ss  sr  es  fw  cw  la  tw  cl  s2
	next[Original][segRst] = row{cl, cl, cl, cl, cl, cl, cl, cl, cl}
	next[Original][segSyn] = row{ss, th, th, th, th, th, ag, ag, s2}
	next[Original][segSynAck] = row{iv, sr, iv, iv, iv, iv, iv, iv, sr}
	next[Original][segFin] = row{iv, fw, fw, la, la, la, tw, cl, iv}
	next[Original][segAck] = row{iv, es, es, cw, cw, tw, tw, cl, iv}

	next[Reply][segRst] = row{cl, cl, cl, cl, cl, cl, cl, cl, cl}
	next[Reply][segSyn] = row{s2, iv, iv, iv, iv, iv, ag, iv, s2}
	next[Reply][segSynAck] = row{sr, th, th, th, th, th, th, th, sr}
	next[Reply][segFin] = row{iv, fw, fw, la, la, la, tw, cl, iv}
	next[Reply][segAck] = row{th, sr, es, cw, cw, tw, tw, cl, th}
	return next
}()

type row = [TCPSynSent2 - TCPSynSent + 1]State

// outcome is what a tracker makes of a packet.
type outcome uint8

const (
	accepted outcome = iota
	passed           // of the flow, but neither counted nor a reason to keep the flow
	refused          // invalid
	reopened         // of a new connection: the flow has ended
	ended            // accepted, and there was never more to the flow than this
)

// trackTCP takes a connection one segment further.
func (t *Table) trackTCP(p *packet.Packet, flow uint32, dir int) outcome {
	var seg segment
	if !parseSegment(p, &seg) {
		return refused
	}
	f, w := t.flow(flow), t.window(flow)
	if p.Is(packet.IsFragment) { // where it ends is not known
		w.side[Original].more |= connLiberal
	}
	old := f.state
	next := tcpNext[dir][seg.kind][old-TCPSynSent]
	switch next {
	case invalid:
		return refused
	case again:
		return reopened
	case through:
		if !t.resync(flow, dir, &seg) {
			return passed
		}
		old, next = TCPSynSent, TCPSynRecv
	case TCPSynSent2:
		w.side[Original].more |= connBothOpen
	case TCPSynRecv:
		if dir == Reply && seg.kind == segAck && w.side[Original].more&connBothOpen != 0 {
			next = TCPEstablished
		}
	case TCPTimeWait:
		if old == TCPLastAck && dir == Reply && seg.kind == segAck && t.remembers(flow, noteSyn) {
			f.flags &^= noted
			return passed // a challenge about that SYN, not the acknowledgement of the FIN. RFC 5961 4.2
		}
	case TCPClose:
		if seg.kind == segRst {
			switch verdict := t.checkReset(flow, dir, &seg); verdict {
			case resetSure:
				f.state = TCPClose
				if f.flags&seenReply == 0 {
					return ended
				}
				return accepted
			case resetDoubt:
				next = old
			case resetInvalid:
				return refused
			}
		}
	}
	before := *w
	if out := t.checkWindow(w, dir, old, &seg); out != accepted {
		if out == refused { // and leaves nothing behind that would refuse the right one
			*w = before
		}
		return out
	}
	f.flags &^= noted
	if seg.kind == segAck {
		w.count(&seg, dir)
	}
	if f.flags&seenReply != 0 {
		if next == TCPEstablished && (old == TCPSynRecv || old == TCPEstablished) {
			f.flags |= assured
		}
	} else if seg.kind == segRst {
		f.state = TCPClose
		return ended
	}
	f.state = next
	if seg.kind == segSyn && old == TCPSynSent && f.flags&seenReply == 0 {
		return passed // or a client that tries for ever would keep the flow for ever
	}
	return accepted
}

// checkWindow compares a segment with the windows, and moves them. old is the
// state before the segment.
func (t *Table) checkWindow(w *window, dir int, old State, seg *segment) outcome {
	from, to := &w.side[dir], &w.side[dir^1]
	switch isSyn := seg.flags&packet.TCPSyn != 0; {
	case isSyn && (from.maxWin == 0 || old == TCPSynSent && dir == Original || old <= TCPSynRecv && after(seg.end, from.end)):
		if w.open(dir, seg); seg.kind == segSyn && dir == Reply {
			return accepted
		}
	case from.maxWin == 0:
		from.join(seg, to)
	}
	if seg.flags&packet.TCPAck == 0 || seg.kind == segRst && seg.ack == 0 { // as if it acknowledged all
		seg.ack, seg.sack = to.end, to.end
	} else if to.bits&sideSackOK != 0 && seg.kind == segAck {
		seg.readSack()
	}
	if seg.kind == segRst && seg.seq == 0 && old == TCPSynSent { // answers a SYN. RFC 9293 3.10.7.1
		seg.seq, seg.end = from.end, from.end
	}
	switch where := from.place(seg, to); {
	case where == inside:
		from.learn(seg, to)
	case t.settings.Liberal || w.side[Original].more&connLiberal != 0:
	case where == beyond:
		return refused
	case where == excess:
		from.end = seg.end
		from.bits |= sideUnacked
		return passed
	default:
		return passed
	}
	return accepted
}

// count notes whether the segment is the same as the one before.
func (w *window) count(seg *segment, dir int) {
	digest := segmentDigest(seg.seq, seg.ack, seg.end, seg.win, dir)
	o, r := &w.side[Original], &w.side[Reply]
	if digest != r.more {
		r.more = digest
		o.more &^= retransMask
	} else if o.more&retransMask < maxRetrans {
		o.more++
	}
	o.more = o.more&^(connLastBack|connLastEnd) | uint8(dir*connLastBack)
	if seg.end == w.side[dir].end {
		o.more |= connLastEnd
	}
}

// segmentDigest stands for the latest segment in a byte: one in 256 others is
// taken for its repetition, which only three in a row make matter.
func segmentDigest(seq, ack, end uint32, win uint16, dir int) uint8 {
	a := uint64(seq)<<32 | uint64(ack)
	b := uint64(end-seq)<<17 | uint64(win)<<1 | uint64(dir)
	return uint8((a ^ b*0x9e3779b97f4a7c15) * 0xd6e8feb86659fd93 >> 56)
}

// timeoutTCP returns the state whose timeout a connection lives by after a
// segment: its own, unless a shorter one applies.
func (t *Table) timeoutTCP(p *packet.Packet, flow uint32, timeouts *Timeouts) State {
	f, w, h := t.flow(flow), t.window(flow), p.Transport()
	isReset := h[13]&packet.TCPRst != 0
	noWindow := h[13]&(packet.TCPSyn|packet.TCPFin|packet.TCPRst) == 0 && h[14]|h[15] == 0
	shorter := func(s State) bool { return timeouts.at(s) < timeouts.at(f.state) }
	o, r := &w.side[Original], &w.side[Reply]
	switch {
	case o.more&retransMask == maxRetrans && shorter(TCPMaxRetrans):
		return TCPMaxRetrans
	case isReset: // perhaps a doubtful one: the answer to the challenge gives the rest back
		return TCPClose
	case noWindow && shorter(TCPMaxRetrans):
		return TCPMaxRetrans
	case (o.bits|r.bits)&sideUnacked != 0 && shorter(TCPUnacknowledged):
		return TCPUnacknowledged
	case f.state == TCPEstablished && f.flags&seenReply == 0 && shorter(TCPUnacknowledged):
		return TCPUnacknowledged // picked up, and one side only so far
	}
	return f.state
}

// startTCP gives a new flow its state and window.
func (t *Table) startTCP(p *packet.Packet, flow uint32) State {
	w := t.window(flow)
	*w = window{}
	var seg segment
	if !parseSegment(p, &seg) { // admits saw to it
		return TCPClose
	}
	if p.Is(packet.IsFragment) {
		w.side[Original].more = connLiberal
	}
	o, r := &w.side[Original], &w.side[Reply]
	if seg.kind == segSyn {
		w.open(Original, &seg)
		return TCPSynSent
	}
	// In mid-stream: the scale of the windows is not known, so they cannot be
	// enforced, and selective acknowledgements may come.
	o.end, o.maxWin = seg.end, max(1, seg.win)
	o.maxEnd = seg.end + o.window()
	o.more |= connLiberal
	o.bits, r.bits = sideSackOK, sideSackOK
	return TCPEstablished
}

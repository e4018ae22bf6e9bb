package ct

import (
	"encoding/binary"
	"unsafe"

	"ffwd/mem"
	"ffwd/packet"
)

// prefetchWindows asks the cache for the windows of the TCP flows among the candidates.
func (t *Table) prefetchWindows(heads packet.Heads, candidates []uint32) {
	lines := 0
	for i, flow := range candidates[:heads.Len()] {
		t.lines[lines&(packet.MaxBurst-1)] = flow
		if heads.At(i).Proto == packet.ProtoTCP {
			lines++
		}
	}
	mem.Prefetch(t.windowBase, unsafe.Sizeof(window{}), &t.lines[0], lines)
}

// timestampsOnly is the start of the options that nearly all segments have:
// two no-operations and timestamps. Source: RFC 7323 appendix A.
const timestampsOnly = 0x0101080a

// odd are flags of the flows whose segments never are of the common case.
const odd = noted | translated

// touchTCPPlain is touchTCP in Go, and takes IPv6 besides.
//
// It joins the common segments of established connections: data in sequence or
// an acknowledgement, inside the windows, from a side whose largest window is known. All
// that takes is the flow's cache line and its window. It stops at the first packet that
// wants more and returns how many came before. Like touch, it calls nothing. Whatever it
// leaves, trackTCP does in the same way and more.
//
// It asks for a little more than being inside, see window, where that is cheaper to
// check: the segment is not behind others of its side, and what it has not acknowledged
// is within the window that it announces, which is never above the largest one.
func (t *Table) touchTCPPlain(heads packet.Heads, candidates []uint32, now uint32, timeouts *Timeouts) int {
	for i, flow := range candidates[:heads.Len()] {
		p, f := heads.At(i), t.flow(flow)
		if f.k0 != p.Key0 || f.k1 != p.Key1 || f.state != TCPEstablished || f.flags&(assured|odd) != assured ||
			p.Verdict != packet.Continue || p.Flags&packet.IsFragment != 0 || p.Flags&packet.IsIPv6 != 0 && !t.sameEnds(p, flow) {
			return i
		}
		l4 := unsafe.Add(p.Data, uintptr(p.L3)+uintptr(p.L4))
		h := (*[tcpHeaderLen]byte)(l4)
		header, bytes := uint32(h[12]&0xf0>>2), uint32(p.L3Len())
		payload := bytes - uint32(p.L4) - header
		if h[13]&(packet.TCPFin|packet.TCPSyn|packet.TCPRst|packet.TCPAck) != packet.TCPAck || int32(payload) < 0 {
			return i
		}
		if header != tcpHeaderLen && (header != tcpHeaderLen+12 ||
			binary.BigEndian.Uint32((*[4]byte)(unsafe.Add(l4, tcpHeaderLen))[:]) != timestampsOnly) {
			return i
		}
		dir := uint32(p.Flags^f.flags) / origSwapped & 1
		w := t.window(flow)
		own, other := &w.side[dir], &w.side[dir^1]
		seq, acked := binary.BigEndian.Uint32(h[4:]), binary.BigEndian.Uint32(h[8:])
		raw := binary.BigEndian.Uint16(h[14:])
		end := seq + payload
		ownBits, otherBits := own.bits, other.bits
		announced := uint32(raw) << (ownBits & scaleMask)
		// Differences are negative, or huge, where one is on the wrong side of the other. A
		// window of 0 has a timeout of its own; sideAcked tells that maxAck is valid.
		ahead, unacked := end-own.end, other.end-acked
		if unacked > max(announced, maxAckLag) || uint32(raw)-1 >= uint32(own.maxWin) ||
			int32(ahead|(own.maxEnd-end)|(acked-own.maxAck)) < 0 || ownBits&sideAcked == 0 {
			return i
		}
		digest := segmentDigest(seq, acked, end, raw, int(dir))
		if digest == w.side[Reply].more {
			return i
		}
		if ahead != 0 {
			ownBits |= sideUnacked
		}
		if unacked == 0 {
			otherBits &^= sideUnacked
		}
		row := timeouts.of(f.policy)
		lives := row.at(TCPEstablished)
		if (ownBits|otherBits)&sideUnacked != 0 {
			lives = min(lives, row.at(TCPUnacknowledged))
		}
		deadline, packets := now+lives, f.packets[dir]+1
		if packets == 0 || int32(f.deadline-now) <= 0 || int32(deadline-f.deadline) < 0 && f.flags&early == 0 {
			return i
		}
		w.side[Reply].more = digest
		w.side[Original].more = w.side[Original].more&^(retransMask|connLastBack) | uint8(dir*connLastBack) | connLastEnd
		own.bits, other.bits = ownBits, otherBits
		own.end, own.maxAck = end, acked
		if limit := acked + announced; int32(limit-other.maxEnd) > 0 {
			other.maxEnd = limit
		}
		f.bytes[dir] += uint64(bytes)
		f.packets[dir] = packets
		f.deadline = deadline
		p.Flags |= uint8(dir * seenReply)
		p.State, p.Flow = packet.CtEstablished, flow
	}
	return heads.Len()
}

package ct

import (
	"encoding/binary"
	"unsafe"

	"ffwd/mem"
	"ffwd/packet"
)

// prefetchWindows asks the cache for the windows of the TCP flows among others.
func (t *Table) prefetchWindows(pkts []packet.Packet, others []uint8) {
	n := 0
	for _, i := range others {
		t.windows[n&(packet.MaxBurst-1)] = t.candidates[i]
		if pkts[i].Proto == packet.ProtoTCP {
			n++
		}
	}
	if n > 0 {
		mem.Prefetch(t.windowBase, unsafe.Sizeof(window{}), &t.windows[0], n)
	}
}

// timestampsOnly is the start of the options that nearly all segments have:
// two no-operations and timestamps. Source: RFC 7323 appendix A.
const timestampsOnly = 0x0101080a

// touchTCP joins the common segments of established IPv4 connections, in two
// cache lines: data or an acknowledgement inside the windows that changes nothing
// but them. It stops at the first packet that wants more and returns how many of
// others it has joined, so that packets keep their order. Like touch, it calls
// nothing. Whatever it leaves, trackTCP does in the same way and more.
func (t *Table) touchTCP(pkts []packet.Packet, others []uint8, now uint32, timeouts *Timeouts) int {
	whole, inFlight := timeouts.at(TCPEstablished), min(timeouts.at(TCPUnacknowledged), timeouts.at(TCPEstablished))
	first6 := t.first6
	for n, i := range others {
		p, flow := &pkts[i], t.candidates[i]
		f := t.flow(flow)
		if f.k0 != p.Key0 || f.k1 != p.Key1 || f.state != TCPEstablished || p.Verdict != packet.Continue ||
			flow >= first6 || f.flags&(assured|noted|ruled) != assured || p.Flags&packet.IsFragment != 0 {
			return n
		}
		l4 := unsafe.Add(p.Data, uintptr(p.L3)+uintptr(p.L4))
		h := (*[tcpHeaderLen]byte)(l4)
		header := uint32(h[12]>>4) * 4
		length := uint32(p.L3Len()) - uint32(p.L4)
		if h[13]&(packet.TCPFin|packet.TCPSyn|packet.TCPRst|packet.TCPAck) != packet.TCPAck || length < header {
			return n
		}
		if header != tcpHeaderLen && (header != tcpHeaderLen+12 ||
			binary.BigEndian.Uint32((*[4]byte)(unsafe.Add(l4, tcpHeaderLen))[:]) != timestampsOnly) {
			return n
		}
		dir := uint32(p.Flags^f.flags) / origSwapped & 1
		w := t.window(flow)
		from, to := &w.side[dir], &w.side[dir^1]
		seq, acked := binary.BigEndian.Uint32(h[4:]), binary.BigEndian.Uint32(h[8:])
		raw := binary.BigEndian.Uint16(h[14:])
		end := seq + length - header
		opposite := uint32(to.maxWin) << (to.bits & scaleMask)
		own := uint32(from.maxWin) << (from.bits & scaleMask)
		announced := uint32(raw) << (from.bits & scaleMask)
		// Inside, see window; and the end too, or the other side's window would be
		// raised. A window of 0 has a timeout of its own.
		if int32(from.maxEnd-end) < 0 || int32(end-from.end+opposite) < 0 || int32(to.end-acked) < 0 ||
			int32(acked-to.end+max(own, maxAckLag)) < 0 || raw == 0 || from.maxWin == 0 || from.bits&sideAcked == 0 {
			return n
		}
		digest := segmentDigest(seq, acked, end, raw, int(dir))
		if digest == w.side[Reply].more {
			return n
		}
		fromBits, toBits := from.bits, to.bits
		if int32(end-from.end) > 0 {
			fromBits |= sideUnacked
		}
		if acked == to.end {
			toBits &^= sideUnacked
		}
		lives := whole
		if (fromBits|toBits)&sideUnacked != 0 {
			lives = inFlight
		}
		deadline, packets := now+lives, f.packets[dir]+1
		if packets == 0 || int32(f.deadline-now) <= 0 || int32(deadline-f.deadline) < 0 && f.flags&early == 0 {
			return n
		}
		w.side[Reply].more = digest
		more := w.side[Original].more&^(retransMask|connLastBack|connLastEnd) | uint8(dir*connLastBack)
		from.bits, to.bits = fromBits, toBits
		from.maxWin = max(from.maxWin, raw)
		if int32(end-from.end) > 0 {
			from.end = end
		}
		if end == from.end {
			more |= connLastEnd
		}
		w.side[Original].more = more
		if int32(acked-from.maxAck) > 0 {
			from.maxAck = acked
		}
		if limit := acked + announced; int32(limit-to.maxEnd) > 0 {
			to.maxEnd = limit
		}
		f.bytes[dir] += uint64(p.L3Len())
		f.packets[dir] = packets
		f.deadline = deadline
		p.Flags |= uint8(dir * seenReply)
		p.State, p.Flow = packet.CtEstablished, flow
	}
	return len(others)
}

package pipeline

import (
	"unsafe"

	"ffwd/packet"
)

// maxIPv4Header is the longest IPv4 header.
const maxIPv4Header = 60

// maxPieces is how many fragments a packet can become: each but the last takes 8 bytes
// at least, and none begins behind the last offset. Source: RFC 791 3.1.
const maxPieces = packet.IPv4OffsetMask + 1

// fragment cuts an IPv4 packet, whose link header is written already, into
// pieces of at most p.MTU bytes and transmits them.
//
// The first piece keeps all options, the others those with the copy bit; a
// packet that is a fragment itself keeps its offset, and its last piece its MF.
// Buffers for all pieces are taken at once: either all are there, or the packet
// is dropped. When the device does not take a piece, those behind it do not leave
// either: the receiver could not use them. Payload is copied; docs/decisions tells
// what else was measured. credit is as in dispose.
// Source: FF-9; RFC 791 3.2.
func (w *Worker) fragment(p *packet.Packet, credit uint64) {
	whole := p.Network()
	payload := whole[p.L4:]
	var later [maxIPv4Header]byte // the header of all pieces but the first
	laterLen := copyLaterHeader(&later, whole[:p.L4])
	firstRoom := (int(p.MTU) - int(p.L4)) &^ 7
	laterRoom := (int(p.MTU) - laterLen) &^ 7
	const maxPayload = 8 * maxPieces // beyond it a piece's offset would wrap
	field := p.IPv4().FragField()
	if firstRoom < 8 || laterRoom < 8 || 8*int(field&packet.IPv4OffsetMask)+len(payload) > maxPayload {
		p.DropFor(packet.CannotFragment)
		w.discard(p)
		return
	}
	count := 1 + (len(payload)-firstRoom+laterRoom-1)/laterRoom
	if !w.config.Pool.Alloc(unsafe.Pointer(&w.scratch[0]), count) {
		p.DropFor(packet.NoBuffers)
		w.discard(p)
		return
	}
	link := unsafe.Slice((*byte)(p.Data), p.L3)
	port := w.snap.Interfaces[p.Egress].Port
	w.makeRoomFor(port, count)
	refused := w.counter.Ports[port].TxDropped
	header, room := whole[:p.L4], firstRoom
	for i, m := range w.scratch[:count] {
		if w.counter.Ports[port].TxDropped != refused {
			w.abandon(port, w.scratch[i:count])
			break
		}
		piece := payload[:min(room, len(payload))]
		payload = payload[len(piece):]
		frame := reserve(m, len(link)+len(header)+len(piece))
		copy(frame, link)
		l3 := frame[len(link):]
		copy(l3[copy(l3, header):], piece)
		h := (*packet.IPv4)(l3)
		h.SetTotalLen(len(l3))
		more := field & packet.IPv4MoreFragments
		if len(payload) > 0 {
			more = packet.IPv4MoreFragments
		}
		h.SetFragField(field&packet.IPv4OffsetMask | more)
		h.UpdateChecksum(l3[:len(header)])
		if last := i == count-1; last && credit > 0 { // the device took the whole packet if it takes this one
			w.counter.FastForwarded++
			w.queue(port, m, 0)
		} else {
			w.transmit(port, m)
		}
		field += uint16(len(piece) / 8)
		header, room = later[:laterLen], laterRoom
	}
	w.counter.Fragmented++
	w.counter.Fragments += uint64(count)
	w.counter.Created += uint64(count - 1) // the first stands for the packet itself
	w.release(p.Mbuf)
}

// makeRoomFor sends what waits for a port unless n frames more fit behind it, so that they
// go to the device in one call, of which it takes the first ones.
func (w *Worker) makeRoomFor(port uint16, n int) {
	if t := &w.tx[port]; t.n > 0 && t.n+n > len(t.mbufs) {
		w.send(port)
	}
}

// abandon frees and counts pieces that need not be sent any more.
func (w *Worker) abandon(port uint16, pieces []*packet.Mbuf) {
	for _, m := range pieces {
		w.release(m)
	}
	w.counter.Drops[packet.TxFull] += uint64(len(pieces))
	w.counter.Ports[port].TxDropped += uint64(len(pieces))
}

// reserve makes m one frame of n bytes behind the usual headroom and returns it.
func reserve(m *packet.Mbuf, n int) []byte {
	m.PktLen, m.DataLen, m.OlFlags = uint32(n), uint16(n), 0
	return unsafe.Slice((*byte)(m.Data()), n)
}

// copyLaterHeader writes the header that fragments behind the first one have,
// the fixed part and the options with the copy bit, padded to whole words, and
// returns its length. Malformed options end the list.
func copyLaterHeader(to *[maxIPv4Header]byte, header []byte) int {
	n := copy(to[:], header[:packet.IPv4HeaderLen])
	for o := header[n:]; len(o) > 0 && o[0] != optionEnd; {
		size := 1
		if o[0] != optionNoOp {
			if len(o) < 2 || int(o[1]) < 2 || int(o[1]) > len(o) {
				break
			}
			if size = int(o[1]); o[0]&optionCopy != 0 {
				n += copy(to[n:], o[:size])
			}
		}
		o = o[size:]
	}
	n = (n + 3) &^ 3 // the rest is zero: end of options
	to[0] = 4<<4 | uint8(n/4)
	return n
}

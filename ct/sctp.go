package ct

import (
	"encoding/binary"
	"unsafe"

	"ffwd/packet"
)

// The SCTP tracker follows an association by its control chunks and holds every
// packet to its verification tag. docs/trackers.md has the transitions.
// Source: CT-4; RFC 9260 sections 3, 4 and 8.5.

// Chunk types. Source: RFC 9260 3.2.
const (
	chunkInit             = 1
	chunkInitAck          = 2
	chunkHeartbeat        = 4
	chunkHeartbeatAck     = 5
	chunkAbort            = 6
	chunkShutdown         = 7
	chunkShutdownAck      = 8
	chunkError            = 9
	chunkCookieEcho       = 10
	chunkCookieAck        = 11
	chunkShutdownComplete = 14
	numChunks             = 15

	sctpHeaderLen = 12
	chunkReflects = 1 // the T bit: the tag is the other side's
)

// sctpNext is where a chunk leads from a state. A chunk that is not set here changes
// nothing.
var sctpNext = func() (next [2][numChunks][SCTPHeartbeatSent - SCTPClosed + 1]State) {
	for dir := range next {
		for chunk := range next[dir] {
			for s := range next[dir][chunk] {
				next[dir][chunk][s] = SCTPClosed + State(s)
			}
		}
	}
	set := func(dir int, chunk int, from, to State) { next[dir][chunk][from-SCTPClosed] = to }
	for _, dir := range []int{Original, Reply} {
		for s := SCTPClosed; s <= SCTPHeartbeatSent; s++ {
			set(dir, chunkAbort, s, SCTPClosed)
		}
		set(dir, chunkCookieEcho, SCTPCookieWait, SCTPCookieEchoed)
		set(dir, chunkCookieAck, SCTPCookieEchoed, SCTPEstablished)
		set(dir, chunkShutdownAck, SCTPShutdownSent, SCTPShutdownAckSent)
		set(dir, chunkShutdownAck, SCTPShutdownRecd, SCTPShutdownAckSent)
		set(dir, chunkShutdownComplete, SCTPShutdownAckSent, SCTPClosed)
	}
	set(Original, chunkInit, SCTPShutdownSent, SCTPClosed)
	set(Original, chunkInit, SCTPShutdownRecd, SCTPClosed)
	for chunk := chunkInitAck; chunk < numChunks; chunk++ {
		if chunk != 3 && chunk != chunkHeartbeat && chunk != chunkHeartbeatAck && chunk != 12 && chunk != 13 {
			set(Original, chunk, SCTPHeartbeatSent, SCTPClosed)
		}
	}
	set(Original, chunkInit, SCTPHeartbeatSent, SCTPCookieWait)
	set(Original, chunkShutdownAck, SCTPHeartbeatSent, SCTPShutdownAckSent)
	set(Original, chunkShutdown, SCTPEstablished, SCTPShutdownSent)
	set(Reply, chunkShutdown, SCTPEstablished, SCTPShutdownRecd)
	set(Reply, chunkInitAck, SCTPClosed, SCTPCookieWait)
	set(Reply, chunkError, SCTPCookieEchoed, SCTPClosed) // a stale cookie
	set(Reply, chunkHeartbeatAck, SCTPHeartbeatSent, SCTPEstablished)
	return next
}()

// tags are the verification tags that each direction's packets must have, in the
// place of a TCP window; 0 is not known yet.
type tags struct{ of [2]uint32 }

func (w *window) tags() *tags { return (*tags)(unsafe.Pointer(w)) }

// chunks calls visit with each chunk of a packet until it returns false, and
// returns false when a chunk is malformed or visit did. The last one of a first fragment
// may be cut short.
func chunks(p *packet.Packet, visit func(kind, flags uint8, value []byte) bool) bool {
	l4 := p.Transport()
	if len(l4) < sctpHeaderLen+4 {
		return false
	}
	for rest := l4[sctpHeaderLen:]; len(rest) > 0; {
		if len(rest) < 4 {
			return p.Is(packet.IsFragment)
		}
		size := int(binary.BigEndian.Uint16(rest[2:]))
		if size > len(rest) && p.Is(packet.IsFragment) {
			return size >= 4 && visit(rest[0], rest[1], rest[4:])
		}
		if size < 4 || size > len(rest) || !visit(rest[0], rest[1], rest[4:size]) {
			return false
		}
		rest = rest[min((size+3)&^3, len(rest)):]
	}
	return true
}

func sctpTag(p *packet.Packet) uint32 { return binary.BigEndian.Uint32(p.Transport()[4:]) }

// soleInit returns the tag that an INIT asks for. An INIT is alone in its packet and
// has no tag itself. Source: RFC 9260 3.3.2, 8.5.1 (A).
func soleInit(p *packet.Packet) (tag uint32, ok bool) {
	n := 0
	whole := chunks(p, func(kind, _ uint8, value []byte) bool {
		n++
		if kind != chunkInit || len(value) < 16 {
			return false
		}
		tag = binary.BigEndian.Uint32(value)
		return true
	})
	return tag, whole && n == 1 && tag != 0 && sctpTag(p) == 0
}

// admitsSCTP reports whether a packet may start an association: an INIT, or a
// heartbeat on another path of one that exists.
func admitsSCTP(p *packet.Packet) bool {
	if _, ok := soleInit(p); ok {
		return true
	}
	heartbeat := false
	whole := chunks(p, func(kind, _ uint8, _ []byte) bool {
		heartbeat = heartbeat || kind == chunkHeartbeat
		return kind != chunkInit && kind != chunkInitAck
	})
	return whole && heartbeat && sctpTag(p) != 0
}

// startSCTP gives a new association its state and tags.
func (t *Table) startSCTP(p *packet.Packet, flow uint32) State {
	w := t.window(flow)
	*w = window{}
	if tag, ok := soleInit(p); ok {
		w.tags().of[Reply] = tag
		return SCTPClosed
	}
	w.tags().of[Original] = sctpTag(p)
	return SCTPHeartbeatSent
}

// trackSCTP takes an association one packet further.
func (t *Table) trackSCTP(p *packet.Packet, flow uint32, dir int) outcome {
	f := t.flow(flow)
	known := *t.window(flow).tags()
	state := f.state
	tag := sctpTag(p)
	ok := chunks(p, func(kind, flags uint8, value []byte) bool {
		if !known.accept(kind, flags, value, tag, dir, state) {
			return false
		}
		if state == SCTPHeartbeatSent && dir == Reply && kind != chunkHeartbeat && kind != chunkHeartbeatAck {
			return false // nothing is known of this association but the question whether it lives
		}
		if kind < numChunks {
			state = sctpNext[dir][kind][state-SCTPClosed]
		}
		return true
	})
	if !ok {
		return refused
	}
	*t.window(flow).tags() = known
	if state == SCTPEstablished && f.state != SCTPEstablished {
		f.flags |= assured
	}
	f.state = state
	return accepted
}

// accept holds a chunk to the packet's verification tag and learns those that
// INIT and INIT ACK ask for. Source: RFC 9260 8.5.1.
func (k *tags) accept(kind, flags uint8, value []byte, tag uint32, dir int, state State) bool {
	switch kind {
	case chunkInit:
		if tag != 0 || len(value) < 16 {
			return false
		}
		if state == SCTPClosed || state == SCTPHeartbeatSent || state == SCTPShutdownSent || state == SCTPShutdownRecd {
			*k = tags{}
			k.of[dir^1] = binary.BigEndian.Uint32(value)
		}
		return true
	case chunkInitAck:
		if len(value) < 16 || tag != k.of[dir] {
			return false
		}
		if state <= SCTPCookieWait {
			k.of[dir^1] = binary.BigEndian.Uint32(value)
		}
		return true
	case chunkAbort, chunkShutdownComplete:
		if flags&chunkReflects != 0 {
			return tag == k.of[dir^1]
		}
		return tag == k.of[dir]
	case chunkHeartbeat, chunkHeartbeatAck:
		if k.of[dir] == 0 {
			k.of[dir] = tag
		}
	case chunkShutdownAck: // an answer to an association that its sender has forgotten
		if state <= SCTPCookieEchoed {
			return true
		}
	}
	return tag == k.of[dir]
}

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

// tags are the verification tags that each direction's packets must have, in the place
// of a TCP window; 0 is not known. next are those of an association that may take the
// place of this one: INIT, INIT ACK and a heartbeat with other tags propose it. Whoever
// forges one does no harm by it, because it is proved only by a COOKIE ECHO with the tag that
// the INIT ACK asked for, or by an answer to the heartbeat; and of a proved one both sets are
// good until a COOKIE ACK. Source: RFC 9260 5.2.
type tags struct {
	of, next [2]uint32
	proved   bool
}

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
	if known.proved && tag == known.next[dir] && tag != known.of[dir] {
		known.of, known.next = known.next, known.of
	}
	result := accepted
	ok := chunks(p, func(kind, flags uint8, value []byte) bool {
		switch known.accept(kind, flags, value, tag, dir, state) {
		case refused:
			return false
		case passed:
			result = passed
			return true
		}
		if state == SCTPHeartbeatSent && dir == Reply && kind != chunkHeartbeat && kind != chunkHeartbeatAck {
			return false // nothing is known of this association but the question whether it lives
		}
		if kind == chunkInit && state == SCTPClosed { // or a client that tries for ever would keep the flow for ever
			result = passed
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
	return result
}

// accept holds a chunk to the packet's verification tag and learns those that others ask
// for. A chunk that is passed says nothing of the association that there is.
// Source: RFC 9260 5.2, 8.5.1.
func (k *tags) accept(kind, flags uint8, value []byte, tag uint32, dir int, state State) outcome {
	proposed := tag == k.next[dir] && tag != 0
	switch kind {
	case chunkInit:
		return k.init(value, tag, dir, state)
	case chunkInitAck:
		return k.initAck(value, tag, dir, state)
	case chunkCookieEcho:
		if proposed && tag != k.of[dir] {
			k.of, k.next, k.proved = k.next, k.of, true
		}
	case chunkCookieAck:
		if tag == k.of[dir] {
			k.next, k.proved = [2]uint32{}, false
		}
	case chunkAbort, chunkShutdownComplete:
		if flags&chunkReflects != 0 {
			return acceptIf(tag == k.of[dir^1])
		}
		if proposed && tag != k.of[dir] { // it refuses the new one
			k.next = [2]uint32{}
			return passed
		}
	case chunkHeartbeat:
		if k.of[dir] == 0 {
			k.of[dir] = tag
		}
		if tag != k.of[dir] { // of an association whose beginning went another way, perhaps
			k.next, k.proved = [2]uint32{}, false
			k.next[dir] = tag
			return passed
		}
	case chunkHeartbeatAck:
		if k.of[dir] == 0 {
			k.of[dir] = tag
		}
		if tag != k.of[dir] && k.next[dir] == 0 && k.next[dir^1] != 0 {
			k.next[dir] = tag
			k.of, k.next, k.proved = k.next, k.of, true
		}
	case chunkShutdownAck: // an answer to an association that its sender has forgotten
		if state <= SCTPCookieEchoed {
			return accepted
		}
	}
	return acceptIf(tag == k.of[dir])
}

// init learns the tag that an INIT asks for: at once where there is no association yet, or
// no more.
func (k *tags) init(value []byte, tag uint32, dir int, state State) outcome {
	if tag != 0 || len(value) < 16 || binary.BigEndian.Uint32(value) == 0 {
		return refused
	}
	asked := binary.BigEndian.Uint32(value)
	switch {
	case state == SCTPHeartbeatSent:
		*k = tags{}
		fallthrough
	case state == SCTPClosed || dir == Original && (state == SCTPShutdownSent || state == SCTPShutdownRecd):
		k.of[dir^1] = asked
	case asked != k.of[dir^1]:
		k.next, k.proved = [2]uint32{}, false
		k.next[dir^1] = asked
	}
	return accepted
}

// initAck learns the tag that an INIT ACK asks for. To an INIT that came twice there may be
// two, with different tags: its sender takes either.
func (k *tags) initAck(value []byte, tag uint32, dir int, state State) outcome {
	if len(value) < 16 || tag == 0 {
		return refused
	}
	asked := binary.BigEndian.Uint32(value)
	switch {
	case tag == k.next[dir]:
		k.next[dir^1] = asked
	case tag != k.of[dir]:
		return refused
	case state == SCTPClosed || k.of[dir^1] == 0:
		k.of[dir^1] = asked
	case asked != k.of[dir^1]:
		k.next, k.proved = k.of, false
		k.next[dir^1] = asked
	}
	return accepted
}

func acceptIf(ok bool) outcome {
	if ok {
		return accepted
	}
	return refused
}

package ct

import (
	"encoding/binary"

	"ffwd/packet"
)

// list is a doubly linked list of datagrams, oldest first.
type list struct{ first, last uint32 }

// links are a datagram's neighbours in a list.
type links struct{ prev, next uint32 }

// Lists a datagram is in, by index of datagram.place.
const (
	inTable  = iota // of its family and class
	inSource        // of its source and class
)

// queue is a list of held packets, oldest first.
type queue struct{ first, last uint32 }

// heldPacket is a packet that waits for the first fragment, or to leave.
type heldPacket struct {
	packet packet.Packet
	next   uint32
}

// source is what one address has here.
type source struct {
	addr           [16]byte
	where          uint32
	next           uint32 // in its bucket, or among the free ones
	family         uint8
	lists          [numClasses]list
	known          int // datagrams
	packets, bytes int // held
}

// Pending reports whether packets are to leave: Next gives them.
func (t *Fragments) Pending() bool { return t.out.first != 0 }

// Next makes b the packets that leave, at most room of them, in their order, with their
// verdicts: Continue with their key, or Drop.
func (t *Fragments) Next(b *packet.Burst, room int, nowNs int64) {
	b.N, b.NowNs, b.Divert, b.Strays = 0, nowNs, false, true
	for t.out.first != 0 && b.N < room {
		i := t.out.first
		h := &t.held[i]
		p := &b.Pkts[b.N]
		*p = h.packet
		b.Divert = b.Divert || p.Diverted()
		b.N++
		t.Held--
		t.HeldBytes -= uint64(p.Len)
		if t.out.first = h.next; t.out.first == 0 {
			t.out.last = 0
			t.round++
		}
		*h = heldPacket{next: t.freeHeld}
		t.freeHeld = i
	}
}

// hash mixes a key with the seed of this table.
func (t *Fragments) hash(k *datagramKey) uint64 {
	le := binary.LittleEndian
	a := t.hashSource(&k.src, k.where)
	b := mum(le.Uint64(k.dst[:])^a, le.Uint64(k.dst[8:])^t.seed)
	return mum(b^uint64(k.id)<<16^uint64(k.proto)<<8^uint64(k.family), t.seed)
}

func (t *Fragments) hashSource(addr *[16]byte, where uint32) uint64 {
	le := binary.LittleEndian
	return mum(mum(le.Uint64(addr[:])^t.seed, le.Uint64(addr[8:])^^t.seed)^uint64(where), t.seed)
}

func (t *Fragments) bucket(k *datagramKey) *uint32 {
	return &t.buckets[t.hash(k)&uint64(len(t.buckets)-1)]
}

func (t *Fragments) origin(addr *[16]byte, where uint32) *uint32 {
	return &t.origins[t.hashSource(addr, where)&uint64(len(t.origins)-1)]
}

// find returns a datagram, or 0.
func (t *Fragments) find(k *datagramKey) uint32 {
	i := *t.bucket(k)
	for i != 0 && t.datagrams[i].datagramKey != *k {
		i = t.datagrams[i].next
	}
	return i
}

// sourceOf returns what the sender of a datagram has here, or 0.
func (t *Fragments) sourceOf(k *datagramKey) uint32 {
	i := *t.origin(&k.src, k.where)
	for i != 0 && (t.sources[i].addr != k.src || t.sources[i].where != k.where || t.sources[i].family != k.family) {
		i = t.sources[i].next
	}
	return i
}

// begin enters a datagram of which nothing is known. There is room for it.
func (t *Fragments) begin(k *datagramKey, nowNs int64) uint32 {
	from := t.sourceOf(k)
	if from == 0 {
		from = t.freeSource
		bucket := t.origin(&k.src, k.where)
		t.freeSource = t.sources[from].next
		t.sources[from] = source{addr: k.src, where: k.where, family: k.family, next: *bucket}
		*bucket = from
	}
	i, bucket := t.freeDatagram, t.bucket(k)
	t.freeDatagram = t.datagrams[i].next
	t.datagrams[i] = datagram{datagramKey: *k, source: from, next: *bucket, sinceNs: nowNs}
	*bucket = i
	t.Datagrams++
	t.enlist(i)
	return i
}

// forget ends a datagram of which nothing is held any more, and its source with its last.
func (t *Fragments) forget(i uint32) {
	t.delist(i)
	d := &t.datagrams[i]
	at := t.bucket(&d.datagramKey)
	for *at != i {
		at = &t.datagrams[*at].next
	}
	*at = d.next
	if s := &t.sources[d.source]; s.lists == [numClasses]list{} {
		at := t.origin(&s.addr, s.where)
		for *at != d.source {
			at = &t.sources[*at].next
		}
		*at, s.next = s.next, t.freeSource
		t.freeSource = d.source
	}
	*d = datagram{next: t.freeDatagram}
	t.freeDatagram = i
	t.Datagrams--
}

// settle makes a datagram, of which nothing is held any more, the youngest of the known
// ones. Where there are enough of those the oldest gives way.
func (t *Fragments) settle(i uint32, nowNs int64) {
	d := &t.datagrams[i]
	if d.class == classKnown {
		return
	}
	if s := &t.sources[d.source]; s.known >= t.limits.SourceDatagrams {
		t.evict(s.lists[classKnown].first, packet.FragmentSource)
	}
	if t.known >= t.limits.Datagrams {
		t.evict(t.oldest(classKnown), packet.FragmentFull)
	}
	t.delist(i)
	d.class, d.sinceNs = classKnown, nowNs
	t.enlist(i)
}

// enlist puts a datagram at the end of the lists of its class.
func (t *Fragments) enlist(i uint32) {
	d := &t.datagrams[i]
	s := &t.sources[d.source]
	if d.class == classKnown {
		t.known++
		s.known++
	}
	t.append(&t.lists[familyIndex(d.family)][d.class], i, inTable)
	t.append(&s.lists[d.class], i, inSource)
}

func (t *Fragments) delist(i uint32) {
	d := &t.datagrams[i]
	s := &t.sources[d.source]
	if d.class == classKnown {
		t.known--
		s.known--
	}
	t.cut(&t.lists[familyIndex(d.family)][d.class], i, inTable)
	t.cut(&s.lists[d.class], i, inSource)
}

func familyIndex(family uint8) int { return int(family-family4) / (family6 - family4) }

func (t *Fragments) append(l *list, i uint32, which int) {
	t.datagrams[i].place[which] = links{prev: l.last}
	if l.last == 0 {
		l.first = i
	} else {
		t.datagrams[l.last].place[which].next = i
	}
	l.last = i
}

func (t *Fragments) cut(l *list, i uint32, which int) {
	at := t.datagrams[i].place[which]
	if at.prev == 0 {
		l.first = at.next
	} else {
		t.datagrams[at.prev].place[which].next = at.next
	}
	if at.next == 0 {
		l.last = at.prev
	} else {
		t.datagrams[at.next].place[which].prev = at.prev
	}
}

// oldest returns the oldest datagram of a class in the table, or 0.
func (t *Fragments) oldest(c class) uint32 {
	a, b := t.lists[0][c].first, t.lists[1][c].first
	if a == 0 || b != 0 && t.datagrams[b].sinceNs < t.datagrams[a].sinceNs {
		return b
	}
	return a
}

// evict makes a datagram give way.
func (t *Fragments) evict(i uint32, why packet.Reason) {
	t.Evicted++
	t.release(i, why)
	t.forget(i)
}

// hold keeps a packet until the first fragment of its datagram comes. Where that is one
// too many the oldest datagram gives way, and if that is its own, so does the packet.
func (t *Fragments) hold(i uint32, p *packet.Packet) {
	d, n := &t.datagrams[i], int(p.Len)
	s := &t.sources[d.source]
	for s.packets >= t.limits.SourcePackets || s.bytes+n > t.limits.SourceBytes {
		if oldest := s.lists[classWaiting].first; t.giveWay(oldest, i, p, packet.FragmentSource) {
			return
		}
	}
	for t.heldPackets >= t.limits.Packets || t.heldBytes+n > t.limits.Bytes {
		if t.giveWay(t.oldest(classWaiting), i, p, packet.FragmentFull) {
			return
		}
	}
	t.account(s, 1, n)
	t.put(&d.packets, p)
	p.Verdict = packet.Held
}

// giveWay evicts the oldest datagram for a packet of i, and drops the packet, and returns
// true, if they are the same.
func (t *Fragments) giveWay(oldest, i uint32, p *packet.Packet, why packet.Reason) bool {
	t.evict(oldest, why)
	if oldest == i {
		p.DropFor(why)
	}
	return oldest == i
}

// account adds to what is held of a source's waiting datagrams.
func (t *Fragments) account(s *source, packets, bytes int) {
	s.packets += packets
	s.bytes += bytes
	t.heldPackets += packets
	t.heldBytes += bytes
}

// put copies a packet to the end of a queue.
func (t *Fragments) put(q *queue, p *packet.Packet) {
	i := t.freeHeld
	t.freeHeld = t.held[i].next
	t.held[i] = heldPacket{packet: *p}
	if q.first == 0 {
		q.first = i
	} else {
		t.held[q.last].next = i
	}
	q.last = i
	t.Held++
	t.HeldBytes += uint64(p.Len)
}

// release lets all packets of a datagram leave: with its flow, or dropped for a reason.
func (t *Fragments) release(i uint32, why packet.Reason) {
	d := &t.datagrams[i]
	if d.packets.first == 0 {
		return
	}
	for at := d.packets.first; at != 0; at = t.held[at].next {
		p := &t.held[at].packet
		t.account(&t.sources[d.source], -1, -int(p.Len))
		if why != packet.Unfinished {
			p.DropFor(why)
		} else {
			d.give(p)
		}
	}
	if t.out.first == 0 {
		t.out.first = d.packets.first
	} else {
		t.held[t.out.last].next = d.packets.first
	}
	t.out.last = d.packets.last
	d.packets, d.round = queue{}, t.round
}

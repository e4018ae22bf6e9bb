package ct

import (
	"math/bits"
	"unsafe"

	"ffwd/mem"
	"ffwd/packet"
)

// Lookup joins every packet of the burst that has a key to its flow.
//
// It sets Flow, State and ReplyDir, refreshes the flow's deadline and counters
// and advances its tracker. Where there is no flow, State says whether the
// packet may start one: new or invalid. A packet without a key is untracked.
//
// It works in passes over the burst, so that the cache misses of its packets
// overlap: all buckets are prefetched, then all tags matched and the candidate
// flows prefetched, then all flows compared and the packets joined, in their order.
// Source: CT-1, CT-2. Cost: docs/decisions/0002-flow-table.md.
func (t *Table) Lookup(b *packet.Burst, timeouts *Timeouts) {
	pkts := b.Live()
	if len(pkts) == 0 {
		return
	}
	now, heads := Tick(b.NowNs), packet.HeadsOf(pkts)
	t.latestNs, b.Translated = b.NowNs, false
	t.match(heads, &t.candidates)
	if t.Flows6 > 0 {
		t.prefetchEnds(t.candidates[:len(pkts)])
	}
	if t.Translations > 0 {
		t.prefetchTranslated(t.candidates[:len(pkts)])
	}
	at := t.touch(heads, t.candidates[:], now, timeouts)
	if at < len(pkts) {
		t.prefetchWindows(heads.From(at), t.candidates[at:])
	}
	for at < len(pkts) {
		if c := t.candidates[at]; c != 0 && c < t.firstTwin && t.flow(c).flags&translated == 0 {
			if at += t.touchAny(heads.From(at), t.candidates[at:], now, timeouts); at == len(pkts) {
				return
			}
		}
		if p := &pkts[at]; p.Verdict == packet.Continue {
			t.lookup(p, t.candidates[at], now, timeouts)
			if p.Translation != 0 {
				b.Translated = true
			}
		}
		at++
	}
}

// lookup joins a packet to its flow, of which candidate is the first with its tag, or 0 if
// there is none.
func (t *Table) lookup(p *packet.Packet, candidate, now uint32, timeouts *Timeouts) {
	switch {
	case p.Key1 == 0:
		t.keyless(p)
		return
	case p.Key1&quoted != 0:
		t.relate(p)
		return
	}
	flow := candidate
	if f := t.flow(flow); flow != 0 && (f.k0 != p.Key0 || f.k1 != p.Key1 || t.isIPv6(flow)) {
		flow = t.find(p)
	}
	if flow == 0 {
		t.miss(p)
		return
	}
	t.joinBy(p, flow, now, timeouts)
}

// joinBy joins a packet to the flow that an entry of the index with its key leads to.
func (t *Table) joinBy(p *packet.Packet, entry, now uint32, timeouts *Timeouts) {
	flow, dir, ok := t.owner(entry, p.Is(packet.KeySwapped))
	if !ok {
		t.refuse(p)
		return
	}
	t.join(p, flow, dir, now, timeouts)
}

// keyless classifies a packet that can have no flow.
func (t *Table) keyless(p *packet.Packet) {
	p.State = packet.CtUntracked
	isICMP := (p.Proto == packet.ProtoICMP || p.Proto == packet.ProtoICMPv6) && !p.Is(packet.IsFragment)
	if p.Is(packet.Broken) || isICMP && !withoutState(p.Proto, p.Transport()[0]) {
		t.refuse(p)
	}
}

// matchPlain is match in Go.
func (t *Table) matchPlain(heads packet.Heads, found *candidates) {
	homes, candidates := t.lines[:heads.Len()], found[:heads.Len()]
	for i := range homes {
		homes[i] = t.home(heads.At(i).Hash)
	}
	mem.Prefetch(t.bucketBase, unsafe.Sizeof(bucket{}), &homes[0], len(homes))
	for i := range candidates {
		candidates[i] = t.seek(heads.At(i).Hash)
	}
	mem.Prefetch(t.flowBase, unsafe.Sizeof(Flow{}), &candidates[0], len(candidates))
}

// find returns the entry of the index with the packet's key, a flow or a twin, or 0.
func (t *Table) find(p *packet.Packet) uint32 {
	tag := tagOf(p.Hash)
	i := t.home(p.Hash)
	for range t.numBuckets { // and no further, whatever the index says
		b := t.bucket(i)
		for m := b.match(tag); m != 0; m &= m - 1 {
			flow := b.flow(bits.TrailingZeros32(m))
			if f := t.flow(flow); f.k0 == p.Key0 && f.k1 == p.Key1 && (!t.isIPv6(flow) || t.same(p, flow)) {
				return flow
			}
		}
		if b.passing == 0 {
			return 0
		}
		i = t.next(i)
	}
	return 0
}

// ends returns an IPv6 packet's addresses in key order.
func ends(p *packet.Packet) (low, high *[16]byte) {
	h := p.IPv6()
	if p.Is(packet.KeySwapped) {
		return h.Dst(), h.Src()
	}
	return h.Src(), h.Dst()
}

// join makes the packet one of the flow's, or says that it is none: invalid, or
// the first of a new one in the flow's place.
func (t *Table) join(p *packet.Packet, flow uint32, dir int, now uint32, timeouts *Timeouts) {
	f := t.flow(flow)
	if int32(f.deadline-now) <= 0 { // it has ended, and the wheel has not come by yet
		t.Expired++
		t.Delete(flow)
		t.miss(p)
		return
	}
	if p.Is(packet.LaterFragment) && tracksHeader(f.proto()) {
		t.follow(p, flow, dir)
		return
	}
	state, marks := f.state, f.flags&(assured|seenReply)
	out := t.advance(p, flow, now, dir)
	switch out {
	case refused:
		t.refuse(p)
		return
	case reopened:
		t.Delete(flow)
		t.miss(p)
		return
	}
	p.Flow, p.Translation = flow, t.translation(flow)
	p.State = packet.CtEstablished
	if dir == Reply {
		p.Flags |= packet.ReplyDir
	} else if f.flags&seenReply == 0 {
		p.State = packet.CtNew
	}
	if out != passed {
		t.account(p, flow, dir)
		row := timeouts.of(f.policy)
		lives := row.at(t.timeout(p, flow, row))
		if out == ended {
			lives = 0
		}
		t.refresh(flow, now, lives, row)
	}
	if dir == Reply && f.flags&seenReply == 0 {
		f.flags |= seenReply
		f.forget()
	}
	if state != f.state || marks != f.flags&(assured|seenReply) {
		t.tell(EventUpdate, flow)
	}
}

// follow counts a fragment in the flow of its datagram. Its state and deadline are the
// first fragment's business, which alone has the header that the tracker reads.
func (t *Table) follow(p *packet.Packet, flow uint32, dir int) {
	p.Flow, p.State, p.Translation = flow, packet.CtEstablished, t.translation(flow)
	if dir == Reply {
		p.Flags |= packet.ReplyDir
	} else if t.flow(flow).flags&seenReply == 0 {
		p.State = packet.CtNew
	}
	t.account(p, flow, dir)
}

// account counts the packet in its flow.
func (t *Table) account(p *packet.Packet, flow uint32, dir int) {
	f := t.flow(flow)
	f.bytes[dir] += uint64(p.L3Len())
	if f.packets[dir]++; f.packets[dir] == 0 { // once in 4 billion packets
		t.cold[flow].packetsHigh[dir]++
	}
}

// refresh sets the flow's deadline. One that comes closer puts the flow into an
// earlier slot of the wheel.
//
// An established connection lives by a shorter timeout whenever data is under
// way, and by its own whenever all is acknowledged: it would be moved with nearly
// every packet. So it goes at once where the shortest of its timeouts would have
// it, and stays there until the wheel comes by. That is soon, earlyMost: timeouts that are
// replaced by shorter ones may want it closer than it lies.
func (t *Table) refresh(flow, now, lives uint32, timeouts *Timeouts) {
	f := t.flow(flow)
	deadline := now + lives
	closer := int32(deadline-f.deadline) < 0
	f.deadline = deadline
	if !closer {
		return
	}
	near := min(timeouts.at(TCPUnacknowledged), timeouts.at(TCPMaxRetrans), earlyMost)
	switch {
	case f.state != TCPEstablished || lives < near:
		f.flags &^= early
		near = lives
	case f.flags&early != 0:
		return
	default:
		f.flags |= early
	}
	t.unschedule(flow)
	t.schedule(flow, now+near)
}

// earlyMost is how late at most a connection in use ends by timeouts that became shorter,
// and how often one is looked at by the wheel: a minute.
const earlyMost = uint32(60_000_000_000 >> tickShift)

// miss classifies a packet without a flow.
func (t *Table) miss(p *packet.Packet) {
	if t.admits(p) {
		p.State = packet.CtNew
		return
	}
	t.refuse(p)
}

func (t *Table) refuse(p *packet.Packet) {
	p.State = packet.CtInvalid
	t.Invalid++
}

// Confirm enters the flow of a new packet that leaves the switch.
//
// When another packet of the same flow was confirmed since Lookup, in this burst
// or an earlier one, the packet joins that flow. It returns false when there may be no
// such flow, and Refusal says why. Owner worker only. Source: CT-2, CT-6, CT-7.
func (t *Table) Confirm(p *packet.Packet, nowNs int64, timeouts *Timeouts) bool {
	now := Tick(nowNs)
	flow := t.find(p)
	if p.Is(packet.LaterFragment) { // whatever became of the first, this one starts nothing
		if flow != 0 {
			t.joinBy(p, flow, now, timeouts)
		}
		return true
	}
	if flow != 0 {
		if !joins {
			return false
		}
		t.Joined[p.Waited]++
		if t.joinBy(p, flow, now, timeouts); p.State != packet.CtNew || p.Flow != 0 {
			return true
		}
	}
	if p.Translation != 0 && !t.chooseReply(p) {
		return false
	}
	i := t.admit(p)
	if i == 0 {
		return false
	}
	t.Created++
	if p.Is(packet.IsIPv6) {
		t.Flows6++
		low, high := ends(p)
		t.addresses[i-t.first6] = addresses{*low, *high}
	} else {
		t.Flows4++
	}
	f := t.flow(i)
	// Field by field: a literal is made on the stack in small pieces, which stalls the copy.
	*f = Flow{}
	f.k0, f.k1 = p.Key0, p.Key1
	f.bytes[Original], f.packets[Original] = uint64(p.L3Len()), 1
	f.state = t.start(p, i)
	f.mark = p.CtMark
	if p.Translation != 0 {
		f.flags |= translated
	}
	f.born(now)
	t.adopt(i, p.Policy)
	row := timeouts.of(f.policy)
	f.deadline = now + row.at(t.timeout(p, i, row))
	if p.Is(packet.KeySwapped) {
		f.flags |= origSwapped
	}
	t.settle(i)
	t.countIn(p, i)
	t.cold[i].start = startOf(nowNs)
	t.cold[i].packetsHigh = [2]uint16{}
	t.enter(p.Hash, i)
	if p.Translation != 0 {
		t.pair(i, p.Translation)
	}
	t.schedule(i, f.deadline)
	t.tell(EventNew, i)
	p.Flow = i
	return true
}

// settle marks a flow whose packets are of the common case, see touch. One with translated
// addresses is not, and one of GRE not before it is answered.
func (t *Table) settle(flow uint32) {
	f := t.flow(flow)
	if f.flags&translated != 0 || f.state == GREUnreplied {
		return
	}
	if proto := f.proto(); proto != packet.ProtoTCP && proto != packet.ProtoSCTP {
		f.flags |= settled
	}
}

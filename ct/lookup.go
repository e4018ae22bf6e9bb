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
// flows prefetched, then all flows compared. Packets that need more than their
// flow's line come last; those of one flow keep their order unless the flow is
// settled, where order changes nothing but whether a packet of the original
// direction counts as new when the first reply is in the same burst.
// Source: CT-1, CT-2. Cost: docs/decisions/0002-flow-table.md.
func (t *Table) Lookup(b *packet.Burst, timeouts *Timeouts) {
	pkts := b.Live()
	n := len(pkts)
	if n == 0 {
		return
	}
	t.match(pkts)
	mem.Prefetch(t.flowBase, unsafe.Sizeof(Flow{}), &t.candidates[0], n)
	now := Tick(b.NowNs)
	t.latestNs = b.NowNs
	others := t.touch(pkts, now, timeouts)
	t.prefetchWindows(pkts, others)
	for len(others) > 0 {
		n := t.touchTCP(pkts, others, now, timeouts)
		if others = others[n:]; len(others) == 0 {
			return
		}
		if p := &pkts[others[0]]; p.Verdict == packet.Continue {
			t.lookup(p, t.candidates[others[0]], now, timeouts)
		}
		others = others[1:]
	}
}

// touch joins the packets of the common case, all in one cache line: a flow that
// was found at once, and whose tracker and place in the wheel stay as they are.
// It returns the indices of the others, and calls nothing: around a call the
// compiler keeps the loop's variables on the stack (2 cycles per packet).
func (t *Table) touch(pkts []packet.Packet, now uint32, timeouts *Timeouts) (others []uint8) {
	n := 0
	for i, flow := range t.candidates[:len(pkts)] {
		p, f := &pkts[i], t.flow(flow)
		if f.k0 == p.Key0 && f.k1 == p.Key1 && p.Verdict == packet.Continue {
			flags := uint32(f.flags)
			dir := (uint32(p.Flags) ^ flags) / origSwapped & 1
			packets := f.packets[dir] + 1
			lives := timeouts.at(f.state)
			deadline := now + lives
			// Settled, and a reply only where one has been seen before. The deadline neither
			// comes closer nor has passed: it is behind now, and not behind the new one.
			if (dir*seenReply|settled)&^flags == 0 && packets != 0 && deadline-f.deadline < lives {
				p.Flags |= uint8(dir * seenReply)
				p.State, p.Flow = packet.CtNew+packet.CtState(flags/seenReply&1), flow
				f.bytes[dir] += uint64(p.L3Len())
				f.packets[dir] = packets
				f.deadline = deadline
				continue
			}
		}
		t.others[n&(packet.MaxBurst-1)] = uint8(i)
		n++
	}
	return t.others[:n]
}

// lookup joins a packet to its flow, of which candidate may be the one.
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
	if f := t.flow(flow); f.k0 != p.Key0 || f.k1 != p.Key1 || t.isIPv6(flow) {
		if flow = t.find(p); flow == 0 {
			t.miss(p)
			return
		}
	}
	t.join(p, flow, now, timeouts)
}

// keyless classifies a packet that can have no flow.
func (t *Table) keyless(p *packet.Packet) {
	p.State = packet.CtUntracked
	isICMP := (p.Proto == packet.ProtoICMP || p.Proto == packet.ProtoICMPv6) && !p.Is(packet.IsFragment)
	if p.Is(packet.Truncated) || isICMP && !withoutState(p.Proto, p.Transport()[0]) {
		t.refuse(p)
	}
}

// match finds for each packet a flow in its home bucket with the tag of its
// hash, or 0.
func (t *Table) match(pkts []packet.Packet) {
	homes, numBuckets := t.homes[:len(pkts)], uint64(t.numBuckets)
	for i := range homes {
		homes[i] = uint32(uint64(uint32(pkts[i].Hash)) * numBuckets >> 32) // as in home
	}
	mem.Prefetch(t.bucketBase, unsafe.Sizeof(bucket{}), &homes[0], len(homes))
	candidates := t.candidates[:len(homes)]
	for i, home := range homes {
		b := t.bucket(home)
		flow := uint32(0)
		if slot, ok := b.first(tagOf(pkts[i].Hash)); ok {
			flow = b.flow[slot]
		}
		candidates[i] = flow
	}
}

// find returns the flow with the packet's key, or 0.
func (t *Table) find(p *packet.Packet) uint32 {
	tag := tagOf(p.Hash)
	i := t.home(p.Hash)
	for range t.numBuckets { // and no further, whatever the index says
		b := t.bucket(i)
		for m := b.match(tag); m != 0; m &= m - 1 {
			flow := b.flow[bits.TrailingZeros32(m)]
			if f := t.flow(flow); f.k0 == p.Key0 && f.k1 == p.Key1 && (!t.isIPv6(flow) || t.sameEnds(p, flow)) {
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

// sameEnds compares the addresses of an IPv6 packet with those of a flow.
func (t *Table) sameEnds(p *packet.Packet, flow uint32) bool {
	a := &t.addresses[flow-t.first6]
	low, high := ends(p)
	return *low == a.low && *high == a.high
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
func (t *Table) join(p *packet.Packet, flow, now uint32, timeouts *Timeouts) {
	f := t.flow(flow)
	dir := f.direction(p.Is(packet.KeySwapped))
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
	p.Flow = flow
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
	p.Flow, p.State = flow, packet.CtEstablished
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
			t.join(p, flow, now, timeouts)
		}
		return true
	}
	if flow != 0 {
		if !joins {
			return false
		}
		t.Joined[p.Waited]++
		if t.join(p, flow, now, timeouts); p.State != packet.CtNew || p.Flow != 0 {
			return true
		}
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
	*f = Flow{
		key:     key{p.Key0, p.Key1},
		bytes:   [2]uint64{uint64(p.L3Len())},
		packets: [2]uint32{1},
		state:   t.start(p, i),
		flags:   inUse,
		mark:    p.CtMark,
	}
	t.adopt(i, p.Policy)
	row := timeouts.of(f.policy)
	f.deadline = now + row.at(t.timeout(p, i, row))
	if p.Is(packet.KeySwapped) {
		f.flags |= origSwapped
	}
	t.settle(i)
	t.countIn(p, i)
	t.cold[i].start = now
	t.cold[i].packetsHigh = [2]uint16{}
	t.enter(p.Hash, i)
	t.schedule(i, f.deadline)
	t.tell(EventNew, i)
	p.Flow = i
	return true
}

// settle marks a flow whose packets are of the common case, see touch. One with a
// timeout policy is not: its timeout is in another row, and looking for it would
// cost those that have none.
func (t *Table) settle(flow uint32) {
	f := t.flow(flow)
	if f.flags&ruled != 0 || f.state == UDPAnswered || t.isIPv6(flow) {
		return
	}
	if proto := f.proto(); proto != packet.ProtoTCP && proto != packet.ProtoSCTP {
		f.flags |= settled
	}
}

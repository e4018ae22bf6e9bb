package ct

import (
	"unsafe"

	"ffwd/mem"
	"ffwd/packet"
)

// candidates are the flows found for the packets of a burst by their tags, and room behind
// them for the loops that ask the cache for the flow of a packet ahead.
type candidates [packet.MaxBurst + ahead]uint32

// ahead is how many packets that is.
const ahead = 8

// SeekPlain sets keys and hashes of the first n of a run, of one zone, and asks the cache for
// their flows, for Join to find. Between the two there is time for something else. protocols
// are the bits of theirs: TCP segments have windows. Owner worker only.
// Source: CT-1. Cost: docs/decisions/0002-flow-table.md.
func (t *Table) SeekPlain(run *packet.Run, n int, ipv6 bool, zone uint16, protocols uint8) {
	heads := packet.HeadsAlone(run.Heads[:n])
	if ipv6 {
		t.secret.plainKeys6(run.Heads[:n], zone)
		t.match(heads, &t.sought)
		t.prefetchEnds(t.sought[:n])
	} else {
		t.keysAndHomes(run, n, zone)
		t.matchSought(heads, &t.sought)
	}
	switch {
	case protocols == packet.ProtoTCP && n > 0:
		mem.Prefetch(t.windowBase, unsafe.Sizeof(window{}), &t.sought[0], n)
	case protocols&packet.ProtoTCP != 0:
		t.prefetchWindows(heads, t.sought[:])
	}
}

// Found tells whether SeekPlain found a flow for the i-th packet. It may be another's.
func (t *Table) Found(i int) bool { return t.sought[i&(packet.MaxBurst-1)] != 0 }

// Decisions stores at said what Flow.Decision is of the flows that SeekPlain found for the
// packets, of which plain are those from the at-th on. They may be others' flows: Join will
// tell. Owner worker only.
func (t *Table) Decisions(plain []packet.Head, at int, generation uint32, hook Hook, said []uint16) {
	said, candidates := said[:len(plain)], t.sought[at:][:len(plain)]
	for i := range plain {
		f := t.flow(candidates[i])
		said[i] = f.Decision(generation, int((plain[i].Flags^f.flags)/origSwapped&1), hook)
	}
}

// Join joins the packets given to SeekPlain, from the at-th up to the n-th, to their flows, up
// to the first that needs more than the short loops do, and returns how many. Nothing has
// happened to the others: they are Lookup's. Flows may have come and gone since. It may leave
// the heads as they are. Owner worker only. Source: CT-1, CT-2.
func (t *Table) Join(run *packet.Run, at, n int, nowNs int64, timeouts *Timeouts) int {
	t.latestNs = nowNs
	if run.Heads[at].Is(packet.IsIPv6) {
		return t.touchAny(packet.HeadsAlone(run.Heads[at:n]), t.sought[at:], Tick(nowNs), timeouts)
	}
	return t.joinPlain(run, at, n, Tick(nowNs), timeouts)
}

// prefetchEnds asks the cache for the addresses of the IPv6 flows among candidates.
func (t *Table) prefetchEnds(candidates []uint32) {
	lines := 0
	for _, flow := range candidates {
		t.lines[lines&(packet.MaxBurst-1)] = flow - t.first6
		if t.isIPv6(flow) {
			lines++
		}
	}
	mem.Prefetch(t.addressBase, unsafe.Sizeof(addresses{}), &t.lines[0], lines)
}

// touchAny joins the packets before the first one that neither touch nor touchTCP takes,
// and returns how many.
func (t *Table) touchAny(heads packet.Heads, candidates []uint32, now uint32, timeouts *Timeouts) (n int) {
	for {
		others := t.touch(heads.From(n), candidates[n:], now, timeouts)
		if n += others; n == heads.Len() {
			return n
		}
		tcp := t.touchTCP(heads.From(n), candidates[n:], now, timeouts)
		if n += tcp; tcp == 0 || n == heads.Len() {
			return n
		}
	}
}

// touchPlain is touch in Go, and takes IPv6 besides. It calls nothing: around a call the
// compiler keeps the loop's variables on the stack (2 cycles per packet).
func (t *Table) touchPlain(heads packet.Heads, candidates []uint32, now uint32, timeouts *Timeouts) int {
	for i, flow := range candidates[:heads.Len()] {
		p, f := heads.At(i), t.flow(flow)
		marks, flags := uint32(p.Flags), uint32(f.flags)
		if f.k0 != p.Key0 || f.k1 != p.Key1 || p.Verdict != packet.Continue {
			return i
		}
		dir := (marks ^ flags) / origSwapped & 1
		packets := f.packets[dir] + 1
		lives := timeouts.of(f.policy).at(f.state)
		deadline := now + lives
		// Settled, and a reply only where one has been seen before. The deadline neither
		// comes closer nor has passed: it is behind now, and not behind the new one.
		if (dir*seenReply|settled)&^flags != 0 || packets == 0 || deadline-f.deadline >= lives ||
			marks&packet.IsIPv6 != 0 && !t.sameEnds(p, flow) ||
			f.state == UDPAnswered && f.age(now) > young {
			return i
		}
		p.Flags = uint8(marks | dir*seenReply)
		p.State, p.Flow = packet.CtNew+packet.CtState(flags/seenReply&1), flow
		f.bytes[dir] += uint64(p.L3Len())
		f.packets[dir] = packets
		f.deadline = deadline
	}
	return heads.Len()
}

// sameEnds compares the addresses of an IPv6 packet with those of an IPv6 flow. It is
// small enough to be inlined into loops that call nothing.
func (t *Table) sameEnds(p *packet.Head, flow uint32) bool {
	const source = 8 // offset of the source address, right before the destination
	a := (*addresses)(unsafe.Add(t.addressBase, uintptr(flow-t.first6)*unsafe.Sizeof(addresses{})))
	first := unsafe.Add(p.Data, uintptr(p.L3)+source)
	swap := p.Flags & packet.KeySwapped // the flag is 16, which is the length of an address
	return *(*[16]byte)(unsafe.Add(first, swap)) == a.low && *(*[16]byte)(unsafe.Add(first, packet.KeySwapped-swap)) == a.high
}

// A flag of another value would not compile here.
const _ = uint(packet.KeySwapped-16) + uint(16-packet.KeySwapped)

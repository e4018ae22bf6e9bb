package ct

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"ffwd/packet"
)

// Both matchers find every flow by its tag, at home or beyond, and none with another tag:
// in an index so full that most flows are not at home, with some removed, several of a tag,
// and tag 0, which is 1.
func TestMatch(t *testing.T) {
	const flows = 3200 // of 3432 slots
	random := rand.New(rand.NewPCG(1, 2))
	table := newTable(t, 2000, 0)
	tag := func(hash uint64) [2]uint32 { return [2]uint32{uint32(tagOf(hash)), entryOf(hash, 0)} }
	hashes, removed := map[uint32]uint64{}, []uint64{}
	for i := range uint32(flows) {
		hash := random.Uint64()
		if i%7 == 0 {
			hash &^= 0xff << 56
		}
		table.enter(hash, i+1)
		hashes[i+1] = hash
	}
	for i := range uint32(flows / 5) {
		table.remove(hashes[5*i+1], 5*i+1)
		removed = append(removed, hashes[5*i+1])
		delete(hashes, 5*i+1)
	}
	for name, match := range map[string]func(packet.Heads, *candidates){"match": table.match, "plain": table.matchPlain} {
		home, beyond, missed := 0, 0, 0
		for n := 1; n <= packet.MaxBurst; n++ {
			pkts, live := make([]packet.Packet, n), map[int]bool{}
			for i := range pkts {
				switch i % 4 {
				case 0:
					pkts[i].Hash = random.Uint64()
				case 1:
					pkts[i].Hash = removed[random.IntN(len(removed))]
				default:
					for !live[i] {
						pkts[i].Hash, live[i] = hashes[1+random.Uint32N(flows)]
					}
				}
			}
			match(packet.HeadsOf(pkts), &table.candidates)
			for i := range pkts {
				hash, got := pkts[i].Hash, table.candidates[i]
				if got == 0 && live[i] || got != 0 && tag(hashes[got]) != tag(hash) {
					t.Fatalf("%s: burst of %d, hash %#x: flow %d with %#x", name, n, hash, got, hashes[got])
				}
				switch b := table.bucket(table.home(hash)); {
				case got == 0:
					missed++
				case slices.Contains(b.entry[:], entryOf(hash, got)):
					home++
				default:
					beyond++
				}
			}
		}
		if min(home, beyond, missed) < 1000 {
			t.Errorf("%s: only %d at home, %d beyond, %d missed", name, home, beyond, missed)
		}
	}
}

// In a full table the flow that is prefetched is the packet's, but for one in 1,100 whose
// tag is another's. With tags of 8 bits it would be one in 70, and without those outside of
// their homes one in 120.
func TestCandidatesAreRight(t *testing.T) {
	const flows = 20_000
	table := newTable(t, flows, 0)
	for i := range flows {
		send(table, 0, DefaultTimeouts(), udp4(i))
	}
	for name, match := range map[string]func(packet.Heads, *candidates){"match": table.match, "plain": table.matchPlain} {
		wrong, b := 0, &packet.Burst{N: packet.MaxBurst}
		for first := 0; first < flows; first += b.N {
			for i := range b.Live() {
				load(&b.Pkts[i], &table.secret, udp4((first+i)%flows), 0)
			}
			match(packet.HeadsOf(b.Live()), &table.candidates)
			for i := range b.Live() {
				if f := table.flow(table.candidates[i]); f.k0 != b.Pkts[i].Key0 || f.k1 != b.Pkts[i].Key1 {
					wrong++
				}
			}
		}
		if wrong > flows/250 {
			t.Errorf("%s: %d of %d candidates are others' flows", name, wrong, flows)
		}
	}
}

// slowly is send without the loops that join common packets.
func slowly(t *Table, nowNs int64, of tuple, l4 ...byte) packet.Packet {
	var p packet.Packet
	load(&p, &t.secret, of, 0, l4...)
	if t.lookup(&p, t.seek(p.Hash), Tick(nowNs), DefaultTimeouts()); p.State == packet.CtNew && p.Flow == 0 {
		t.Confirm(&p, nowNs, DefaultTimeouts())
	}
	return p
}

// families are the ends of flows in tests.
var families = [][2]netip.Addr{
	{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")},
	{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")},
}

// CT-3, CT-4: the loops for common packets leave a flow exactly as the trackers do, and say
// the same of the packet.
func TestShortWayLeavesFlowsAsTheLongOne(t *testing.T) {
	secret := NewSecret()
	var tables [2]*Table
	for i := range tables {
		var err error
		if tables[i], err = New(Options{MaxFlows: MinFlows, MaxFlowsIPv6: MinFlows, Secret: secret}); err != nil {
			t.Fatal(err)
		}
		defer tables[i].Close()
	}
	rapid.Check(t, func(rt *rapid.T) {
		for _, table := range tables {
			table.Walk(0, 1<<20, func(i uint32) bool { table.Delete(i); return true })
		}
		pair := rapid.SampledFrom(families).Draw(rt, "family")
		proto := rapid.SampledFrom([]uint8{packet.ProtoTCP, packet.ProtoTCP, packet.ProtoTCP, packet.ProtoUDP, packet.ProtoGRE}).Draw(rt, "protocol")
		of := tuple{pair[0], pair[1], 1024, 80, proto}
		next := [2]uint32{rapid.Uint32().Draw(rt, "number"), rapid.Uint32().Draw(rt, "number")}
		opening, now := 3*rapid.IntRange(0, 3).Draw(rt, "seen from its beginning"), second
		for i := range rapid.IntRange(1, 60).Draw(rt, "packets") {
			dir := rapid.IntRange(0, 1).Draw(rt, "dir")
			if i < min(3, opening) {
				dir = i % 2
			}
			s := drawSegment(rt, i < min(3, opening), i, next[dir], next[1-dir])
			if end := s.seq + uint32(s.size) + uint32(s.flags>>1&1); after(end, next[dir]) && end-next[dir] < 1000 {
				next[dir] = end
			}
			now += rapid.SampledFrom([]int64{0, 1e6, second, 40 * second, 400 * second}).Draw(rt, "pause")
			sent := of
			if dir == Reply {
				sent = of.reversed()
			}
			got, want := send(tables[0], now, DefaultTimeouts(), sent, tcpBytes(s)...), slowly(tables[1], now, sent, tcpBytes(s)...)
			if got.State != want.State || got.Flow != want.Flow || got.Flags != want.Flags {
				rt.Fatalf("packet %d: %v, flow %d, flags %#x; want %v, %d, %#x", i, got.State, got.Flow, got.Flags, want.State, want.Flow, want.Flags)
			}
			if got.Flow == 0 {
				continue
			}
			flow := got.Flow
			if got, want := *tables[0].flow(flow), *tables[1].flow(flow); got != want {
				rt.Fatalf("packet %d: flow %+v, want %+v", i, got, want)
			}
			if got, want := *tables[0].window(flow), *tables[1].window(flow); proto == packet.ProtoTCP && got != want {
				rt.Fatalf("packet %d: window %+v, want %+v", i, got, want)
			}
		}
	})
}

// drawSegment draws the i-th segment of a connection, at its beginning if it is opening.
// Most are in sequence and alike, so that few are alone in not being of the common case.
func drawSegment(rt *rapid.T, opening bool, i int, seq, ack uint32) seg {
	s := seg{flags: fA, seq: seq, ack: ack, win: 1000}
	if opening {
		if s.flags = [3]uint8{fS, fS | fA, fA}[i]; i < 2 {
			s.options = []byte{1, 3, 3, rapid.SampledFrom([]byte{0, 7}).Draw(rt, "scale")}
		}
		return s
	}
	s.size = rapid.SampledFrom([]int{0, 1, 100}).Draw(rt, "size")
	s.win = rapid.SampledFrom([]uint16{1000, 1000, 1000, 1000, 999, 1001, 0, 65535}).Draw(rt, "win")
	if rapid.IntRange(0, 5).Draw(rt, "odd") > 0 {
		return s
	}
	away := []uint32{0, 0, 0, 1, 100, 66_000, 66_001}
	s.seq += rapid.SampledFrom(away).Draw(rt, "seq ahead") - rapid.SampledFrom(away).Draw(rt, "seq behind")
	s.ack += rapid.SampledFrom(away).Draw(rt, "ack ahead") - rapid.SampledFrom(away).Draw(rt, "ack behind")
	s.flags = rapid.SampledFrom([]uint8{fA, fA, fA, fA | tcpPsh, fS, fR, fF | fA}).Draw(rt, "flags")
	s.options = rapid.SampledFrom([][]byte{nil, {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}, {1, 1, 1, 1}}).Draw(rt, "options")
	return s
}

// established returns the table of an established flow, and its next packet in each
// direction.
func established(t *testing.T, of tuple) (*Table, *packet.Burst) {
	table := newTable(t, MinFlows, MinFlows)
	back := of.reversed()
	sent := []tuple{of, back, of, back, of}
	for i, s := range []seg{{flags: fS}, {flags: fS | fA, ack: 1}, {flags: fA, seq: 1, ack: 1}, {flags: fA, seq: 1, ack: 1}, {flags: fA, seq: 1, ack: 1, size: 5}} {
		s.win = 1000
		send(table, int64(i)*second, DefaultTimeouts(), sent[i], tcpBytes(s)...)
	}
	b := &packet.Burst{N: 2, NowNs: 5 * second}
	load(&b.Pkts[0], &table.secret, of, 0, tcpBytes(seg{flags: fA, seq: 6, ack: 1, win: 1000, size: 5})...)
	load(&b.Pkts[1], &table.secret, back, 0, tcpBytes(seg{flags: fA, seq: 1, ack: 11, win: 1000})...)
	return table, b
}

// shortWay returns how many packets of the burst are of the common case.
func shortWay(table *Table, b *packet.Burst) int {
	heads := packet.HeadsOf(b.Live())
	table.match(heads, &table.candidates)
	return table.touchAny(heads, table.candidates[:], Tick(b.NowNs), DefaultTimeouts())
}

// CT-3, CT-4: packets of established flows take the short way, in both families. A packet
// whose key is that of a flow, but whose addresses are others, is not the flow's.
func TestWhoTakesTheShortWay(t *testing.T) {
	for _, ends := range families {
		for _, proto := range []uint8{packet.ProtoUDP, packet.ProtoTCP} {
			of := tuple{ends[0], ends[1], 1024, 80, proto}
			if table, b := established(t, of); shortWay(table, b) != 2 {
				t.Errorf("%v, protocol %d: not the short way", ends, proto)
			}
			if ends[0].Is4() { // the key is the addresses
				continue
			}
			for offset := uintptr(8); offset < 40; offset++ {
				table, b := established(t, of)
				for i := range b.Live() {
					*(*byte)(unsafe.Add(b.Pkts[i].Data, offset)) ^= 1
				}
				if n := shortWay(table, b); n != 0 {
					t.Fatalf("protocol %d: %d packets took the short way of another's flow; byte %d differs", proto, n, offset)
				}
				if table.Lookup(b, DefaultTimeouts()); b.Pkts[0].Flow != 0 || b.Pkts[1].Flow != 0 {
					t.Fatalf("protocol %d: joined another's flow; byte %d differs", proto, offset)
				}
			}
		}
	}
}

// CT-10: counters of packets go on behind 2^32, whichever way a packet takes.
func TestCountersCarry(t *testing.T) {
	for _, proto := range []uint8{packet.ProtoUDP, packet.ProtoTCP} {
		table, b := established(t, tuple{families[0][0], families[0][1], 1024, 80, proto})
		table.Walk(0, 1000, func(i uint32) bool {
			table.flow(i).packets = [2]uint32{1<<32 - 1, 1<<32 - 2}
			return false
		})
		table.Lookup(b, DefaultTimeouts())
		flow := b.Pkts[0].Flow
		if got, high := table.flow(flow).packets, table.cold[flow].packetsHigh; got != [2]uint32{0, 1<<32 - 1} || high != [2]uint16{1, 0} {
			t.Errorf("protocol %d: counters %v and %v", proto, got, high)
		}
	}
}

// A packet without a key meets entries without one: those never used, and removed ones.
func TestKeylessPackets(t *testing.T) {
	for _, ends := range families {
		table, b := established(t, tuple{ends[0], ends[1], 1024, 80, packet.ProtoUDP})
		flow := uint32(0)
		table.Walk(0, 1000, func(i uint32) bool { flow = i; return false })
		for _, step := range []func(){func() {}, func() { table.Delete(flow) }} {
			step()
			for _, family := range []uint8{0, packet.IsIPv6} {
				for i := range b.Live() {
					b.Pkts[i] = packet.Packet{Head: packet.Head{Data: b.Pkts[i].Data, Len: 60, L4: 40, Proto: 99, Flags: family, Verdict: packet.Continue, Hash: b.Pkts[i].Hash}}
				}
				table.Lookup(b, DefaultTimeouts())
				for _, p := range b.Live() {
					if p.Flow != 0 || p.State != packet.CtUntracked {
						t.Errorf("%v: flow %d, %v; want none, untracked", ends, p.Flow, p.State)
					}
				}
			}
		}
	}
}

// CT-2: packets of a burst are met in their order: behind the first reply a flow is
// established, for settled flows as for others.
func TestPacketsOfABurstKeepTheirOrder(t *testing.T) {
	for _, proto := range []uint8{packet.ProtoUDP, packet.ProtoGRE} {
		table := newTable(t, MinFlows, 0)
		of := tuple{families[0][0], families[0][1], 1024, 80, proto}
		send(table, 0, DefaultTimeouts(), of)
		b := &packet.Burst{N: 4}
		for i, sent := range []tuple{of, of.reversed(), of, of.reversed()} {
			load(&b.Pkts[i], &table.secret, sent, 0)
		}
		table.Lookup(b, DefaultTimeouts())
		for i, want := range []packet.CtState{packet.CtNew, packet.CtEstablished, packet.CtEstablished, packet.CtEstablished} {
			if got := b.Pkts[i].State; got != want {
				t.Errorf("protocol %d, packet %d: %v, want %v", proto, i, got, want)
			}
		}
	}
}

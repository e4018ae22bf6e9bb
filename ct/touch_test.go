package ct

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"ffwd/packet"
)

// CT-1, CT-8: assembly and Go give plain packets the same keys, hosts that talk to
// themselves included, one by one and, where the processor can, sixteen at a time.
func TestPlainKeys(t *testing.T) {
	able := vector
	defer func() { vector = able }()
	for _, vector = range []bool{able, false} {
		comparePlainKeys(t)
	}
}

func comparePlainKeys(t *testing.T) {
	table := newTable(t, MinFlows, 0)
	rng := rand.New(rand.NewPCG(1, 2))
	var frames [packet.MaxBurst][64]byte
	some := func() uint32 { return []uint32{rng.Uint32(), rng.Uint32(), 0, 1, 1 << 31, ^uint32(0)}[rng.IntN(6)] }
	for range 2000 {
		run, n := new(packet.Run), 1+rng.IntN(packet.MaxBurst)
		for i := range n {
			src, dst, ports := some(), some(), some()
			switch rng.IntN(4) {
			case 0:
				src = dst
			case 1:
				src, ports = dst, ports<<16|ports&0xffff
			}
			frame := frames[i][:]
			binary.BigEndian.PutUint32(frame[26:], src)
			binary.BigEndian.PutUint32(frame[30:], dst)
			binary.LittleEndian.PutUint32(frame[34:], ports)
			run.Src4[i], run.Dst4[i], run.Ports[i], run.Proto[i] = src, dst, ports, uint8(rng.Uint32())
			run.Heads[i] = packet.Head{Data: unsafe.Pointer(&frame[0]), Proto: run.Proto[i], Flags: packet.HasPorts, Flow: 7, PortsLE: 9}
		}
		for i := range table.secret {
			table.secret[i] = uint64(some())<<32 | uint64(some())
		}
		want, zone := run.Heads, uint16(rng.Uint32())
		table.secret.plainKeys4(want[:n], zone)
		table.keysAndHomes(run, n, zone)
		for i, head := range run.Heads {
			if head != want[i] {
				t.Fatalf("packet %d of %d: %+v, want %+v", i, n, head, want[i])
			}
		}
	}
}

// CT-1, CT-4, TO-3: assembly and Go join the same packets to settled flows, of which any
// field that they look at may be anything, and leave heads and flows alike.
func TestTouch(t *testing.T) {
	table := newTable(t, MinFlows, MinFlows)
	rows := make([]Timeouts, 3)
	rng := rand.New(rand.NewPCG(1, 2))
	frame := make([]byte, 64)
	some := func(of ...uint32) uint32 { return of[rng.IntN(len(of))] }
	stops := map[int]int{}
	for range 50_000 {
		for i := range rows {
			for s := range rows[i] {
				rows[i][s] = some(1, 30_000, 30_000, 30_000, 1<<30)
			}
		}
		now := rng.Uint32()
		for i := range table.flows[:8] {
			f := &table.flows[i]
			*f = Flow{
				key: key{uint64(some(1, 2)), uint64(some(1, 2))}, packets: [2]uint32{some(0, 6, 7, ^uint32(0)), some(6, 7, 8, 9)},
				bytes: [2]uint64{rng.Uint64(), rng.Uint64()}, deadline: now + some(0, 1, 1, 1, 1, 30_000, 1<<30, ^uint32(0)),
				verdict: rng.Uint32(), policy: uint16(some(0, 0, 1, 2)), state: State(some(uint32(UDPReplied), uint32(UDPAnswered), uint32(GREReplied))),
				flags: uint8(rng.Uint32()) | uint8(some(settled, settled|seenReply, settled|seenReply, settled|seenReply, 0)),
			}
			if rng.IntN(2) == 0 {
				f.born(now - some(0, 5, 6, 7, 8)<<ageShift)
			}
		}
		n := 1 + rng.IntN(20)
		heads, candidates := make([]packet.Head, n), make([]uint32, n+ahead)
		for i := range heads {
			candidates[i] = rng.Uint32N(8)
			k := table.flows[candidates[i]].key
			heads[i] = packet.Head{Data: unsafe.Pointer(&frame[0]), Key0: k.k0, Key1: k.k1, Len: uint16(rng.Uint32()) | 64, L3: uint8(some(0, 14, 18)),
				Flags: packet.HasPorts | uint8(some(0, packet.KeySwapped)), Verdict: packet.Continue}
			switch rng.IntN(40) {
			case 0:
				heads[i].Key0 ^= 1
			case 1:
				heads[i].Key1 ^= 1 << 40
			case 2:
				heads[i].Verdict = packet.Drop
			}
		}
		flows, wantHeads := append([]Flow(nil), table.flows[:8]...), append([]packet.Head(nil), heads...)
		want := table.touchPlain(packet.HeadsAlone(wantHeads), candidates, now, &rows[0])
		wantFlows := append([]Flow(nil), table.flows[:8]...)
		copy(table.flows, flows)
		got := table.touch(packet.HeadsAlone(heads), candidates, now, &rows[0])
		if got != want || !slices.Equal(heads, wantHeads) || !slices.Equal(table.flows[:8], wantFlows) {
			t.Fatalf("%d of %d joined, want %d\nheads %+v\nwant  %+v\nflows %+v\nwant  %+v", got, n, want, heads, wantHeads, table.flows[:8], wantFlows)
		}
		stops[min(got, 3)]++
		copy(table.flows, flows)
		compareJoin(t, table, wantHeads, candidates, now, &rows[0], rng.IntN(3))
	}
	clear(table.flows[:8])
	for n := range 4 {
		if stops[n] < 1000 {
			t.Errorf("%d times %d packets were joined", stops[n], n)
		}
	}
}

// compareJoin joins packets of IPv4 as a run, from the at-th on, and as packets: the same ones,
// and flows and windows are alike afterwards. In a run are no fragments, and none that has
// been decided about.
func compareJoin(t *testing.T, table *Table, heads []packet.Head, flows []uint32, now uint32, timeouts *Timeouts, at int) {
	t.Helper()
	run, n := new(packet.Run), 0
	for ; n < len(heads) && heads[n].Verdict == packet.Continue && heads[n].Flags&packet.IsFragment == 0; n++ {
		run.Heads[at+n], run.Size[at+n] = heads[n], uint16(heads[n].L3Len())
		table.sought[at+n] = flows[n]
	}
	if n == 0 {
		return
	}
	type state struct {
		flows   [8]Flow
		windows [8]window
	}
	windows := (*[8]window)(table.windowBase)
	before := state{[8]Flow(table.flows), *windows}
	want := table.touchAny(packet.HeadsAlone(slices.Clone(heads[:n])), flows, now, timeouts)
	after := state{[8]Flow(table.flows), *windows}
	copy(table.flows, before.flows[:])
	*windows = before.windows
	if got := table.joinPlain(run, at, at+n, now, timeouts); got != want || after != (state{[8]Flow(table.flows), *windows}) {
		t.Fatalf("%d of %d joined, want %d\nheads %+v\nflows   %+v\nwant    %+v", got, n, want, heads, (state{[8]Flow(table.flows), *windows}), after)
	}
}

// CT-3: assembly and Go join the same segments, whatever flow, window and header say, and
// leave heads, flows and windows alike.
func TestTouchTCP(t *testing.T) {
	table := newTable(t, MinFlows, MinFlows)
	rows := make([]Timeouts, 2)
	rng := rand.New(rand.NewPCG(1, 2))
	some := func(of ...uint32) uint32 { // the first is what is common
		if rng.IntN(8) > 0 {
			return of[0]
		}
		return of[rng.IntN(len(of))]
	}
	windows := unsafe.Slice((*window)(table.windowBase), 4)
	stops := map[int]int{}
	be := binary.BigEndian
	for range 200_000 {
		for i := range rows {
			rows[i][TCPEstablished], rows[i][TCPUnacknowledged] = some(30_000, 20), some(30_000, 10, 40_000)
		}
		now, base := rng.Uint32(), some(rng.Uint32(), 0, 1000, ^uint32(0)-20)
		near := func(more ...uint32) uint32 { return base + some(append(more, 0, 10, ^uint32(0))...) }
		for i := range table.flows[:4] {
			table.flows[i] = Flow{
				key: key{1, 2}, packets: [2]uint32{some(6, 7, 8, ^uint32(0)), some(6, 7)}, bytes: [2]uint64{rng.Uint64(), rng.Uint64()},
				deadline: now + some(1, 0, 20_000, 30_000, ^uint32(0)), policy: uint16(some(0, 1)),
				state: State(some(uint32(TCPEstablished), uint32(TCPFinWait))),
				flags: uint8(rng.Uint32())&^(noted|assured) | uint8(some(assured, assured|noted, 0)),
			}
			for d := range windows[i].side {
				windows[i].side[d] = side{
					end: near(), maxEnd: near(1000, 70_000), maxAck: near(0, ^uint32(70_000)), maxWin: uint16(some(1000, 0, 100, 0xffff)),
					bits: uint8(rng.Uint32())&0x4f | uint8(some(sideAcked, 0)), more: uint8(rng.Uint32()),
				}
			}
		}
		n := 1 + rng.IntN(8)
		heads, candidates := make([]packet.Head, n), make([]uint32, n+ahead)
		for i := range heads {
			candidates[i] = rng.Uint32N(4)
			frame := make([]byte, 100)
			size, h := some(0, 5, 10), frame[34:]
			options := some(0, 12, 12, 8)
			be.PutUint32(h[4:], near()-size)
			be.PutUint32(h[8:], near(0, ^uint32(maxAckLag-2), ^uint32(maxAckLag-1), ^uint32(maxAckLag)))
			h[12], h[13] = uint8(20+options)<<2, uint8(some(packet.TCPAck, packet.TCPAck|8, rng.Uint32()))
			be.PutUint16(h[14:], uint16(some(500, 0, 1, 99, 1000, 0xffff)))
			be.PutUint32(h[20:], some(timestampsOnly, 0x01010101))
			heads[i] = packet.Head{Data: unsafe.Pointer(&frame[0]), Key0: 1, Key1: 2, L3: 14, L4: 20, Len: uint16(54 + options + size - some(0, 12)),
				Flags: packet.HasPorts | uint8(some(0, packet.KeySwapped)), Verdict: packet.Continue}
			if rng.IntN(40) == 0 {
				heads[i].Key0, heads[i].Key1 = heads[i].Key0^uint64(some(0, 1)), heads[i].Key1^uint64(some(0, 1))
				heads[i].Flags, heads[i].Verdict = heads[i].Flags|uint8(some(0, packet.IsFragment)), packet.Verdict(some(uint32(packet.Continue), uint32(packet.Drop)))
			}
		}
		flows, sides, wantHeads := append([]Flow(nil), table.flows[:4]...), append([]window(nil), windows...), append([]packet.Head(nil), heads...)
		want := table.touchTCPPlain(packet.HeadsAlone(wantHeads), candidates, now, &rows[0])
		wantFlows, wantSides := append([]Flow(nil), table.flows[:4]...), append([]window(nil), windows...)
		copy(table.flows, flows)
		copy(windows, sides)
		got := table.touchTCP(packet.HeadsAlone(heads), candidates, now, &rows[0])
		if got != want || !slices.Equal(heads, wantHeads) || !slices.Equal(table.flows[:4], wantFlows) || !slices.Equal(windows, wantSides) {
			t.Fatalf("%d of %d joined, want %d\nheads %+v\nwant  %+v\nflows %+v\nwant  %+v\nwindows %+v\nwant    %+v",
				got, n, want, heads, wantHeads, table.flows[:4], wantFlows, windows, wantSides)
		}
		stops[min(got, 2)]++
		copy(table.flows, flows)
		copy(windows, sides)
		compareJoin(t, table, wantHeads, candidates, now, &rows[0], rng.IntN(3))
	}
	clear(table.flows[:4])
	if stops[1] < 5000 || stops[2] < 1000 {
		t.Errorf("runs by length: %v", stops)
	}
}

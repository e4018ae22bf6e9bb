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
// themselves included.
func TestPlainKeys(t *testing.T) {
	table := newTable(t, MinFlows, 0)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		heads := make([]packet.Head, 1+rng.IntN(packet.MaxBurst))
		for i := range heads {
			frame := make([]byte, 64)
			binary.LittleEndian.PutUint64(frame[26:], rng.Uint64())
			binary.LittleEndian.PutUint32(frame[34:], rng.Uint32())
			switch rng.IntN(4) {
			case 0:
				copy(frame[26:30], frame[30:34])
			case 1:
				copy(frame[26:30], frame[30:34])
				copy(frame[34:36], frame[36:38])
			}
			heads[i] = packet.Head{Data: unsafe.Pointer(&frame[0]), Proto: uint8(rng.Uint32()), Flags: packet.HasPorts}
		}
		want, zone := append([]packet.Head(nil), heads...), uint16(rng.Uint32())
		table.secret.plainKeys4(want, zone)
		table.keysAndHomes(heads, zone)
		for i := range heads {
			if heads[i] != want[i] {
				t.Fatalf("packet %d of %d: %+v, want %+v", i, len(heads), heads[i], want[i])
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
		heads, candidates := make([]packet.Head, n), make([]uint32, n)
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
	}
	clear(table.flows[:8])
	for n := range 4 {
		if stops[n] < 1000 {
			t.Errorf("%d times %d packets were joined", stops[n], n)
		}
	}
}

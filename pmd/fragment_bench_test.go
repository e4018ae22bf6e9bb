package pmd

import (
	"runtime"
	"testing"
	"time"
	"unsafe"

	"ffwd/bindings"
	"ffwd/packet"
)

// What it costs to make the three fragments of a packet of 1500 bytes that pass an MTU of
// 576, and to free all of it: with the payload copied into a fresh mbuf behind each header,
// and with each header in an mbuf and a second one attached to the packet's payload. The
// second way calls into C for each attachment and link, which one call per packet would
// not: the cost of those calls, measured beside it, is taken off.
func BenchmarkFragments(b *testing.B) {
	const header, room, payload = 14 + 20, 552, 1480
	const pieces = (payload + room - 1) / room
	for _, way := range []struct {
		name   string
		mbufs  int // besides the packet's
		make   func(whole *packet.Mbuf, list []*packet.Mbuf)
		extraC int // calls that one call per packet would save
	}{
		{"copied", pieces, func(whole *packet.Mbuf, list []*packet.Mbuf) {
			from := unsafe.Slice((*byte)(whole.Data()), header+payload)
			for i, m := range list {
				piece := from[header+i*room : min(header+(i+1)*room, len(from))]
				to := unsafe.Slice((*byte)(m.Data()), header+len(piece))
				copy(to, from[:header])
				copy(to[header:], piece)
				m.PktLen, m.DataLen = uint32(len(to)), uint16(len(to))
			}
		}, 0},
		{"attached", 2 * pieces, func(whole *packet.Mbuf, list []*packet.Mbuf) {
			from := unsafe.Slice((*byte)(whole.Data()), header)
			for i, m := range list[:pieces] {
				copy(unsafe.Slice((*byte)(m.Data()), header), from)
				m.PktLen, m.DataLen = header, header
				data := list[pieces+i]
				bindings.Attach(unsafe.Pointer(data), unsafe.Pointer(whole))
				n := min(room, payload-i*room)
				data.DataOff, data.DataLen, data.PktLen = whole.DataOff+uint16(header+i*room), uint16(n), uint32(n)
				if !bindings.Chain(unsafe.Pointer(m), unsafe.Pointer(data)) {
					panic("not chained")
				}
			}
		}, 2 * pieces},
	} {
		b.Run(way.name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if err := testRuntime.RegisterThread(); err != nil {
				b.Fatal(err)
			}
			defer testRuntime.UnregisterThread()
			pool := testRuntime.Pool(0)
			array := bindings.NewMbufArray(1 + 2*pieces)
			defer bindings.FreeMbufArray(array)
			list := unsafe.Slice((**packet.Mbuf)(array), 1+2*pieces)
			best := time.Hour
			calls := time.Hour
			for b.Loop() {
				const rounds = 64
				start := time.Now()
				for range rounds {
					if !pool.Alloc(array, 1+way.mbufs) {
						b.Fatal("pool is empty")
					}
					list[0].DataLen, list[0].PktLen = header+payload, header+payload
					way.make(list[0], list[1:1+way.mbufs])
					pool.Free(array, 1+pieces) // a chain goes with its head
				}
				best = min(best, time.Since(start)/rounds)
				start = time.Now()
				for range rounds * way.extraC {
					bindings.Echo(1)
				}
				calls = min(calls, time.Since(start)/rounds)
			}
			b.ReportMetric(float64(best.Nanoseconds()-calls.Nanoseconds())/pieces, "ns/fragment")
			b.ReportMetric(0, "ns/op")
		})
	}
}

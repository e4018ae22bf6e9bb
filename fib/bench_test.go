package fib

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// internet4 makes n distinct IPv4 prefixes with lengths about as in the global
// table: 60 % /24, the rest shorter, 1 % longer (which that table has not, but
// provider networks have).
func internet4(rng *rand.Rand, n int) []netip.Prefix {
	lengths := []struct{ percent, bits int }{
		{60, 24}, {10, 23}, {11, 22}, {5, 21}, {4, 20}, {3, 19}, {2, 18}, {1, 17}, {2, 16}, {1, 15}, {1, 29}}
	seen := make(map[netip.Prefix]struct{}, n)
	out := make([]netip.Prefix, 0, n)
	for len(out) < n {
		bits, roll := 24, rng.IntN(100)
		for _, l := range lengths {
			if roll -= l.percent; roll < 0 {
				bits = l.bits
				break
			}
		}
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], rng.Uint32N(0xdf000000-0x01000000)+0x01000000)
		p := netip.PrefixFrom(netip.AddrFrom4(a), bits).Masked()
		if _, twice := seen[p]; !twice {
			seen[p] = struct{}{}
			out = append(out, p)
		}
	}
	return out
}

// internet6 makes n distinct IPv6 prefixes in 16,384 /32s of 2000::/4, half of
// them /48, the rest /32 to /47 and some /64.
func internet6(rng *rand.Rand, n int) []netip.Prefix {
	seen := make(map[netip.Prefix]struct{}, n)
	out := make([]netip.Prefix, 0, n)
	for len(out) < n {
		bits := 48
		switch roll := rng.IntN(100); {
		case roll < 15:
			bits = 32
		case roll < 45:
			bits = 33 + rng.IntN(15)
		case roll < 50:
			bits = 64
		}
		var a [16]byte
		binary.BigEndian.PutUint64(a[:], rng.Uint64())
		binary.BigEndian.PutUint32(a[:], 0x20000000|rng.Uint32N(1<<14)*16411&0x0fffffff)
		p := netip.PrefixFrom(netip.AddrFrom16(a), bits).Masked()
		if _, twice := seen[p]; !twice {
			seen[p] = struct{}{}
			out = append(out, p)
		}
	}
	return out
}

// loaded is a table with the prefixes over 64 gateways, resolved.
func loaded(t testing.TB, prefixes []netip.Prefix) *Table {
	tab := newTable(t, DefaultOptions())
	must(t, tab.SetInterface(Interface{Index: 1, MAC: macA, MTUBytes: 1500}),
		tab.AddAddress(1, pfx("240.0.0.1/16")), tab.AddAddress(1, pfx("3fff::1/64"))) // outside all prefixes
	hops4, hops6 := gateways(t, tab)
	for i, p := range prefixes {
		hops := hops4[i%len(hops4) : i%len(hops4)+1]
		if p.Addr().Is6() {
			hops = hops6[i%len(hops6) : i%len(hops6)+1]
		}
		if err := tab.Add(Route{Prefix: p, Hops: hops}); err != nil {
			t.Fatal(err)
		}
	}
	return tab
}

func gateways(t testing.TB, tab *Table) (hops4, hops6 []Hop) {
	for i := range 64 {
		g4 := netip.AddrFrom4([4]byte{240, 0, 1, byte(i + 1)})
		g6 := netip.AddrFrom16([16]byte{0: 0x3f, 1: 0xff, 15: byte(i + 2)})
		hops4, hops6 = append(hops4, Hop{Via: g4}), append(hops6, Hop{Via: g6})
	}
	return hops4, hops6
}

// pick gives n addresses inside random prefixes of the set.
func pick4(rng *rand.Rand, prefixes []netip.Prefix, n int) []uint32 {
	out := make([]uint32, n)
	for i := range out {
		p := prefixes[rng.IntN(len(prefixes))]
		a := p.Addr().As4()
		out[i] = binary.BigEndian.Uint32(a[:]) | rng.Uint32()&uint32(1<<(32-p.Bits())-1)
	}
	return out
}

const benchBurst = 64

func perPacket(b *testing.B, burst int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(burst), "ns/pkt")
}

func BenchmarkLookup4(b *testing.B) {
	for _, size := range benchSizes {
		rng := rand.New(rand.NewPCG(3, 4))
		prefixes, inside := benchInput(size.routes, size.dsts)
		tab := loaded(b, prefixes)
		for _, kind := range []string{"inside", "random"} {
			dst := inside
			if kind == "random" {
				for i := range dst {
					dst[i] = rng.Uint32()
				}
			}
			for _, burst := range []int{1, benchBurst} {
				b.Run(fmt.Sprintf("routes=%d/dsts=%d/%s/burst=%d", size.routes, size.dsts, kind, burst), func(b *testing.B) {
					out := make([]AdjacencyIndex, burst)
					at := 0
					for b.Loop() {
						tab.ResolveBatch4(dst[at:at+burst], out)
						at = (at + burst) & (len(dst) - 1)
					}
					perPacket(b, burst)
				})
			}
			b.Run(fmt.Sprintf("routes=%d/dsts=%d/%s/withAdjacency", size.routes, size.dsts, kind), func(b *testing.B) {
				var at [benchBurst]AdjacencyIndex
				var sum uint32
				n := 0
				for b.Loop() {
					tab.ResolveBatch4(dst[n:n+benchBurst], at[:])
					for _, i := range at {
						sum += uint32(tab.Adjacency(i).MTUBytes)
					}
					n = (n + benchBurst) & (len(dst) - 1)
				}
				sink = sum
				perPacket(b, benchBurst)
			})
		}
	}
}

var sink uint32

func BenchmarkLookup6(b *testing.B) {
	for _, size := range benchSizes {
		prefixes, headers := benchInput6(size.routes, size.dsts)
		tab := loaded(b, prefixes)
		dst := make([]*[16]byte, len(headers))
		for i := range dst {
			dst[i] = &headers[i]
		}
		b.Run(fmt.Sprintf("routes=%d/dsts=%d/burst=%d", size.routes, size.dsts, benchBurst), func(b *testing.B) {
			var out [benchBurst]AdjacencyIndex
			at := 0
			for b.Loop() {
				tab.ResolveBatch6(dst[at:at+benchBurst], out[:])
				at = (at + benchBurst) & (len(dst) - 1)
			}
			perPacket(b, benchBurst)
		})
	}
}

// BenchmarkLoad reports the time to load a full table, one Add at a time and in
// random order, and what it takes of memory.
func BenchmarkLoad(b *testing.B) {
	for _, size := range []int{1_000_000, 2_000_000} {
		b.Run(fmt.Sprintf("routes4=%d", size), func(b *testing.B) {
			benchmarkLoad(b, internet4(rand.New(rand.NewPCG(1, 2)), size))
		})
	}
	b.Run("routes6=300000", func(b *testing.B) {
		benchmarkLoad(b, internet6(rand.New(rand.NewPCG(1, 2)), 300_000))
	})
}

func benchmarkLoad(b *testing.B, prefixes []netip.Prefix) {
	for range b.N {
		heap, resident := heapBytes(), residentBytes(b)
		start := time.Now()
		tab := loaded(b, prefixes)
		took := time.Since(start)
		heap = heapBytes() - heap
		s := tab.Stats()
		b.ReportMetric(took.Seconds(), "s/load")
		b.ReportMetric(float64(heap)/float64(len(prefixes)), "heapB/route")
		b.ReportMetric(float64(residentBytes(b)-resident)/(1<<20), "MiB")
		b.ReportMetric(float64(s.Groups4+s.Groups6), "groups")
		must(b, tab.Close()) // or the next one adds to it
	}
}

func heapBytes() uint64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// residentBytes is what the process has in memory, tables and heap.
func residentBytes(b *testing.B) int64 {
	text, err := os.ReadFile("/proc/self/statm")
	must(b, err)
	var size, resident int64
	_, err = fmt.Sscan(string(text), &size, &resident)
	must(b, err)
	return resident * int64(os.Getpagesize())
}

// BenchmarkChurn adds and deletes routes of a full table.
func BenchmarkChurn(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	prefixes := internet4(rng, 1_000_000)
	tab := loaded(b, prefixes)
	hop := []Hop{{Via: netip.MustParseAddr("240.0.2.2")}}
	rng.Shuffle(len(prefixes), func(i, j int) { prefixes[i], prefixes[j] = prefixes[j], prefixes[i] })
	i := 0
	for b.Loop() {
		p := prefixes[i%len(prefixes)]
		i++
		must(b, tab.Delete(p))
		must(b, tab.Add(Route{Prefix: p, Hops: hop}))
	}
}

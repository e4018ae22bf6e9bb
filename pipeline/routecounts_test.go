package pipeline

import (
	"fmt"
	"net/netip"
	"testing"
	"unsafe"

	"ffwd/fib"

	"github.com/gopacket/gopacket/layers"
)

// countsOf is what the worker has counted for the route that packets to an address take.
func (w *world) countsOf(addr string) (route fib.Count, hops []fib.Count) {
	w.t.Helper()
	info, ok := w.table.Route(netip.MustParseAddr(addr))
	if !ok {
		w.t.Fatalf("no route to %s", addr)
	}
	keys := []fib.Counter{info.Counter}
	for _, h := range info.Hops {
		keys = append(keys, h.Counter)
	}
	sum := make([]fib.Count, len(keys))
	w.worker.AddRouteCounts(0, keys, sum)
	return sum[0], sum[1:]
}

func (w *world) route(r fib.Route) {
	w.t.Helper()
	if err := w.table.Add(r); err != nil {
		w.t.Fatal(err)
	}
}

// to4 is a datagram of n bytes of payload from A, whatever its route does.
func to4(dst string, n int) []byte {
	return frame(ip4(a4, netip.MustParseAddr(dst), layers.IPProtocolUDP), udp(1000, 53), data(n))
}

// Packets and bytes are counted for the next hop that the lookup chose, whatever
// it is; a route with counters of its own shares them with nobody. FF-12
func TestRoutesAreCounted(t *testing.T) {
	w := newWorld(t)
	via := []fib.Hop{{Via: b4}}
	p := netip.MustParsePrefix
	w.route(fib.Route{Prefix: p("20.0.0.0/8"), Hops: via})
	w.route(fib.Route{Prefix: p("21.0.0.0/8"), Hops: via})
	w.route(fib.Route{Prefix: p("22.0.0.0/8"), Hops: via, Counters: true})
	w.route(fib.Route{Prefix: p("23.0.0.0/8"), Type: fib.RouteBlackhole, Counters: true})
	w.send(0, to4("20.1.1.1", 10), to4("21.1.1.1", 100), to4("22.1.1.1", 1), to4("20.2.2.2", 20), // a mixed burst
		to4("23.1.1.1", 5), to4("192.0.2.1", 7))
	w.send(0, to4("22.1.1.1", 2), to4("22.2.2.2", 3)) // a burst that goes one way
	const headers = 20 + 8
	for addr, want := range map[string]fib.Count{
		"20.1.1.1":  {Packets: 3, Bytes: 3*headers + 130}, // shared with 21/8
		"21.1.1.1":  {Packets: 3, Bytes: 3*headers + 130},
		"22.1.1.1":  {Packets: 3, Bytes: 3*headers + 6},
		"23.1.1.1":  {Packets: 1, Bytes: headers + 5},
		"192.0.2.1": {Packets: 1, Bytes: headers + 7}, // the blackhole that all others share
	} {
		if got, _ := w.countsOf(addr); got != want {
			t.Errorf("%s: %+v, want %+v", addr, got, want)
		}
		info, _ := w.table.Route(netip.MustParseAddr(addr))
		if shared := addr != "22.1.1.1" && addr != "23.1.1.1"; info.Shared != shared {
			t.Errorf("%s: shared is %v", addr, info.Shared)
		}
	}
}

// A set of hops counts as a whole and by member, for IPv6 too. FF-12, FF-16
func TestMembersAreCounted(t *testing.T) {
	w := newWorld(t)
	b := netip.MustParseAddr("fd01:2::9")
	if err := w.table.SetNeighbour(ifWAN, b, macB); err != nil {
		t.Fatal(err)
	}
	w.route(fib.Route{Prefix: netip.MustParsePrefix("2001:db8::/32"), Hops: []fib.Hop{{Via: b6}, {Via: b}}})
	const n = 60
	for i := range n {
		dst := netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1))
		w.send(0, frame(ip6(a6, dst, layers.IPProtocolUDP), udp(1000, 53), data(4)))
	}
	route, hops := w.countsOf("2001:db8::1")
	if len(hops) != 2 || hops[0].Plus(hops[1]) != route || route != (fib.Count{Packets: n, Bytes: n * 52}) ||
		hops[0].Packets < n/5 || hops[1].Packets < n/5 {
		t.Errorf("route %+v, hops %+v", route, hops)
	}
}

// A next hop that has the ID of one that went begins at nothing. FF-12
func TestReusedNextHopCountsAnew(t *testing.T) {
	w := newWorld(t)
	p := netip.MustParsePrefix("20.0.0.0/8")
	var last fib.Counter
	for i := range 3 {
		w.route(fib.Route{Prefix: p, Hops: []fib.Hop{{Via: b4}}, Counters: true})
		if got, _ := w.countsOf("20.1.1.1"); got != (fib.Count{}) {
			t.Errorf("time %d: begins at %+v", i, got)
		}
		w.send(0, to4("20.1.1.1", 10))
		if got, _ := w.countsOf("20.1.1.1"); got.Packets != 1 {
			t.Errorf("time %d: %+v", i, got)
		}
		stale := make([]fib.Count, 1)
		if w.worker.AddRouteCounts(0, []fib.Counter{last}, stale); i > 0 && stale[0] != (fib.Count{}) {
			t.Errorf("time %d: one that went counts %+v", i, stale)
		}
		info, _ := w.table.Route(netip.MustParseAddr("20.1.1.1"))
		last = info.Counter
		if err := w.table.Delete(p); err != nil { // no epoch in this table: the ID is free at once
			t.Fatal(err)
		}
	}
}

// BenchmarkRouteCount measures what the counters of next hops cost a packet: a
// burst that goes one way, and one whose packets go 64 ways.
func BenchmarkRouteCount(b *testing.B) {
	for _, ways := range []int{1, 2, 64} {
		b.Run(fmt.Sprintf("ways=%d", ways), func(b *testing.B) {
			w := newWorld(b)
			const burst = 64
			for i := range burst {
				dst := netip.AddrFrom4([4]byte{20, byte(i % ways), 1, 1})
				w.route(fib.Route{Prefix: netip.PrefixFrom(dst, 16).Masked(), Hops: []fib.Hop{{Via: b4}}, Counters: true})
				w.rx[0].frames = append(w.rx[0].frames, to4(dst.String(), 18))
			}
			worker := w.worker
			w.rx[0].Rx(unsafe.Pointer(&worker.inbox[0]), burst)
			worker.burst.N = burst
			worker.stages[stageParse].Process(&worker.burst)
			route := worker.stages[stageRoute].(*Route)
			route.Process(&worker.burst)
			for b.Loop() {
				route.v4.count(w.table, worker.counts[0])
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*burst), "ns/pkt")
			if got, _ := w.countsOf("20.0.1.1"); got.Packets == 0 {
				b.Fatal("nothing was counted")
			}
			w.pool.Free(unsafe.Pointer(&worker.inbox[0]), burst)
		})
	}
}

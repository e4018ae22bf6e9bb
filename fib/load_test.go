package fib

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ffwd/epoch"
)

// load is a table under routes that stay, each with routes below it that come and
// go. Every route has a gateway of its own whose address and MAC say its number,
// so that a reader knows of each answer whose it is. The epoch is the switch's.
type load struct {
	tab    *Table
	domain *domain
	stay   int            // the first so many prefixes stay
	routes []netip.Prefix // by number
	dst4   []uint32
	want4  [][]int // by destination: the routes that may answer
	dst6   []*[16]byte
	want6  [][]int
}

const loadRoutes = 512 // of each family; as many stay

func newLoad(t testing.TB, o Options) *load {
	l := &load{domain: &domain{}}
	o.Retirer = l.domain
	l.tab = newTable(t, o)
	l.domain.table = l.tab
	rng := rand.New(rand.NewPCG(5, 6))
	must(t, l.tab.SetInterface(Interface{Index: 1, MAC: macA, MTUBytes: 1500}))
	for i := range loadRoutes {
		l.routes = append(l.routes,
			netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i / 4), byte(i % 4 * 64), 0}), 18),
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 4: byte(i >> 8), 5: byte(i)}), 48))
	}
	l.stay = len(l.routes)
	for i := range l.stay {
		up := l.routes[i]
		bits := up.Bits() + 1 + rng.IntN(up.Addr().BitLen()-up.Bits())
		a := up.Addr().AsSlice()
		a[len(a)-1] |= byte(rng.Uint32())
		a[len(a)-2] |= byte(rng.Uint32()) & 0x3f
		if len(a) == 16 {
			binary.BigEndian.PutUint64(a[6:], rng.Uint64())
		}
		addr, _ := netip.AddrFromSlice(a)
		l.routes = append(l.routes, netip.PrefixFrom(addr, bits).Masked())
	}
	for i, p := range l.routes {
		mac := MAC{0: 2}
		binary.BigEndian.PutUint32(mac[2:], uint32(i))
		must(t, l.tab.SetNeighbour(1, l.gateway(i), mac))
		if i < l.stay {
			must(t, l.tab.Add(l.route(i)))
		}
		for _, a := range edges(p) {
			l.aim(a)
		}
	}
	return l
}

// gateway is that of route i.
func (l *load) gateway(i int) netip.Addr {
	a := [16]byte{0: 0xfd, 1: 1}
	binary.BigEndian.PutUint32(a[12:], uint32(i)+1)
	return netip.AddrFrom16(a)
}

func (l *load) route(i int) Route {
	return Route{Prefix: l.routes[i], Hops: []Hop{{Via: l.gateway(i), Iface: 1}}}
}

// aim makes a a destination, if a route that stays covers it: there is an answer
// for it at every moment.
func (l *load) aim(a netip.Addr) {
	var may []int
	for i, p := range l.routes {
		if p.Contains(a) {
			may = append(may, i)
		}
	}
	switch {
	case len(may) == 0 || may[0] >= l.stay:
	case a.Is4():
		l.dst4, l.want4 = append(l.dst4, binary.BigEndian.Uint32(a.AsSlice())), append(l.want4, may)
	default:
		b := a.As16()
		l.dst6, l.want6 = append(l.dst6, &b), append(l.want6, may)
	}
}

// forward looks up bursts as a worker does, until stopped, and holds every answer
// against the routes that may give it. It returns how many packets it forwarded.
func (l *load) forward(t testing.TB, m *epoch.Member, stop *atomic.Bool) (packets int64) {
	m.Online()
	defer m.Offline()
	const burst = 64
	var at [burst]AdjacencyIndex
	ok := func(want []int, a *Adjacency) bool {
		n := int(binary.BigEndian.Uint32(a.gateway[12:])) - 1
		for _, may := range want {
			if n == may && a.Kind == Forward && int(binary.BigEndian.Uint32(a.L2[2:])) == n {
				return true
			}
		}
		t.Errorf("%v by route %d, want one of %v", a.Kind, n, want)
		return false
	}
	for i4, i6 := 0, 0; !stop.Load(); {
		m.Quiescent()
		l.tab.ResolveBatch4(l.dst4[i4:i4+burst], at[:])
		for i, n := range at {
			if !ok(l.want4[i4+i], l.tab.Adjacency(n)) {
				return packets
			}
		}
		l.tab.ResolveBatch6(l.dst6[i6:i6+burst], at[:])
		for i, n := range at {
			if !ok(l.want6[i6+i], l.tab.Adjacency(n)) {
				return packets
			}
		}
		packets += 2 * burst
		if i4 += burst; i4+burst > len(l.dst4) {
			i4 = 0
		}
		if i6 += burst; i6+burst > len(l.dst6) {
			i6 = 0
		}
	}
	return packets
}

// churn adds and deletes n routes one by one and frees what may be freed. What
// has no room waits for the readers.
func (l *load) churn(t testing.TB, n int) {
	rng := rand.New(rand.NewPCG(7, 8))
	there := make([]bool, len(l.routes))
	for done := 0; done < n; {
		i := l.stay + rng.IntN(len(l.routes)-l.stay)
		var err error
		if there[i] {
			err = l.tab.Delete(l.routes[i])
		} else {
			err = l.tab.Add(l.route(i))
		}
		if err == nil {
			there[i] = !there[i]
			done++
		} else if l.domain.Lag() == 0 {
			t.Errorf("%v: %v", l.routes[i], err)
			return
		}
		if done%16 == 0 {
			l.domain.reclaim()
		}
	}
}

// run churns n times while readers forward, and returns what they did.
func (l *load) run(t testing.TB, readers, n int) (packets int64, took time.Duration) {
	var stop atomic.Bool
	var wg sync.WaitGroup
	var total atomic.Int64
	for range readers {
		m := l.domain.Join()
		wg.Go(func() { total.Add(l.forward(t, m, &stop)) })
	}
	start := time.Now()
	l.churn(t, n)
	took = time.Since(start)
	stop.Store(true)
	wg.Wait()
	return total.Load(), took
}

// Routes come and go under load: no packet is without a right answer, and nothing
// that was freed, and poisoned, is found. Run with -race. FF-5, FF-16.
func TestChurnUnderLoadLosesNothing(t *testing.T) {
	l := newLoad(t, small4k())
	n := 200_000
	if testing.Short() || shortestPainted > 0 { // the race detector
		n = 20_000
	}
	packets, took := l.run(t, 3, n)
	if packets == 0 || l.domain.freed == 0 {
		t.Errorf("%d packets, %d freed meanwhile", packets, l.domain.freed)
	}
	t.Logf("%.0f updates/s, %.1f Mpackets/s forwarded and checked", float64(n)/took.Seconds(), float64(packets)/took.Seconds()/1e6)
}

// small4k is small with room for the next hops of a load.
func small4k() Options {
	o := small()
	o.NextHops, o.Groups4, o.Groups6 = 8<<10, 8<<10, 32<<10
	return o
}

// BenchmarkChurnUnderLoad reports the rate of adds and deletes while one reader
// forwards, each answer checked.
func BenchmarkChurnUnderLoad(b *testing.B) {
	l := newLoad(b, small4k())
	b.ResetTimer()
	packets, took := l.run(b, 1, b.N)
	b.ReportMetric(float64(b.N)/took.Seconds(), "updates/s")
	b.ReportMetric(float64(packets)/took.Seconds()/1e6, "Mpkt/s")
}

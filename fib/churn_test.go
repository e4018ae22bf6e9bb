package fib

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// churn is a world in which every next hop names the prefix it is for, so that a
// reader can tell a wrong answer from one that is merely old.
type churn struct {
	tab      *Table
	late     *lateRetirer
	prefixes []netip.Prefix
}

// gateway says for which prefix a hop was made; way tells apart its hops.
func (c *churn) gateway(prefix, way int) netip.Addr {
	a := [16]byte{0: 0xfd, 1: byte(way)}
	binary.BigEndian.PutUint32(a[12:], uint32(prefix)+1)
	return netip.AddrFrom16(a)
}

// check reports whether the answer for dst can ever have been right.
func (c *churn) check(t *testing.T, dst netip.Addr, at AdjacencyIndex, hash uint32) bool {
	if int(at) >= len(c.tab.adjacencies) {
		t.Errorf("%v: adjacency %#x", dst, at)
		return false
	}
	a := c.tab.Member(c.tab.Adjacency(at), hash)
	switch a.Kind {
	case None, Blackhole, Unreachable:
		return true
	case Forward, Glean:
		p := int(binary.BigEndian.Uint32(a.gateway[12:])) - 1
		if p < 0 || p >= len(c.prefixes) || !c.prefixes[p].Contains(dst) {
			t.Errorf("%v: forwarded by prefix %d", dst, p)
			return false
		}
		if a.Kind == Forward && (a.L2[0] != 2 || binary.BigEndian.Uint32(a.L2[2:]) != uint32(p)+1) {
			t.Errorf("%v: the MAC of another neighbour: % x", dst, a.L2)
			return false
		}
		return true
	}
	t.Errorf("%v: kind %v", dst, a.Kind)
	return false
}

// Readers run while everything changes and freed memory is poisoned: they see
// only what was valid for the address at some time. Run with -race. FF-5, FF-16.
func TestReadersSeeOnlyValidAnswers(t *testing.T) {
	tab, late := newLateTable(t)
	must(t, tab.SetInterface(Interface{Index: 1, MAC: macA, MTUBytes: 1500}),
		tab.SetInterface(Interface{Index: 2, MAC: macB, MTUBytes: 1500}))
	c := &churn{tab: tab, late: late}
	for _, s := range []string{"10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "10.1.1.0/25", "10.1.1.128/30", "10.1.1.129/32",
		"10.1.2.0/26", "2001:db8::/32", "2001:db8:1::/48", "2001:db8:1:1::/64", "2001:db8:1:1::/65", "2001:db8:1:1::1/128", "2001:db8:1:2::/63"} {
		c.prefixes = append(c.prefixes, pfx(s))
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		r := late.join()
		wg.Go(func() {
			c.read(t, r, &stop)
			r.seen.Store(^uint64(0)) // offline: holds nobody back
		})
	}
	rounds := 20000
	if testing.Short() {
		rounds = 2000
	}
	c.write(t, rounds)
	stop.Store(true)
	wg.Wait()
	if late.freed == 0 {
		t.Error("nothing was freed while the readers ran")
	}
}

// read looks up bursts until stopped, quiescent between them.
func (c *churn) read(t *testing.T, r *reader, stop *atomic.Bool) {
	var addrs4, addrs6 []netip.Addr
	for _, p := range c.prefixes {
		for _, a := range edges(p) {
			if a.Is4() {
				addrs4 = append(addrs4, a)
			} else {
				addrs6 = append(addrs6, a)
			}
		}
	}
	dst4, dst6 := make([]uint32, len(addrs4)), make([]*[16]byte, len(addrs6))
	for i, a := range addrs4 {
		dst4[i] = binary.BigEndian.Uint32(a.AsSlice())
	}
	for i, a := range addrs6 {
		b := a.As16()
		dst6[i] = &b
	}
	out4, out6 := make([]AdjacencyIndex, len(addrs4)), make([]AdjacencyIndex, len(addrs6))
	for hash := uint32(0); !stop.Load(); hash++ {
		r.quiescent()
		c.tab.ResolveBatch4(dst4, out4)
		c.tab.ResolveBatch6(dst6, out6)
		for i, a := range addrs4 {
			if !c.check(t, a, out4[i], hash) {
				return
			}
		}
		for i, a := range addrs6 {
			if !c.check(t, a, out6[i], hash) {
				return
			}
		}
	}
}

// write changes routes, neighbours, links and groups at random.
func (c *churn) write(t *testing.T, rounds int) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range rounds {
		i := rng.IntN(len(c.prefixes))
		p := c.prefixes[i]
		iface := uint16(1 + rng.IntN(2))
		var err error
		switch rng.IntN(8) {
		case 0, 1:
			_ = c.tab.Delete(p) // may not be there
		case 2:
			err = c.tab.Add(Route{Prefix: p, Type: RouteBlackhole})
		case 3:
			err = c.tab.Add(Route{Prefix: p, Hops: []Hop{{Via: c.gateway(i, 1), Iface: iface}}})
		case 4:
			err = c.tab.Add(Route{Prefix: p, Hops: []Hop{{Via: c.gateway(i, 1), Iface: 1}, {Via: c.gateway(i, 2), Iface: 2, Weight: 1 + rng.IntN(3)}}})
		case 5:
			mac := MAC{0: 2, 1: byte(rng.IntN(256))}
			binary.BigEndian.PutUint32(mac[2:], uint32(i)+1)
			err = c.tab.SetNeighbour(iface, c.gateway(i, 1+rng.IntN(2)), mac)
		case 6:
			_ = c.tab.DeleteNeighbour(iface, c.gateway(i, 1+rng.IntN(2)))
		case 7:
			err = c.tab.SetLink(iface, rng.IntN(4) > 0)
		}
		if err != nil {
			// A reader that does not get the processor holds up all reuse.
			if waiting(c.late) == 0 {
				t.Errorf("%v: %v", p, err)
				return
			}
		}
		c.late.reclaim()
	}
}

func waiting(l *lateRetirer) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

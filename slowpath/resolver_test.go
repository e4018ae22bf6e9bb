package slowpath

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// newResolverBed is a mirrorBed whose lan leads to a host that has addresses.
func newResolverBed(t *testing.T, used func([]Neighbour) []uint64) (*mirrorBed, *Resolver) {
	b := newMirrorBed(t, nil)
	host := newNetns(t)
	b.ip("link set lan-x netns " + host)
	for _, line := range []string{"sysctl -qw net.ipv6.conf.lan-x.disable_ipv6=0 net.ipv6.conf.lan-x.accept_dad=0", "ip link set lan-x up",
		"ip addr add 10.1.0.2/24 dev lan-x", "ip addr add fd01::2/64 dev lan-x nodad"} {
		in(t, host, strings.Fields(line)...)
	}
	b.ip("addr add 10.1.0.1/24 dev lan\naddr add fd01::1/64 dev lan nodad")
	c := b.config()
	r, err := OpenResolver(ResolverConfig{Netns: c.Netns, Mirror: b.mirror, Workers: 2, Used: used, freshInterval: time.Millisecond, Index: func(uint16) int {
		b.mirror.neighbours.mu.Lock()
		defer b.mirror.neighbours.mu.Unlock()
		return int(b.mirror.neighbours.twins.indexOf(lan))
	}})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	t.Cleanup(func() {
		r.Stop()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, r
}

func nobody(list []Neighbour) []uint64 { return make([]uint64, len(list)) }

// What workers ask for the kernel finds, and it comes back by the mirror; what does
// not answer is forgotten. SP-3
func TestResolverFindsNeighbours(t *testing.T) {
	b, r := newResolverBed(t, nobody)
	for worker, addr := range []string{"10.1.0.2", "fd01::2"} {
		for range 10 { // again and again, as a stream of packets does
			if !r.Asker(worker).Ask(lan, netip.MustParseAddr(addr)) {
				t.Fatal("a question was refused")
			}
		}
		eventually(t, addr+" is known", func() bool {
			for _, n := range b.tables[0].Neighbours() {
				if n.Addr.String() == addr && n.Iface == lan {
					return true
				}
			}
			return false
		})
	}
	if s := r.Status(); s.Asked < 2 || s.Asked >= 20 || s.Errors != 0 {
		t.Errorf("%+v", s)
	}
	r.Asker(0).Ask(lan, netip.MustParseAddr("10.1.0.77"))
	eventually(t, "the silent one is given up", func() bool { return r.Status().Forgotten == 1 && r.Status().Waiting == 0 })
	if list := in(t, b.ns, "ip", "neigh", "show", "10.1.0.77"); list != "" {
		t.Errorf("the kernel still has %s", list)
	}
}

// A question right behind another is not lost: somebody may have made the kernel forget the answer
// in between, and the worker asks again only half a second later. SP-3
func TestResolverAsksAgainForWhatIsFlushed(t *testing.T) {
	b, r := newResolverBed(t, nobody)
	addr := netip.MustParseAddr("10.1.0.2")
	known := func() bool {
		for _, n := range b.tables[0].Neighbours() {
			if n.Addr == addr {
				return true
			}
		}
		return false
	}
	for range 10 {
		r.Asker(0).Ask(lan, addr)
		eventually(t, "the neighbour is known", known)
		b.ip("neigh del 10.1.0.2 dev lan")
		eventually(t, "the neighbour is forgotten", func() bool { return !known() })
	}
}

// A scan of more addresses than may be asked for at a time leaves the kernel's table
// below its bounds, and the rest of the questions wait. SP-3
func TestResolverBoundsAScan(t *testing.T) {
	b, r := newResolverBed(t, nobody)
	addr, taken := netip.MustParseAddr("10.1.1.0"), 0
	b.ip("addr add 10.1.0.1/16 dev lan")
	eventually(t, "as many as may be are asked for, and more wait", func() bool {
		for range 100 {
			if addr = addr.Next(); r.Asker(0).Ask(lan, addr) {
				taken++
			}
		}
		return taken == maxAsked+askSlots
	})
	if s := r.Status(); s.Asked != maxAsked || r.Asker(0).Ask(lan, addr) {
		t.Errorf("%d questions were taken: %+v", taken, s)
	}
	if n := strings.Count(in(t, b.ns, "ip", "neigh", "show", "dev", "lan"), "\n"); n > maxAsked+10 {
		t.Errorf("the kernel has %d neighbours", n)
	}
	eventually(t, "the rest has its turn", func() bool { return r.Status().Asked > maxAsked })
}

// Stale neighbours by which packets go are probed, the others are left to age. SP-3
func TestResolverKeepsNeighboursInUseFresh(t *testing.T) {
	var mu sync.Mutex
	packets := uint64(0)
	b, r := newResolverBed(t, func(list []Neighbour) []uint64 {
		mu.Lock()
		defer mu.Unlock()
		packets++
		counts := make([]uint64, len(list))
		for i, n := range list {
			if n.Addr.Is4() {
				counts[i] = packets
			}
		}
		return counts
	})
	in(t, b.ns, "sysctl", "-qw", "net.ipv4.neigh.lan.delay_first_probe_time=1", "net.ipv4.neigh.lan.retrans_time_ms=100")
	b.ip("neigh replace 10.1.0.2 dev lan lladdr 02:00:00:00:00:99 nud stale\nneigh replace fd01::2 dev lan lladdr 02:00:00:00:00:99 nud stale")
	eventually(t, "both are mirrored", func() bool { return len(b.mirror.stale()) == 2 })
	eventually(t, "the one in use is probed", func() bool { return r.Status().Refreshed == 1 })
	if list := in(t, b.ns, "ip", "neigh", "show", "fd01::2", "dev", "lan"); !strings.Contains(list, "STALE") {
		t.Errorf("the one that is not in use is %s", list)
	}
	eventually(t, "nobody has that address, and nothing is sent to it any more", func() bool { return len(b.tables[0].Neighbours()) == 1 })
}

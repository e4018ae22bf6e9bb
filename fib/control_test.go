package fib

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// controlModel is what the control side was told, and answers by scanning it.
type controlModel struct {
	up         map[uint16]bool
	addresses  map[uint16][]netip.Prefix // in order of AddAddress
	order      []uint16                  // interface of each address, in the same order over all
	neighbours map[neighbourKey]MAC
	routes     map[netip.Prefix]Route
}

type neighbourKey struct {
	iface uint16
	addr  netip.Addr
}

// verdict is the part of an adjacency the model foretells.
type verdict struct {
	kind  Kind
	iface uint16
	gw    netip.Addr
	mac   MAC
}

// answer scans everything: the longest prefix, and of one length what is ours
// before a route.
func (m *controlModel) answer(a netip.Addr) verdict {
	best, rankBest := -1, 0
	v := verdict{kind: None}
	take := func(p netip.Prefix, rank int, w verdict) {
		if p.Contains(a) && (p.Bits() > best || p.Bits() == best && rank > rankBest) {
			best, rankBest, v = p.Bits(), rank, w
		}
	}
	seen := map[uint16]int{}
	for _, iface := range m.order {
		address := m.addresses[iface][seen[iface]]
		seen[iface]++
		take(hostPrefix(address.Addr()), 4, verdict{kind: Local, iface: iface})
		if address.Bits() < 32 {
			take(address.Masked(), 2, verdict{kind: Glean, iface: iface})
		}
		if address.Bits() < 31 {
			e := edges(address.Masked())
			take(hostPrefix(e[1]), 3, verdict{kind: Broadcast, iface: iface})
		}
	}
	for p, r := range m.routes {
		switch {
		case r.Type == RouteBlackhole:
			take(p, 1, verdict{kind: Blackhole})
		case r.Hops[0].Via.IsValid():
			iface := r.Hops[0].Iface
			if iface == 0 {
				iface = m.home(r.Hops[0].Via)
			}
			take(p, 1, verdict{kind: Forward, iface: iface, gw: r.Hops[0].Via})
		default:
			take(p, 1, verdict{kind: Glean, iface: r.Hops[0].Iface})
		}
	}
	return m.resolve(a, v)
}

// home is the interface whose subnet has a gateway: the longest, among equals the
// earliest; 0 when none has or the gateway is ours.
func (m *controlModel) home(gw netip.Addr) uint16 {
	best, home := -1, uint16(0)
	seen := map[uint16]int{}
	for _, iface := range m.order {
		address := m.addresses[iface][seen[iface]]
		seen[iface]++
		subnet := address.Masked()
		if address.Addr() == gw || subnet.Bits() < 31 && gw == edges(subnet)[1] {
			return 0
		}
		if subnet.Bits() < 32 && subnet.Contains(gw) && subnet.Bits() > best {
			best, home = subnet.Bits(), iface
		}
	}
	return home
}

// resolve adds what neighbours and links make of a route.
func (m *controlModel) resolve(a netip.Addr, v verdict) verdict {
	if v.kind != Forward && v.kind != Glean {
		return v
	}
	if v.kind == Glean {
		if mac, known := m.neighbours[neighbourKey{v.iface, a}]; known {
			v = verdict{Forward, v.iface, a, mac}
		}
	} else if mac, known := m.neighbours[neighbourKey{v.iface, v.gw}]; known {
		v.mac = mac
	} else {
		v.kind = Glean
	}
	if !m.up[v.iface] {
		return verdict{kind: Unreachable}
	}
	return v
}

// Addresses, neighbours, links and routes in any order give what a scan of all
// of them gives, and nothing is left when all of them go. FF-5, FF-16.
func TestControlAgreesWithScan(t *testing.T) {
	tab, late := newLateTable(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := &controlModel{up: map[uint16]bool{}, addresses: map[uint16][]netip.Prefix{},
			neighbours: map[neighbourKey]MAC{}, routes: map[netip.Prefix]Route{}}
		for i := range uint16(2) {
			must2(rt, tab.SetInterface(Interface{Index: i + 1, MTUBytes: 1500}))
			m.up[i+1] = true
		}
		down := false
		defer func() { // a failing run must leave the table to the next one
			if !down {
				m.tearDown(rt, tab)
			}
		}()
		rt.Repeat(m.actions(tab, late))
		m.tearDown(rt, tab)
		down = true
		late.reclaim()
		s := tab.Stats()
		if s.NextHops != int(fixedIDs) || s.Adjacencies != int(fixedIDs) || s.Prefixes4+s.Groups4+s.ECMPGroups+len(tab.Neighbours()) != 0 {
			rt.Fatalf("left behind: %+v", s)
		}
	})
}

// few draws one of 16 addresses, so that everything meets.
func few(t *rapid.T, what string) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(0, 15).Draw(t, what))})
}

func someIface(t *rapid.T) uint16 { return uint16(rapid.IntRange(1, 2).Draw(t, "iface")) }

func (m *controlModel) actions(tab *Table, late *lateRetirer) map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"addAddress": func(t *rapid.T) {
			iface := someIface(t)
			a := netip.PrefixFrom(few(t, "address"), rapid.IntRange(28, 32).Draw(t, "bits"))
			if tab.AddAddress(iface, a) == nil {
				m.addresses[iface] = append(m.addresses[iface], a)
				m.order = append(m.order, iface)
			}
		},
		"removeAddress": func(t *rapid.T) {
			iface := someIface(t)
			if n := len(m.addresses[iface]); n > 0 {
				m.removeAddress(t, tab, iface, rapid.IntRange(0, n-1).Draw(t, "which"))
			}
		},
		"neighbour": func(t *rapid.T) {
			k := neighbourKey{someIface(t), few(t, "neighbour")}
			m.neighbours[k] = MAC{2, byte(rapid.IntRange(0, 3).Draw(t, "mac"))}
			must2(t, tab.SetNeighbour(k.iface, k.addr, m.neighbours[k]))
		},
		"forget": func(t *rapid.T) {
			k := neighbourKey{someIface(t), few(t, "neighbour")}
			if _, known := m.neighbours[k]; known {
				must2(t, tab.DeleteNeighbour(k.iface, k.addr))
				delete(m.neighbours, k)
			}
		},
		"link": func(t *rapid.T) {
			iface := someIface(t)
			m.up[iface] = rapid.Bool().Draw(t, "up")
			must2(t, tab.SetLink(iface, m.up[iface]))
		},
		"route": func(t *rapid.T) { m.addRoute(t, tab) },
		"delete": func(t *rapid.T) {
			p, _ := few(t, "route").Prefix(rapid.IntRange(26, 32).Draw(t, "bits"))
			if _, there := m.routes[p]; there {
				must2(t, tab.Delete(p))
				delete(m.routes, p)
			}
		},
		"": func(t *rapid.T) {
			late.reclaim()
			for i := range 17 {
				a := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
				adj := tab.Resolve(find(tab, a))
				got := verdict{adj.Kind, adj.Iface, adj.Gateway(), MAC(adj.L2[:6])}
				if want := m.answer(a); got != want {
					t.Fatalf("%v: %+v, want %+v", a, got, want)
				}
			}
		},
	}
}

func (m *controlModel) addRoute(t *rapid.T, tab *Table) {
	p, _ := few(t, "route").Prefix(rapid.IntRange(26, 32).Draw(t, "bits"))
	r := Route{Prefix: p, Type: RouteBlackhole}
	if form := rapid.IntRange(0, 3).Draw(t, "form"); form > 0 {
		r = Route{Prefix: p, Hops: []Hop{{Iface: someIface(t)}}}
		if form >= 2 {
			r.Hops[0].Via = few(t, "gateway")
		}
		if form == 3 {
			r.Hops[0].Iface = 0
		}
	}
	if tab.Add(r) == nil { // a gateway of our own or without a subnet is refused
		m.routes[p] = r
	}
}

func (m *controlModel) removeAddress(t rapid.TB, tab *Table, iface uint16, n int) {
	must2(t, tab.RemoveAddress(iface, m.addresses[iface][n]))
	m.addresses[iface] = slices.Delete(slices.Clone(m.addresses[iface]), n, n+1)
	for i, owner := range m.order {
		if owner != iface {
			continue
		}
		if n == 0 {
			m.order = slices.Delete(m.order, i, i+1)
			return
		}
		n--
	}
	panic(fmt.Sprint("no such address on ", iface))
}

func (m *controlModel) tearDown(t rapid.TB, tab *Table) {
	for p := range m.routes {
		must2(t, tab.Delete(p))
	}
	for i := range uint16(2) {
		must2(t, tab.RemoveInterface(i+1))
	}
}

// Whoever wants the table's size does not wait for a change under way, and sees it grow.
func TestStatsDoNotWait(t *testing.T) {
	tab := newTable(t, small())
	tab.mu.Lock()
	if err := tab.setLayers(netip.MustParsePrefix("10.0.0.0/8"), layers{}, layers{route: BlackholeID}); err != nil {
		t.Error(err)
	}
	s := tab.Stats()
	tab.mu.Unlock()
	if s.Prefixes4 != 1 || s.MappedBytes == 0 {
		t.Errorf("%+v", s)
	}
}

package slowpath

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"ffwd/fib"
)

// mirrorBed is a kernel namespace with two twins, lan and wan, a device that is
// none, mgmt, and the tables that a Mirror keeps.
type mirrorBed struct {
	t      *testing.T
	ns     string
	tables []*fib.Table
	mirror *Mirror

	differed bool // what agree compared
}

const (
	lan = iota + 1
	wan
)

func newMirrorBed(t *testing.T, change func(*MirrorConfig)) *mirrorBed {
	t.Helper()
	b := &mirrorBed{t: t, ns: newNetns(t)}
	b.ip("link set lo up")
	for _, name := range []string{"lan", "wan", "mgmt"} {
		b.ip(fmt.Sprintf("link add %[1]s type veth peer name %[1]s-x\nlink set %[1]s up\nlink set %[1]s-x up", name))
	}
	for _, name := range []string{"lan", "wan"} {
		in(t, b.ns, "sysctl", "-qw", "net.ipv6.conf."+name+".disable_ipv6=0", "net.ipv6.conf."+name+".accept_dad=0")
	}
	b.start(change)
	return b
}

// start opens the mirror on new tables.
func (b *mirrorBed) start(change func(*MirrorConfig)) {
	b.t.Helper()
	b.tables = b.newTables()
	c := b.config()
	if change != nil {
		change(&c)
	}
	var err error
	if b.mirror, err = OpenMirror(b.t.Context(), c); err != nil {
		b.t.Fatal(err)
	}
	mirror := b.mirror
	b.t.Cleanup(func() {
		if err := mirror.Close(); err != nil {
			b.t.Error(err)
		}
	})
}

func (b *mirrorBed) config() MirrorConfig {
	ns, err := OpenNetns(b.ns)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { ns.Close() })
	return MirrorConfig{
		Netns: ns, Tables: b.tables, Kernel: map[uint32]uint16{254: 0, 100: 1},
		Twins:       []MirroredTwin{{Iface: lan, Table: 0, Name: "lan"}, {Iface: wan, Table: 0, Name: "wan"}},
		OnAddresses: func(uint16, []netip.Prefix) {},
		Log:         slog.New(slog.NewTextHandler(b.t.Output(), nil)),
	}
}

func (b *mirrorBed) newTables() (tables []*fib.Table) {
	for vrf := range 2 {
		table, err := fib.New(fib.Options{MaxRoutes4: 1 << 18, MaxRoutes6: 1 << 18, Groups4: 4096, Groups6: 1 << 16, NextHops: 4096, ECMPGroups: 64})
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { table.Close() })
		for _, iface := range []uint16{lan, wan} {
			if vrf == 0 {
				if err := table.SetInterface(fib.Interface{Index: iface, MTUBytes: 1500, MAC: fib.MAC{2, 0, 0, 0, 0, byte(iface)}}); err != nil {
					b.t.Fatal(err)
				}
			}
		}
		tables = append(tables, table)
	}
	return tables
}

// ip runs ip(8) with a batch of commands.
func (b *mirrorBed) ip(batch string) {
	b.t.Helper()
	if out, err := b.try(batch); err != nil {
		b.t.Fatalf("ip: %v\n%s\n%s", err, out, batch)
	}
}

func (b *mirrorBed) try(batch string) (string, error) {
	c := exec.Command("nsenter", "--net="+b.ns, "ip", "-force", "-batch", "-")
	c.Stdin = strings.NewReader(batch + "\n")
	out, err := c.CombinedOutput()
	return string(out), err
}

// listing is a table as text, without what only a listing of the FIB has.
func listing(table *fib.Table) (lines []string) {
	for r := range table.Routes {
		if r.Origin == fib.OriginNeighbour {
			continue
		}
		line := fmt.Sprintf("%s %s %s proto %d", r.Prefix, r.Origin, r.Kind, r.Protocol)
		hops := make([]string, len(r.Hops))
		for i, h := range r.Hops {
			hops[i] = fmt.Sprintf(" [%v if%d x%d]", h.Via, h.Iface, h.Weight)
		}
		slices.Sort(hops)
		line += strings.Join(hops, "")
		if r.MTUBytes != 0 {
			line += fmt.Sprintf(" mtu %d", r.MTUBytes)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

// line is what the table has for a prefix, as has wants it.
func (b *mirrorBed) line(vrf int, prefix string) (is string) {
	for _, line := range listing(b.tables[vrf]) {
		if rest, found := strings.CutPrefix(line, prefix+" "); found {
			is += rest
		}
	}
	return is
}

// has waits until the table's line for a prefix is this; "" is none.
func (b *mirrorBed) has(vrf int, prefix, want string) {
	b.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		got := b.line(vrf, prefix)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s is %q, want %q\n%+v", prefix, got, want, b.mirror.Status())
		}
	}
}

// What each kind of kernel route is to the FIB, as it comes and as it goes. SP-2.
func TestMirrorsEveryKindOfRoute(t *testing.T) {
	b := newMirrorBed(t, nil)
	b.ip("addr add 10.1.0.1/24 dev lan\naddr add 10.2.0.1/24 dev wan\naddr add 192.168.9.1/24 dev mgmt\n" +
		"addr add fd01::1/64 dev lan\naddr add fd02::1/64 dev wan\naddr add 10.255.0.1/32 dev lo\n" +
		"nexthop add id 1 via 10.1.0.2 dev lan\nnexthop add id 2 via 10.2.0.2 dev wan\nnexthop add id 3 group 1,3/2\n" +
		"nexthop add id 4 blackhole\nnexthop add id 6 via fd01::2 dev lan")
	for _, c := range []struct{ name, route, prefix, want string }{
		{"gateway", "10.9.0.0/16 via 10.1.0.2", "10.9.0.0/16", "learned forward proto 3 [10.1.0.2 if1 x1]"},
		{"default", "default via 10.1.0.2", "0.0.0.0/0", "learned forward proto 3 [10.1.0.2 if1 x1]"},
		{"protocol", "10.9.0.0/16 via 10.1.0.2 proto bird", "10.9.0.0/16", "learned forward proto 12 [10.1.0.2 if1 x1]"},
		{"on link", "10.9.0.0/16 dev wan", "10.9.0.0/16", "learned glean proto 3 [invalid IP if2 x1]"},
		{"gateway off the subnet", "10.9.0.0/16 via 10.77.0.1 dev wan onlink", "10.9.0.0/16", "learned forward proto 3 [10.77.0.1 if2 x1]"},
		{"weights", "10.9.0.0/16 nexthop via 10.1.0.2 weight 3 nexthop via 10.2.0.2", "10.9.0.0/16", "learned group proto 3 [10.1.0.2 if1 x3] [10.2.0.2 if2 x1]"},
		{"IPv4 over IPv6", "10.9.0.0/16 via inet6 fe80::9 dev lan", "10.9.0.0/16", "learned forward proto 3 [fe80::9 if1 x1]"},
		{"IPv6", "2001:db8::/32 via fd01::2", "2001:db8::/32", "learned forward proto 3 [fd01::2 if1 x1]"},
		{"IPv6 link-local gateway", "2001:db8::/32 via fe80::9 dev wan", "2001:db8::/32", "learned forward proto 3 [fe80::9 if2 x1]"},
		{"IPv6 default", "::/0 via fd01::2", "::/0", "learned forward proto 3 [fd01::2 if1 x1]"},
		{"IPv6 weights", "2001:db8::/32 nexthop via fd01::2 weight 2 nexthop via fd02::2", "2001:db8::/32", "learned group proto 3 [fd01::2 if1 x2] [fd02::2 if2 x1]"},
		{"nexthop object", "10.9.0.0/16 nhid 1", "10.9.0.0/16", "learned forward proto 3 [10.1.0.2 if1 x1]"},
		{"nexthop group", "10.9.0.0/16 nhid 3", "10.9.0.0/16", "learned group proto 3 [10.1.0.2 if1 x3] [10.2.0.2 if2 x1]"},
		{"nexthop blackhole", "10.9.0.0/16 nhid 4", "10.9.0.0/16", "learned blackhole proto 3"},
		{"IPv6 nexthop object", "2001:db8::/32 nhid 6", "2001:db8::/32", "learned forward proto 3 [fd01::2 if1 x1]"},
		{"IPv4 over an IPv6 nexthop object", "10.9.0.0/16 nhid 6", "10.9.0.0/16", "learned forward proto 3 [fd01::2 if1 x1]"},
		{"blackhole", "blackhole 10.9.0.0/16", "10.9.0.0/16", "learned blackhole proto 3"},
		{"unreachable", "unreachable 10.9.0.0/16", "10.9.0.0/16", "learned unreachable proto 3"},
		{"prohibit", "prohibit 2001:db8::/32", "2001:db8::/32", "learned prohibit proto 3"},
		{"by another device", "10.9.0.0/16 via 192.168.9.2", "10.9.0.0/16", "learned punt proto 3"},
		{"into a tunnel", "10.9.0.0/16 encap ip id 7 dst 10.1.0.9 via 10.1.0.2", "10.9.0.0/16", "learned punt proto 3"},
		{"partly by another device", "10.9.0.0/16 nexthop via 192.168.9.2 nexthop via 10.2.0.2", "10.9.0.0/16", "learned forward proto 3 [10.2.0.2 if2 x1]"},
		{"for a type of service", "10.9.0.0/16 tos 0x10 via 10.1.0.2", "10.9.0.0/16", ""},
		{"of another table", "10.9.0.0/16 via 10.1.0.2 table 7", "10.9.0.0/16", ""},
		{"throw", "throw 10.9.0.0/16", "10.9.0.0/16", "learned unreachable proto 3"},
		{"broadcast", "broadcast 10.9.0.255 dev lan", "10.9.0.255/32", "learned punt proto 3"},
		{"local", "local 10.9.0.0/24 dev lo", "10.9.0.0/24", "learned punt proto 3"},
		{"anycast", "anycast 2001:db8::/128 dev lan", "2001:db8::/128", "learned punt proto 3"},
		{"multicast", "ff0e::/16 dev lan", "ff0e::/16", ""},
		{"mtu", "10.9.0.0/16 via 10.1.0.2 mtu 1300", "10.9.0.0/16", "learned forward proto 3 [10.1.0.2 if1 x1] mtu 1300"},
		{"mtu beside other metrics", "10.9.0.0/16 via 10.1.0.2 hoplimit 9 mtu lock 1300 advmss 500", "10.9.0.0/16", "learned forward proto 3 [10.1.0.2 if1 x1] mtu 1300"},
		{"mtu below the least", "10.9.0.0/16 via 10.1.0.2 mtu 60", "10.9.0.0/16", "learned forward proto 3 [10.1.0.2 if1 x1] mtu 68"},
		{"mtu of several ways", "10.9.0.0/16 mtu 1300 nexthop via 10.1.0.2 nexthop via 10.2.0.2", "10.9.0.0/16", "learned group proto 3 [10.1.0.2 if1 x1] [10.2.0.2 if2 x1] mtu 1300"},
		{"mtu on link", "10.9.0.0/16 dev wan mtu 1300", "10.9.0.0/16", "learned glean proto 3 [invalid IP if2 x1] mtu 1300"},
		{"mtu by another device", "10.9.0.0/16 via 192.168.9.2 mtu 1300", "10.9.0.0/16", "learned punt proto 3"},
		{"IPv6 mtu", "2001:db8::/32 via fd01::2 mtu 1300", "2001:db8::/32", "learned forward proto 3 [fd01::2 if1 x1] mtu 1300"},
		{"IPv6 mtu below the least", "2001:db8::/32 via fd01::2 mtu 1000", "2001:db8::/32", "learned forward proto 3 [fd01::2 if1 x1] mtu 1280"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.t = t
			b.ip("route add " + c.route)

			b.synced()
			b.has(0, c.prefix, c.want)
			b.ip("route del " + c.route)
			b.has(0, c.prefix, "")
		})
	}
	b.t = t
	b.has(0, "10.255.0.1/32", "learned punt proto 2") // the router's own, on no port
	b.has(0, "192.168.9.1/32", "learned punt proto 2")
	b.has(0, "192.168.9.0/24", "learned punt proto 2")
}

// synced waits until everything that the kernel has told so far is in the FIB: a
// route that is added last is.
func (b *mirrorBed) synced() {
	b.t.Helper()
	b.ip("route add blackhole 198.51.100.255/32")
	b.has(0, "198.51.100.255/32", "learned blackhole proto 3")
	b.ip("route del blackhole 198.51.100.255/32")
	b.has(0, "198.51.100.255/32", "")
}

// Of several routes to a prefix the one with the least metric counts, and when it
// goes the next. SP-2.
func TestMirrorTakesTheLeastMetric(t *testing.T) {
	b := newMirrorBed(t, nil)
	b.ip("addr add 10.1.0.1/24 dev lan\naddr add fd01::1/64 dev lan")
	for _, c := range []struct{ prefix, gateway string }{{"10.9.0.0/16", "10.1.0."}, {"2001:db8::/32", "fd01::"}} {
		is := func(last string) {
			t.Helper()
			if last == "" {
				b.has(0, c.prefix, "")
				return
			}
			b.has(0, c.prefix, "learned forward proto 3 ["+c.gateway+last+" if1 x1]")
		}
		run := func(what, last, metric string) {
			t.Helper()
			b.ip("route " + what + " " + c.prefix + " via " + c.gateway + last + " metric " + metric)
		}
		run("add", "20", "20")
		is("20")
		run("add", "10", "10")
		is("10")
		run("add", "30", "30")
		run("replace", "11", "10")
		is("11")
		run("del", "11", "10")
		is("20")
		run("del", "20", "20")
		is("30")
		run("del", "30", "30")
		is("")
	}
}

// A second table goes into its own VRF, where twins of the first lead nowhere that
// the fast path could go by itself. SP-2.
func TestMirrorsTablesIntoTheirVRFs(t *testing.T) {
	b := newMirrorBed(t, nil)
	b.ip("addr add 10.1.0.1/24 dev lan\nroute add 10.9.0.0/16 via 10.1.0.2 table 100\nroute add prohibit 10.8.0.0/16 table 100")
	b.has(1, "10.9.0.0/16", "learned punt proto 3")
	b.has(1, "10.8.0.0/16", "learned prohibit proto 3")
	b.has(0, "10.9.0.0/16", "")
}

// A route of the configuration forwards in the place of the kernel's, and both are
// listed; an address of the configuration stays when the kernel's goes. SP-2.
func TestConfigurationWinsOverTheKernel(t *testing.T) {
	own := netip.MustParsePrefix("10.1.0.1/24")
	b := newMirrorBed(t, func(c *MirrorConfig) { c.Own = map[uint16][]netip.Prefix{lan: {own}} })
	if err := b.tables[0].AddAddress(lan, own); err != nil {
		t.Fatal(err)
	}
	if err := b.tables[0].Add(fib.Route{Prefix: netip.MustParsePrefix("10.9.0.0/16"), Type: fib.RouteProhibit}); err != nil {
		t.Fatal(err)
	}
	b.ip("addr add 10.1.0.1/24 dev lan\nroute add 10.9.0.0/16 via 10.1.0.2")
	const kernel = "learned forward proto 3 [10.1.0.2 if1 x1]"
	b.has(0, "10.9.0.0/16", kernel+"route prohibit proto 0")
	b.ip("addr del 10.1.0.1/24 dev lan") // and the kernel drops the route
	b.has(0, "10.9.0.0/16", "route prohibit proto 0")
	b.has(0, "10.1.0.1/32", "local local proto 0 [invalid IP if1 x1]")
}

// Addresses are ours while the kernel has them on a twin, and so are their subnets,
// which for ICMP are those of the addresses, whoever makes the routes. SP-2, FF-5, FF-11.
func TestMirrorsAddresses(t *testing.T) {
	told := make(chan string, 100)
	b := newMirrorBed(t, func(c *MirrorConfig) {
		c.Own = map[uint16][]netip.Prefix{lan: {netip.MustParsePrefix("10.1.0.1/24")}}
		c.OnAddresses = func(iface uint16, all []netip.Prefix) {
			if all = slices.DeleteFunc(all, func(a netip.Prefix) bool { return a.Addr().IsLinkLocalUnicast() }); iface == lan {
				told <- fmt.Sprint(all)
			}
		}
	})
	tells := func(want string) {
		t.Helper()
		for limit := time.After(10 * time.Second); ; {
			select {
			case got := <-told:
				if got == want {
					return
				}
			case <-limit:
				t.Fatal("never told: " + want)
			}
		}
	}
	b.ip("addr add 10.3.0.1/24 dev lan")
	b.has(0, "10.3.0.1/32", "local local proto 0 [invalid IP if1 x1]")
	b.has(0, "10.3.0.0/24", "connected glean proto 0 [invalid IP if1 x1]")
	tells("[10.1.0.1/24 10.3.0.1/24]")
	b.ip("addr add fd03::1/64 dev lan\naddr add fe80::77/64 dev lan")
	b.has(0, "fd03::1/128", "local local proto 0 [invalid IP if1 x1]")
	b.has(0, "fe80::77/128", "local local proto 0 [invalid IP if1 x1]")
	b.ip("addr add 10.4.0.1 peer 10.4.0.2 dev lan\naddr add 10.5.0.1/24 dev lan noprefixroute")
	b.has(0, "10.4.0.1/32", "local local proto 0 [invalid IP if1 x1]")
	b.has(0, "10.4.0.2/32", "learned glean proto 2 [invalid IP if1 x1]")
	b.has(0, "10.5.0.1/32", "local local proto 0 [invalid IP if1 x1]")
	b.has(0, "10.5.0.0/24", "")
	b.has(0, "10.5.0.255/32", "learned punt proto 2") // no host's all the same
	b.has(0, "10.3.0.255/32", "local broadcast proto 0 [invalid IP if1 x1]")
	tells("[10.1.0.1/24 10.3.0.1/24 10.4.0.1/32 10.5.0.1/24 fd03::1/64]")
	b.ip("route add 10.5.0.0/24 dev lan proto kernel scope link src 10.5.0.1 metric 100") // as network managers do
	b.has(0, "10.5.0.0/24", "learned glean proto 2 [invalid IP if1 x1]")
	b.ip("addr del 10.3.0.1/24 dev lan\naddr del fd03::1/64 dev lan")
	b.has(0, "10.3.0.1/32", "")
	b.has(0, "10.3.0.0/24", "")
	b.has(0, "10.3.0.255/32", "")
	b.has(0, "fd03::1/128", "")
	tells("[10.1.0.1/24 10.4.0.1/32 10.5.0.1/24]")
}

// Neighbours are resolved in the states in which the kernel itself would send. SP-2.
func TestMirrorsNeighbours(t *testing.T) {
	static := Neighbour{lan, netip.MustParseAddr("10.1.0.99")}
	b := newMirrorBed(t, func(c *MirrorConfig) { c.Static = map[Neighbour]fib.MAC{static: {2, 9}} })
	table := b.tables[0]
	has := func(addr, mac string) {
		t.Helper()
		eventually(t, addr+" at "+mac, func() bool {
			for _, n := range table.Neighbours() {
				if n.Addr.String() == addr {
					return n.MAC.String() == mac
				}
			}
			return mac == ""
		})
	}
	const one, two = "02:00:00:00:00:01", "02:00:00:00:00:02"
	b.ip("addr add 10.1.0.1/24 dev lan\nneigh add 10.1.0.9 dev wan lladdr 02:00:00:00:00:09 nud permanent")
	has("10.1.0.9", "02:00:00:00:00:09")
	for _, addr := range []string{"10.1.0.2", "fd01::2", "fe80::2"} {
		for _, state := range []string{"permanent", "noarp", "stale", "reachable", "delay", "probe"} {
			b.ip("neigh replace " + addr + " dev lan lladdr " + one + " nud " + state)
			has(addr, one)
			b.ip("neigh del " + addr + " dev lan")
			has(addr, "")
		}
		b.ip("neigh replace " + addr + " dev lan lladdr " + one + " nud reachable")
		b.ip("neigh replace " + addr + " dev lan lladdr " + two + " nud reachable")
		has(addr, two)
		b.ip("neigh replace " + addr + " dev lan nud failed")
		has(addr, "")
	}
	b.ip("neigh add 10.1.0.99 dev lan lladdr " + one + " nud permanent\nneigh add 10.1.0.3 dev lan lladdr " + two + " nud permanent")
	has("10.1.0.3", two)
	has("10.1.0.99", "") // the configuration's, which the switch enters by itself
	b.mirror.Pin(nil)
	has("10.1.0.99", one)
}

// A twin that is deleted and made again is known by its name. SP-2, SP-1.
func TestMirrorFollowsATwinMadeAgain(t *testing.T) {
	b := newMirrorBed(t, nil)
	again := func() {
		b.ip("addr add 10.1.0.1/24 dev lan\nroute add 10.9.0.0/16 via 10.1.0.2\nneigh add 10.1.0.2 dev lan lladdr 02:00:00:00:00:01 nud permanent")
		b.has(0, "10.9.0.0/16", "learned forward proto 3 [10.1.0.2 if1 x1]")
		eventually(t, "the neighbour", func() bool { return len(b.tables[0].Neighbours()) == 1 })
	}
	again()
	b.ip("link del lan")
	b.has(0, "10.9.0.0/16", "") // of which the kernel says nothing
	b.has(0, "10.1.0.0/24", "")
	eventually(t, "no neighbour", func() bool { return len(b.tables[0].Neighbours()) == 0 })
	b.ip("link add lan type veth peer name lan-y\nlink set lan up\nlink set lan-y up")
	again()
	b.ip("link set lan down")
	b.has(0, "10.9.0.0/16", "")
	b.ip("link set lan up\nroute add 10.9.0.0/16 via 10.1.0.2")
	b.has(0, "10.9.0.0/16", "learned forward proto 3 [10.1.0.2 if1 x1]")
}

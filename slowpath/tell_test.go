package slowpath

import (
	"net/netip"
	"strings"
	"testing"
)

// The kernel is told what the configuration has: to answer hosts behind a
// configured route, and neighbours that do not say where they are. SP-1
func TestKernelIsToldTheConfiguration(t *testing.T) {
	ns := newNetns(t)
	s, log := start(t, ns)
	up(t, s, ns)
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	one := ToldRoute{254, prefix("192.0.2.0/24"), []ToldHop{{addr("10.1.1.2"), lanIface, 1}}}
	anyPort := ToldRoute{254, prefix("203.0.113.0/24"), []ToldHop{{addr("10.2.2.50"), 0, 1}}}
	group := ToldRoute{254, prefix("0.0.0.0/0"), []ToldHop{{addr("10.1.1.2"), lanIface, 1}, {addr("10.2.2.2"), wanIface, 3}}}
	onLink := ToldRoute{254, prefix("198.51.100.0/24"), []ToldHop{{netip.Addr{}, wanIface, 1}}}
	six := ToldRoute{100, prefix("2001:db8::/32"), []ToldHop{{addr("fe80::2"), wanIface, 1}}}
	sixGroup := ToldRoute{254, prefix("::/0"), []ToldHop{{addr("fd01:1::2"), lanIface, 1}, {addr("fd01:2::2"), wanIface, 2}}}
	mac := [6]byte{2, 0, 0, 0, 9, 9}
	neighbours := []ToldNeighbour{{lanIface, addr("10.1.1.9"), mac}, {wanIface, addr("fd01:2::9"), mac}}

	has := func(what string, want, none []string, command ...string) {
		t.Helper()
		var got string
		defer func() {
			if t.Failed() {
				t.Logf("%v:\n%s\n%s", command, got, log.text.String())
			}
		}()
		eventually(t, what, func() bool {
			got = in(t, ns, command...)
			for _, w := range want {
				if !strings.Contains(got, w) {
					return false
				}
			}
			for _, n := range none {
				if strings.Contains(got, n) {
					return false
				}
			}
			return true
		})
	}
	main4 := []string{"ip", "-4", "route", "show", "proto", "102"}
	s.Tell([]ToldRoute{one, anyPort, group, onLink, six, sixGroup}, neighbours)
	all4 := []string{"192.0.2.0/24 via 10.1.1.2 dev lan metric 1", "203.0.113.0/24 via 10.2.2.50 dev wan.100 metric 1",
		"198.51.100.0/24 dev wan.100 scope link metric 1", "nexthop via 10.1.1.2 dev lan weight 1", "nexthop via 10.2.2.2 dev wan.100 weight 3"}
	has("routes", all4, nil, main4...)
	has("an IPv6 route", []string{"2001:db8::/32 via fe80::2 dev wan.100"}, nil, "ip", "-6", "route", "show", "table", "100")
	has("an IPv6 group", []string{"via fd01:1::2 dev lan", "via fd01:2::2 dev wan.100 weight 2"}, nil, "ip", "-6", "route", "show", "default")
	has("neighbours", []string{"10.1.1.9 dev lan lladdr 02:00:00:00:09:09 PERMANENT", "fd01:2::9 dev wan.100 lladdr 02:00:00:00:09:09"}, nil, "ip", "neigh", "show", "nud", "permanent")

	// A twin that is made again is told again.
	in(t, ns, "ip", "link", "del", "lan")
	eventually(t, "it is back", func() bool { return s.Twin(lanIface).Stats().Remade == 1 })
	has("routes by the new twin", all4, nil, main4...)
	has("neighbours of the new twin", []string{"10.1.1.9 dev lan"}, nil, "ip", "neigh", "show", "nud", "permanent")

	// What goes from the configuration goes from the kernel, and nothing else does.
	in(t, ns, "ip", "route", "add", "192.0.2.0/25", "via", "10.1.1.2", "proto", "bird")
	changed := ToldRoute{254, one.Prefix, []ToldHop{{addr("10.2.2.7"), wanIface, 1}}}
	s.Tell([]ToldRoute{changed}, neighbours[:1])
	has("a changed route", []string{"192.0.2.0/24 via 10.2.2.7 dev wan.100"}, []string{"203.0.113", "198.51.100", "default"}, main4...)
	has("the group is gone", nil, []string{"default"}, "ip", "-6", "route", "show")
	has("one neighbour", []string{"10.1.1.9"}, []string{"fd01:2::9"}, "ip", "neigh", "show", "nud", "permanent")
	has("another's route", []string{"192.0.2.0/25"}, nil, "ip", "route", "show", "proto", "bird")
	if n := log.count("does not take all"); n != 0 {
		t.Errorf("%d complaints", n)
	}

	// What the kernel refuses is said, and costs nothing else.
	bad := ToldRoute{254, prefix("192.0.3.0/24"), []ToldHop{{addr("172.31.0.1"), 0, 1}}}
	s.Tell([]ToldRoute{bad, anyPort}, nil)
	has("the good one", []string{"203.0.113.0/24"}, []string{"192.0.3.0/24"}, main4...)
	eventually(t, "a complaint", func() bool { return log.count("does not take all") == 1 && log.count("route 192.0.3.0/24") == 1 })
}

// An interface under a port is silent while there are twins beside it, and is as
// it was afterwards. SP-1
func TestSilence(t *testing.T) {
	ns := newNetns(t)
	in(t, ns, "sh", "-c", "ip link add veth0 type veth peer name veth1 && sysctl -qw net.ipv6.conf.veth0.disable_ipv6=0 net.ipv4.conf.veth0.arp_ignore=1")
	handle, err := OpenNetns(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	keys := []string{"sysctl", "-n", "net.ipv4.conf.veth0.rp_filter", "net.ipv4.conf.veth0.arp_ignore", "net.ipv6.conf.veth0.disable_ipv6"}
	before := in(t, ns, keys...)
	err = handle.Do(func() error {
		restore, err := Silence("veth0")
		if err != nil {
			return err
		}
		if got := in(t, ns, keys...); got != "1\n8\n1\n" {
			t.Errorf("silenced: %q", got)
		}
		return restore()
	})
	if err != nil {
		t.Fatal(err)
	}
	if after := in(t, ns, keys...); after != before {
		t.Errorf("%q, was %q", after, before)
	}
	if err := handle.Do(func() error { _, err := Silence("none"); return err }); err == nil || !strings.Contains(err.Error(), "silence none") {
		t.Errorf("of no interface: %v", err)
	}
}

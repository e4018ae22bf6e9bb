package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// A second router on the client's link, with the networks behind it.
const (
	otherIPv4, otherIPv6 = "10.1.1.50", "fe80::50"
	behind4, behind6     = "198.51.100.0/24", "2001:db8:50::/64"
	behindIPv4           = "198.51.100.1"
	behindIPv6           = "2001:db8:50::1"
)

// A host that sends by us what another router of its link is nearer to is told so, where
// that is switched on, and believes it; its packets arrive all the same.
// Source: FF-11; RFC 1812 5.2.7.2, RFC 4861 8.2
func TestRedirects(t *testing.T) {
	needRoot(t)
	for _, v := range []variant{kernel, afXDP} {
		for _, redirects := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %v", v.name, redirects), func(t *testing.T) {
				b := newBed(t, v, topology{resolve: true, ports: fmt.Sprintf("redirects = %v\n", redirects), settings: fmt.Sprintf(`
[[routes]]
prefix = %q
via = %q
[[routes]]
prefix = %q
via = %q
port = "lan"
`, behind4, otherIPv4, behind6, otherIPv6)})
				if v == kernel {
					b.kernelRedirects(redirects)
				}
				b.shareLink(t)
				for _, c := range []struct{ address, nearer string }{{behindIPv4, otherIPv4}, {behindIPv6, otherIPv6}} {
					told := func() bool {
						return strings.Contains(b.client.run(t, "ip", "route", "get", c.address), "via "+c.nearer)
					}
					out, _ := b.client.try(t, "ping", "-n", "-c", "5", "-i", "0.05", "-W", "3", c.address)
					wantMatch(t, out, `bytes from `+c.address)
					if redirects {
						eventually(t, "the host does not go to "+c.nearer, told)
					}
					b.client.ping(t, c.address, "-c", "3", "-i", "0.01")
					if !redirects && told() { // a redirect would have come before the answers
						t.Errorf("the host was told of %s:\n%s", c.nearer, out)
					}
				}
				b.stop(t)
			})
		}
	}
}

// kernelRedirects does to the kernel's router what the configuration does to ours.
func (b *bed) kernelRedirects(on bool) {
	value := "0"
	if on {
		value = "1"
	}
	b.router.sysctl(map[string]string{"ipv4/conf/all/send_redirects": value, "ipv4/conf/r0/send_redirects": value})
	b.router.ip("route add "+behind4+" via "+otherIPv4, "route add "+behind6+" via "+otherIPv6+" dev r0")
	if !on { // Linux cannot be told to keep IPv6 redirects to itself
		b.router.host("ip", "netns", "exec", b.router.name, "nft",
			"table ip6 e2e { chain out { type filter hook output priority 0; icmpv6 type nd-redirect drop; }; }")
	}
}

// shareLink puts a bridge between the client and the router, and another router on it.
func (b *bed) shareLink(t *testing.T) {
	t.Helper()
	c := b.client
	other := newNamespace(t, "other")
	c.ip(
		"link add o1 type veth peer name o0 netns "+other.name,
		"route del default via "+c.gw6, "addr flush dev c0",
		"link add br0 address "+c.mac+" type bridge mcast_snooping 0",
		"link set c0 master br0", "link set o1 master br0", "link set o1 up", "link set br0 up")
	for _, end := range []struct {
		ns    *namespace
		iface string
	}{{c.namespace, "o1"}, {other, "o0"}} {
		end.ns.run(t, "ethtool", "-K", end.iface, "rx", "off", "tx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off")
	}
	c.iface = "br0"
	c.configure(b.topology)
	c.sysctl(map[string]string{
		"ipv4/conf/br0/accept_redirects": "1", "ipv4/conf/br0/secure_redirects": "1", "ipv6/conf/br0/accept_redirects": "1",
	})
	c.ip("route add " + behind6 + " via " + linkLocal(t, c.gwMAC) + " dev br0")
	other.sysctl(map[string]string{"ipv6/conf/o0/accept_dad": "0"})
	other.ip("link set o0 up", "addr add "+otherIPv4+"/24 dev o0", "addr add "+otherIPv6+"/64 dev o0 nodad", "addr add fd01:1::50/64 dev o0 nodad",
		"addr add "+behindIPv4+"/32 dev lo", "addr add "+behindIPv6+"/128 dev lo nodad")
}

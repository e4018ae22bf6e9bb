package e2e

import (
	"fmt"
	"testing"
)

// host is one end: a namespace with one interface, whose kernel talks to the
// router.
type host struct {
	*namespace
	iface string // that carries the addresses
	ipv4  string
	ipv6  string
	gw4   string // the router's addresses on this side
	gw6   string
	mac   string
	gwMAC string
}

// bed is client, router and server.
type bed struct {
	t              *testing.T
	dir            string
	client, server *host
	mirror         *host // nil: there is none
	router         *namespace
	variant        variant
	ffwd           *process // nil: the kernel
	trunk          *trunk   // the client's, where there is a VLAN
	topology
}

// topology is what differs from test to test.
type topology struct {
	clientMTU, serverMTU int   // 0: 1500
	vlan                 int   // tags the client's side
	cores                []int // of the workers; nil: workerCore
	hugePages            string
	maxFlows             int // of IPv4; 0: 65,536
	policy               policy
	resolve              bool   // hosts are not told the router's link addresses
	mirror               bool   // a third port, mirror0, leads to a host that only listens
	settings             string // more of ffwd's configuration
	ct                   string // more of its table ct
	ports                string // more of each port's configuration
	metrics              string // address that they are served at, in the router; "": they are not
}

// policy is what the router lets through.
type policy int

const (
	open      policy = iota
	stateful         // flows that the client opened
	closed           // nothing
	rejecting        // nothing, and the sender is told
	byPort           // UDP to the echo port and pings that the client began
)

// variant is what forwards.
type variant struct {
	name   string
	device string // of a port, with its number and interface; "": the kernel
}

var (
	kernel   = variant{name: "kernel"}
	afPacket = variant{"af_packet", "net_af_packet%d,iface=%s"}
	afXDP    = variant{"af_xdp", "net_af_xdp%d,iface=%s"}
)

// check is a test of a bed.
type check struct {
	name string
	run  func(*testing.T, *bed)
}

// runChecks makes a bed for each variant and runs the checks in it.
func runChecks(t *testing.T, variants []variant, topo topology, checks []check) {
	needRoot(t)
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			b := newBed(t, v, topo)
			for _, c := range checks {
				t.Run(c.name, func(t *testing.T) { c.run(t, b) })
			}
			b.stop(t)
		})
	}
}

func newBed(t *testing.T, v variant, topo topology) *bed {
	t.Helper()
	if topo.clientMTU == 0 {
		topo.clientMTU = 1500
	}
	if topo.serverMTU == 0 {
		topo.serverMTU = 1500
	}
	if topo.cores == nil {
		topo.cores = []int{workerCore}
	}
	if topo.maxFlows == 0 {
		topo.maxFlows = 65536
	}
	if topo.hugePages == "" {
		topo.hugePages = "off"
	}
	client, server := newHosts(t)
	b := &bed{t: t, dir: t.TempDir(), variant: v, topology: topo, router: newNamespace(t, "router"), client: client, server: server}
	quiet(client.namespace, server.namespace, b.router)
	if v != kernel { // ffwd owns the router's interfaces: the kernel there must not speak on them
		b.router.sysctl(map[string]string{"ipv6/conf/all/disable_ipv6": "1", "ipv6/conf/default/disable_ipv6": "1", "ipv4/ip_forward": "0"})
	}
	b.wire(b.client, "r0", topo.clientMTU)
	b.wire(b.server, "r1", topo.serverMTU)
	if topo.mirror {
		b.mirror = &host{namespace: newNamespace(t, "mirror"), iface: "m0", mac: "02:00:00:00:03:02", gwMAC: "02:00:00:00:03:01"}
		b.wire(b.mirror, "r2", 1500)
		b.settings += fmt.Sprintf("[[ports]]\nname = \"mirror0\"\ndevice = \"%s\"\n", fmt.Sprintf(v.device, 2, "r2"))
	}
	if topo.vlan != 0 {
		b.trunk = newTrunk(t, b.client.namespace, "c0", topo.vlan, b.client.mac)
		b.client.iface = b.trunk.tap
	}
	b.client.configure(topo)
	b.server.configure(topo)
	if v == kernel {
		b.kernelRouter()
		return b
	}
	b.ffwd = launch(t, b.router, b.config()).ready(t)
	return b
}

// newHosts makes the namespaces of a client and a server, still without interfaces.
func newHosts(t *testing.T) (client, server *host) {
	t.Helper()
	return &host{newNamespace(t, "client"), "c0", "10.1.1.2", "fd01:1::2", "10.1.1.1", "fd01:1::1", "02:00:00:00:01:02", "02:00:00:00:01:01"},
		&host{newNamespace(t, "server"), "s0", "10.2.2.2", "fd01:2::2", "10.2.2.1", "fd01:2::1", "02:00:00:00:02:02", "02:00:00:00:02:01"}
}

// quiet makes the namespaces' kernels say only what we ask of them.
func quiet(namespaces ...*namespace) {
	for _, n := range namespaces {
		n.sysctl(map[string]string{
			"ipv6/conf/all/accept_dad": "0", "ipv6/conf/default/accept_dad": "0", "ipv6/conf/default/accept_ra": "0",
			"ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0",
			"ipv4/icmp_ratelimit": "0", "ipv6/icmp/ratelimit": "0",
		})
	}
}

// wire joins a host to the router. A veth leaves checksums, segmentation and VLAN
// tags to hardware; here nobody would see to them. The two ends get numbers of
// their own, because Linux reports the link of a veth up to a second late when
// they have the same (linkwatch_urgent_event takes it for no veth).
func (b *bed) wire(h *host, peer string, mtu int) {
	h.ip(fmt.Sprintf("link add %s index 100 mtu %d address %s type veth peer name %s netns %s mtu %d address %s",
		h.iface, mtu, h.mac, peer, b.router.name, mtu, h.gwMAC))
	for _, end := range []struct {
		ns    *namespace
		iface string
	}{{h.namespace, h.iface}, {b.router, peer}} {
		end.ns.host("ip", "netns", "exec", end.ns.name, "ethtool", "-K", end.iface,
			"rx", "off", "tx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off", "txvlan", "off")
		end.ns.ip("link set " + end.iface + " up")
	}
}

// configure gives the host its addresses, neighbours and routes. The advertised
// segment size says nothing of the narrower link, so that the sender has to
// discover the path's MTU.
func (h *host) configure(topo topology) {
	mtu := max(topo.clientMTU, topo.serverMTU)
	h.ip(
		fmt.Sprintf("addr add %s/24 dev %s", h.ipv4, h.iface),
		fmt.Sprintf("addr add %s/64 dev %s nodad", h.ipv6, h.iface),
		fmt.Sprintf("route add default via %s advmss %d", h.gw4, mtu-40),
		fmt.Sprintf("route add default via %s advmss %d", h.gw6, mtu-60),
	)
	if topo.resolve {
		return
	}
	h.ip(
		fmt.Sprintf("neigh add %s dev %s lladdr %s nud permanent", h.gw4, h.iface, h.gwMAC),
		fmt.Sprintf("neigh add %s dev %s lladdr %s nud permanent", h.gw6, h.iface, h.gwMAC),
	)
}

// forgetPaths makes the host forget what it learnt of path MTUs.
func (h *host) forgetPaths() {
	h.ip("route flush cache")
	h.host("ip", "-6", "-n", h.name, "route", "flush", "cache")
}

// kernelRouter makes the router's kernel do what config says to ffwd.
func (b *bed) kernelRouter() {
	b.router.sysctl(map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"})
	near := "r0"
	if b.vlan != 0 {
		near = newTrunk(b.t, b.router, "r0", b.vlan, b.client.gwMAC).tap
	}
	for h, iface := range map[*host]string{b.client: near, b.server: "r1"} {
		b.router.ip(
			fmt.Sprintf("addr add %s/24 dev %s", h.gw4, iface),
			fmt.Sprintf("addr add %s/64 dev %s nodad", h.gw6, iface))
		if !b.resolve {
			b.router.ip(
				fmt.Sprintf("neigh add %s dev %s lladdr %s nud permanent", h.ipv4, iface, h.mac),
				fmt.Sprintf("neigh add %s dev %s lladdr %s nud permanent", h.ipv6, iface, h.mac))
		}
	}
	if b.policy != open {
		b.kernelPolicy()
	}
}

// kernelPolicy is ffwd's policy in nftables, replaced in one transaction. Every
// policy mentions conntrack: between tables, or without, the kernel would track
// nothing, and then find the packets of running connections invalid.
func (b *bed) kernelPolicy() {
	rules := map[policy]string{
		open:      "accept;",
		stateful:  `ct state established accept; iifname "r0" ct state new accept;`,
		byPort:    `ct state established accept; iifname "r0" udp dport 7 ct state new accept; iifname "r0" meta l4proto { icmp, icmpv6 } ct state new accept;`,
		rejecting: "meta l4proto tcp reject with tcp reset; meta l4proto { icmp, icmpv6 } reject with icmpx admin-prohibited; reject;",
	}[b.policy]
	b.router.host("ip", "netns", "exec", b.router.name, "nft", "add table inet e2e; delete table inet e2e; "+
		"table inet e2e { chain forward { type filter hook forward priority 0; policy drop; ct state invalid drop; "+rules+" }; }")
}

// setPolicy changes the policy of the running router.
func (b *bed) setPolicy(t *testing.T, p policy) {
	t.Helper()
	b.policy = p
	if b.ffwd == nil {
		b.kernelPolicy()
		return
	}
	b.config()
	b.ffwd.client(t, "reload")
}

// stop ends the router and returns its report, which the kernel has none of.
func (b *bed) stop(t *testing.T) *report {
	t.Helper()
	if b.ffwd == nil {
		return nil
	}
	return b.ffwd.stop(t)
}

package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
)

// The routes that a BIRD on the server announces to one on the router: bgpRoutes of
// /24 from bgpFirst on, and an IPv6 one.
const (
	bgpRoutes = 100_000
	bgpIPv6   = "2001:db8:77::/48"
)

// bgpPrefix is the i-th of them.
func bgpPrefix(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(20 + i>>16), byte(i >> 8), byte(i), 0}), 24)
}

// bgpProbes are addresses in some of them, which the server has.
func bgpProbes() (list []string) {
	for _, i := range []int{0, 1, 255, 256, 65535, 65536, bgpRoutes - 1} {
		list = append(list, bgpPrefix(i).Addr().Next().String())
	}
	return append(list, "2001:db8:77::1")
}

// BIRD 2 speaks BGP through the router's TAP twins, and a hundred thousand routes
// forward, come and go. SP-1, SP-2, SP-3
func TestRoutingDaemon(t *testing.T) {
	needRoot(t)
	for _, v := range []variant{kernel, afXDP} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel() // most of it is waiting for BIRD's timers
			b := newBed(t, v, topology{resolve: true})
			checkBGP(t, b)
			b.stop(t)
		})
	}
}

func checkBGP(t *testing.T, b *bed) {
	for _, a := range bgpProbes() {
		b.server.ip("addr add " + a + " dev lo")
	}
	far := b.server.bird(t, birdServer(b))
	near := b.router.bird(t, birdRouter(b))
	defer func() {
		near.terminate()
		if t.Failed() {
			t.Logf("BIRD on the router:\n%s", near.out.String())
		}
	}()
	b.awaitRoutes(t, bgpRoutes)
	b.reachable(t, true)

	// All routes are withdrawn, announced, withdrawn and announced, and whatever of that
	// has come on the way when the next follows: flows of others do not notice.
	flow := b.client.steadily(t, b.server.ipv4)
	for _, word := range []string{"disable", "enable", "disable", "enable", "disable"} {
		b.server.run(t, "birdc", "-s", far.control, word, `"many*"`)
	}
	b.awaitRoutes(t, 0)
	b.server.run(t, "birdc", "-s", far.control, "enable", `"many*"`)
	b.awaitRoutes(t, bgpRoutes)
	b.reachable(t, true)
	flow.lostNothing(t)

	far.terminate() // the session ends, and every route is withdrawn
	b.awaitRoutes(t, 0)
	b.reachable(t, false)
	b.server.bird(t, birdServer(b))
	b.awaitRoutes(t, bgpRoutes)
	b.reachable(t, true)

	b.server.ip("link set " + b.server.iface + " down")
	b.awaitRoutes(t, 0)
	b.server.ip("link set "+b.server.iface+" up", "addr replace "+b.server.ipv6+"/64 dev "+b.server.iface+" nodad",
		"route replace default via "+b.server.gw4, "route replace default via "+b.server.gw6)
	b.awaitRoutes(t, bgpRoutes)
	b.reachable(t, true)

	if b.ffwd == nil {
		return
	}
	b.ffwd.cmd.Process.Signal(syscall.SIGKILL)
	<-b.ffwd.ended
	b.ffwd = launch(b.t, b.router, b.config()).ready(t)
	b.awaitRoutes(t, bgpRoutes)
	b.reachable(t, true)
}

// awaitRoutes waits until the router forwards by as many IPv4 routes of BIRD's and the IPv6 one, or by none.
func (b *bed) awaitRoutes(t *testing.T, n int) {
	t.Helper()
	defer func() {
		if t.Failed() && b.ffwd != nil {
			t.Logf("the kernel has %d, %s", strings.Count(b.router.run(t, "ip", "route", "show", "proto", "bird"), "\n"), b.ffwd.client(t, "show", "mirror"))
		}
	}()
	await(t, fmt.Sprintf("%d routes", n), func() bool {
		if b.ffwd == nil {
			have := strings.Count(b.router.run(t, "ip", "route", "show", "proto", "bird"), "\n")
			if n == 0 {
				return have == 0
			}
			return have >= n && b.router.run(t, "ip", "-6", "route", "show", "proto", "bird") != ""
		}
		var status struct{ Routes map[string]int }
		if err := b.ffwd.get("/v1/mirror", &status); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return status.Routes["installed"] < 10
		}
		return status.Routes["installed"] > n // one of IPv6 besides
	})
}

// reachable pings an address in some of the routes.
func (b *bed) reachable(t *testing.T, is bool) {
	t.Helper()
	for i, a := range bgpProbes() {
		want := "100% packet loss"
		if i == 0 { // Linux says so once a second, and not for the others
			want = "Destination Net Unreachable"
		}
		if is {
			b.client.ping(t, a, "-c", "3", "-i", "0.05") // the machine is busy with the routes
		} else {
			b.client.pingFails(t, want, a, "-W", "0.3")
		}
	}
}

// daemon is a BIRD, with the socket that birdc asks it by.
type daemon struct {
	*background
	control string
}

// bird starts a BIRD.
func (n *namespace) bird(t *testing.T, config string) daemon {
	t.Helper()
	dir := t.TempDir()
	path := writeFile(t, dir, "bird.conf", []byte(config))
	control := dir + "/bird.ctl"
	return daemon{n.start(t, "bird", "-f", "-c", path, "-s", control, "-P", dir+"/bird.pid"), control}
}

// terminate ends a background command and waits for that.
func (b *background) terminate() {
	b.cmd.Process.Signal(syscall.SIGTERM)
	<-b.ended
}

const birdCommon = `
log stderr all;
protocol device { scan time 1; }
`

func birdServer(b *bed) string {
	var text strings.Builder
	fmt.Fprintf(&text, birdCommon+`
router id %s;
protocol static many4 { ipv4;
`, b.server.ipv4)
	for i := range bgpRoutes {
		fmt.Fprintf(&text, "route %s blackhole;\n", bgpPrefix(i))
	}
	fmt.Fprintf(&text, `}
protocol static many6 { ipv6; route %s blackhole; }
protocol bgp {
	local %s as 65002;
	neighbor %s as 65001;
	connect delay time 1; connect retry time 1; error wait time 1, 1; hold time 15; # the peer of a router that was killed notices by its keepalives
	ipv4 { export where source = RTS_STATIC; import none; next hop self; };
	ipv6 { export where source = RTS_STATIC; import none; next hop address %s; };
}
`, bgpIPv6, b.server.ipv4, b.server.gw4, b.server.ipv6)
	return text.String()
}

func birdRouter(b *bed) string {
	return fmt.Sprintf(birdCommon+`
router id %s;
protocol direct { ipv4; ipv6; }
protocol kernel { ipv4 { export where source = RTS_BGP; import none; }; }
protocol kernel { ipv6 { export where source = RTS_BGP; import none; }; }
protocol bgp {
	local %[1]s as 65001;
	neighbor %s as 65002;
	connect delay time 1; connect retry time 1; error wait time 1, 1; hold time 15; # the peer of a router that was killed notices by its keepalives
	ipv4 { import all; export none; };
	ipv6 { import all; export none; };
}
`, b.server.gw4, b.server.ipv4)
}

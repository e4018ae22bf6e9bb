package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// What a host wants of a router beside forwarding, which is the kernel's behind
// ffwd: nobody is told anybody's link address.
var routerChecks = []check{
	{"arp", checkARP},
	{"neighbour discovery", checkDiscovery},
	{"ping the router", checkPingRouter},
	{"the router pings", checkRouterPings},
	{"closed port", checkClosedPort},
	{"ssh", checkRouterServes},
	{"options", checkOptions},
	{"link-local sender", checkLinkLocalSender},
	{"traceroute", checkTraceroute},
	{"late neighbour", checkLateNeighbour},
	{"ping", checkPing},
}

// FF-3, FF-13, SP-1, SP-3, SP-4
func TestRouterForItsHosts(t *testing.T) {
	runChecks(t, []variant{kernel, afPacket, afXDP}, topology{resolve: true}, routerChecks)
}

// SP-1: a VLAN sub-port has a twin of its own, whose frames are not tagged.
func TestRouterBehindVLAN(t *testing.T) {
	runChecks(t, []variant{kernel, afPacket, afXDP}, topology{resolve: true, vlan: vlanID}, routerChecks)
}

// SP-1: rules that let the LAN begin conversations, and nobody else, let it reach
// the router too, and let the router reach out.
func TestRouterBehindRules(t *testing.T) {
	runChecks(t, []variant{kernel, afPacket, afXDP}, topology{resolve: true, policy: stateful}, []check{
		{"arp", checkARP},
		{"neighbour discovery", checkDiscovery},
		{"ping the router", func(t *testing.T, b *bed) { b.client.pingRouter(t, 0, 1, 18, 1452) }},
		{"the router pings", checkRouterPings},
		{"ssh", checkRouterServes},
		{"the router connects", checkRouterConnects},
		{"uninvited", checkUninvited},
	})
}

// The path's MTU is found with all the router's own answers in between. FF-9, SP-1
func TestTracepath(t *testing.T) {
	runChecks(t, []variant{kernel, afXDP}, topology{resolve: true, serverMTU: narrowMTU}, []check{
		{"tracepath", func(t *testing.T, b *bed) {
			for _, address := range []string{b.server.ipv4, b.server.ipv6} {
				b.client.forgetPaths()
				out := b.client.run(t, "tracepath", "-n", "-m", "5", address)
				wantMatch(t, out, fmt.Sprintf(`pmtu %d hops 2`, narrowMTU))
			}
		}},
		{"the router's own large packets", func(t *testing.T, b *bed) {
			b.server.ping(t, b.server.gw4, "-c", "1", "-s", "4000")
		}},
	})
}

func (h *host) gateways() []string { return []string{h.gw4, h.gw6} }

// forget makes the host forget its neighbours.
func (h *host) forget() { h.ip("neigh flush dev " + h.iface) }

func checkARP(t *testing.T, b *bed) {
	for _, h := range []*host{b.client, b.server} {
		h.forget()
		out := h.run(t, "arping", "-f", "-w", "15", "-I", h.iface, h.gw4) // with -c 1 it gives up after a second
		wantMatch(t, out, `(?i)reply from `+h.gw4+` \[`+h.gwMAC+`\]`)
	}
	b.client.ping(t, b.client.gw4, "-c", "1")
	wantMatch(t, b.client.run(t, "ip", "neigh", "show", b.client.gw4), b.client.gwMAC)
	if out, err := b.client.try(t, "arping", "-c", "1", "-w", "1", "-I", b.client.iface, "10.1.1.77"); err == nil {
		t.Errorf("somebody answers for another:\n%s", out)
	}
}

func checkDiscovery(t *testing.T, b *bed) {
	for _, h := range []*host{b.client, b.server} {
		h.forget()
		out := h.run(t, "ndisc6", "-1", "-w", "3000", h.gw6, h.iface)
		wantMatch(t, out, `(?i)`+h.gwMAC)
		if b.policy == open || h == b.client {
			h.ping(t, linkLocal(t, h.gwMAC)+"%"+h.iface, "-c", "3", "-i", "0.01")
		}
	}
}

// linkLocal is the address that Linux makes of an interface's MAC. RFC 4291 appendix A
func linkLocal(t *testing.T, address string) string {
	t.Helper()
	mac, err := net.ParseMAC(address)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5]}).String()
}

func checkPingRouter(t *testing.T, b *bed) {
	sizes := []int{0, 1, 17, 18, 19, 1452}
	if b.variant != afPacket { // for a packet socket the kernel reassembles, into more than a frame
		sizes = append(sizes, 4000)
	}
	b.client.pingRouter(t, sizes...)
	b.server.pingRouter(t, sizes...)
}

// pingRouter pings the near and the far address, and in these sizes.
func (h *host) pingRouter(t *testing.T, sizes ...int) {
	t.Helper()
	for _, address := range []string{"10.1.1.1", "10.2.2.1", "fd01:1::1", "fd01:2::1"} {
		h.ping(t, address, "-c", "20", "-i", "0.005")
		for _, size := range sizes {
			h.ping(t, address, "-c", "1", "-s", strconv.Itoa(size))
		}
	}
}

// checkRouterPings pings from the router's own kernel.
func checkRouterPings(t *testing.T, b *bed) {
	router := &host{namespace: b.router}
	for _, h := range []*host{b.client, b.server} {
		for _, address := range []string{h.ipv4, h.ipv6} {
			router.ping(t, address, "-c", "10", "-i", "0.01")
			if b.policy == open && b.variant != afPacket { // fragments have no flow, and see checkPingRouter
				router.ping(t, address, "-c", "1", "-s", "4000")
			}
		}
	}
}

// A closed port of the router's is said to be closed. FF-10
func checkClosedPort(t *testing.T, b *bed) {
	for _, gateway := range b.client.gateways() {
		b.client.do(t, func() error {
			c, err := net.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr(gateway), 4444).String())
			if err != nil {
				return err
			}
			defer c.Close()
			if err := exchange(c, []byte("anybody?"), soon); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s: %v", gateway, err)
			}
			if _, err := net.DialTimeout("tcp", netip.AddrPortFrom(netip.MustParseAddr(gateway), 4444).String(), soon); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s: %v", gateway, err)
			}
			return nil
		})
	}
}

// checkRouterServes connects to a server on the router, as to its sshd.
func checkRouterServes(t *testing.T, b *bed) {
	(&host{namespace: b.router, ipv4: b.client.gw4, ipv6: b.client.gw6}).echo(t)
	message := make([]byte, 300_000)
	for i := range message {
		message[i] = byte(i * 31)
	}
	for _, gateway := range b.client.gateways() {
		c, err := b.client.dial(t, "tcp", gateway, soon)
		if err != nil {
			t.Fatal(err)
		}
		if err := exchange(c, message, soon); err != nil {
			t.Errorf("%s: %v", gateway, err)
		}
		c.Close()
	}
}

// checkRouterConnects connects from the router to the server, as BGP does.
func checkRouterConnects(t *testing.T, b *bed) {
	b.server.echo(t)
	router := &host{namespace: b.router}
	for _, address := range []string{b.server.ipv4, b.server.ipv6} {
		c, err := router.dial(t, "tcp", address, soon)
		if err != nil {
			t.Fatal(err)
		}
		if err := exchange(c, make([]byte, 100_000), soon); err != nil {
			t.Errorf("%s: %v", address, err)
		}
		c.Close()
	}
}

// checkUninvited: the rules of hook in are the router's own, too. The kernel's
// rules here are those of its forwarding.
func checkUninvited(t *testing.T, b *bed) {
	if b.ffwd == nil {
		return
	}
	before := b.ffwd.report(t).reason("policy_in")
	if _, err := b.server.dial(t, "tcp", b.server.gw4, 300*time.Millisecond); err == nil {
		t.Error("the server reached the router")
	}
	if after := b.ffwd.report(t).reason("policy_in"); after == before {
		t.Error("nothing was dropped")
	}
}

// The router is among the routers that a packet's options name. FF-3, FF-13
func checkOptions(t *testing.T, b *bed) {
	out := b.client.ping(t, b.server.ipv4, "-c", "1", "-R")
	wantMatch(t, out, `RR:(?s:.*)`+strings.ReplaceAll(b.server.gw4, ".", `\.`))
	out = b.client.ping(t, b.server.ipv4, "-c", "1", "-T", "tsandaddr")
	wantMatch(t, out, `TS:(?s:.*)`+strings.ReplaceAll(b.client.gw4, ".", `\.`))
}

// Who sends to another link from an address of this one is told so. FF-10, FF-14
func checkLinkLocalSender(t *testing.T, b *bed) {
	own := linkLocal(t, b.client.mac) + "%" + b.client.iface
	b.client.pingFails(t, `Beyond scope of source address`, b.server.ipv6, "-I", own)
	b.client.pingFails(t, `Time exceeded`, b.server.ipv6, "-I", own, "-t", "1")
}

// A host that comes up when somebody has just been told that it is not there is
// found at the first packet. SP-3
func checkLateNeighbour(t *testing.T, b *bed) {
	const late = "10.2.2.88"
	b.probeQuickly()
	b.client.pingFails(t, `Destination Host Unreachable`, late, "-c", "1", "-W", "5")
	b.server.ip("addr add " + late + "/24 dev " + b.server.iface)
	b.client.ping(t, late, "-c", "1", "-W", "2")
}

// checkTraceroute asks up to three times: traceroute 2.1.2 sometimes gets no further when
// an answer comes while it reads the one before. It then polls a socket that has an error
// and an empty error queue for ever, and prints stars. With the kernel as router, too.
func checkTraceroute(t *testing.T, b *bed) {
	for _, method := range [][]string{nil, {"-I"}, {"-T", "-p", "80"}} {
		for _, pair := range [][2]string{{b.client.gw4, b.server.ipv4}, {b.client.gw6, b.server.ipv6}} {
			out := " *"
			for try := 0; try < 3 && strings.Contains(out, " *"); try++ {
				out = b.client.run(t, append(append([]string{"traceroute", "-n", "-w", "2", "-q", "1", "-m", "4"}, method...), pair[1])...)
			}
			wantMatch(t, out, `1  `+pair[0]+` (?s:.*)2  `+pair[1]+" ")
		}
	}
}

// A twin deleted under our feet comes back, and forwarding does not notice. SP-1
func TestTwinDeletedWhileForwarding(t *testing.T) {
	needRoot(t)
	for _, v := range []variant{afPacket, afXDP} {
		t.Run(v.name, func(t *testing.T) {
			b := newBed(t, v, topology{resolve: true})
			b.client.ping(t, b.server.ipv4, "-c", "1")
			pinging := b.client.start(t, "ping", "-n", "-q", "-c", "300", "-i", "0.005", b.server.ipv4)
			for round := uint64(1); round <= 3; round++ {
				b.router.ip("link del lan")
				eventually(t, "the twin does not come back", func() bool {
					twin := b.ffwd.twin(t, "lan")
					return twin.Remade == round && twin.Index != 0
				})
				b.client.pingRouter(t)
			}
			select {
			case <-pinging.ended:
			case <-time.After(soon):
				t.Fatal("ping does not end")
			}
			wantMatch(t, pinging.out.String(), `300 received, 0% packet loss`)
			if n := strings.Count(b.ffwd.stderr.String(), "twin is gone"); n != 3 {
				t.Errorf("logged %d times", n)
			}
			b.stop(t)
		})
	}
}

// Nothing of the slow path survives kill -9, and the next run has it all. SP-1
func TestTwinsGoWithTheProcess(t *testing.T) {
	needRoot(t)
	b := newBed(t, afXDP, topology{resolve: true})
	b.client.ping(t, b.client.gw4, "-c", "1")
	b.ffwd.cmd.Process.Kill()
	<-b.ffwd.ended
	out := b.router.run(t, "ip", "-o", "link")
	for _, twin := range []string{"lan", "wan"} {
		if strings.Contains(out, " "+twin+":") {
			t.Errorf("the twin is left:\n%s", out)
		}
	}
	b.ffwd = launch(t, b.router, b.dir+"/ffwd.toml").ready(t)
	b.client.pingRouter(t)
	b.stop(t)
}

// A flood of packets to the router costs it no neighbour: ARP and neighbour
// discovery go on, behind the flood itself too. SP-4
func TestFloodToTheRouter(t *testing.T) {
	needRoot(t)
	for _, v := range []variant{afPacket, afXDP} {
		t.Run(v.name, func(t *testing.T) {
			b := newBed(t, v, topology{resolve: true, settings: "[slow_path.rates]\nlocal = 1000\n"})
			b.client.ping(t, b.server.ipv4, "-c", "1")
			stop := b.client.flood(t, netip.AddrPortFrom(netip.MustParseAddr(b.client.gw4), 4444))
			eventually(t, "nothing is limited", func() bool { return b.ffwd.report(t).PuntsLimited["local"] > 10_000 })
			for range 5 {
				b.server.forget()
				out := b.server.run(t, "arping", "-f", "-w", "10", "-I", b.server.iface, b.server.gw4)
				wantMatch(t, out, `Received [1-9]`)
				out = b.client.run(t, "arping", "-f", "-w", "10", "-I", b.client.iface, b.client.gw4)
				wantMatch(t, out, `Received [1-9]`)
				wantMatch(t, b.server.run(t, "ndisc6", "-1", "-w", "3000", b.server.gw6, b.server.iface), `(?i)`+b.server.gwMAC)
			}
			stop()
			b.client.ping(t, b.server.ipv4, "-c", "1")
			r := b.stop(t)
			if r.Drops["punt_limited"] != r.PuntsLimited["local"] || r.PuntsLimited["arp"]+r.PuntsLimited["discovery"] != 0 {
				t.Errorf("dropped %v, limited %v", r.Drops, r.PuntsLimited)
			}
		})
	}
}

// flood sends datagrams until it is stopped: far more than the router's kernel is to
// get, and fewer than fill the wire, where nobody can tell one from the other.
func (h *host) flood(t *testing.T, to netip.AddrPort) (stop func()) {
	t.Helper()
	var c net.Conn
	h.do(t, func() (err error) {
		c, err = net.Dial("udp", to.String())
		return err
	})
	var ended atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		const each, pause = 100, 5 * time.Millisecond // 20,000 a second at most
		for message := make([]byte, 100); !ended.Load(); time.Sleep(pause) {
			for range each {
				c.Write(message) // refused, now and then: the port is closed
			}
		}
	}()
	stop = func() {
		if !ended.Swap(true) {
			<-done
			c.Close()
		}
	}
	t.Cleanup(stop)
	return stop
}

// twinStatus is what a report says of a twin.
type twinStatus struct {
	Port   string `json:"port"`
	TAP    string `json:"tap"`
	Index  int    `json:"index"`
	Remade uint64 `json:"remade"`
}

func (p *process) twin(t *testing.T, port string) twinStatus {
	t.Helper()
	for _, twin := range p.report(t).Twins {
		if twin.Port == port {
			return twin
		}
	}
	t.Fatalf("port %s has no twin", port)
	return twinStatus{}
}

// A slow path in a namespace of its own: the router's kernel is that one. SP-1
func TestSlowPathInItsOwnNamespace(t *testing.T) {
	needRoot(t)
	kernelSide := newNamespace(t, "kernel")
	b := newBed(t, afXDP, topology{resolve: true, settings: fmt.Sprintf("[slow_path]\nenabled = \"on\"\nnetns = %q\n", kernelSide.name)})
	b.client.pingRouter(t)
	out, _ := exec.Command("ip", "-n", kernelSide.name, "-br", "link").Output()
	wantMatch(t, string(out), `(?m)^lan (?s:.*)^wan `)
	b.stop(t)
	out, _ = exec.Command("ip", "-n", kernelSide.name, "-br", "link").Output()
	if strings.Contains(string(out), "lan") {
		t.Errorf("left behind:\n%s", out)
	}
}

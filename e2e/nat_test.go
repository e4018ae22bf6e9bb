package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	publicPort   = 8080 // of the router's outer address: the client's echo server
	refusedPort  = 8081 // as above, and nobody listens there
	capturedPort = 8082 // wherever it leads: the router itself answers
	routerPort   = 8083 // where it does
	farMTU       = 1400
)

// The network that the server leads to, and its one host.
const (
	farNet4, farNet6 = "10.9.9.0/24", "fd01:9::/64"
	far4, far6       = "10.9.9.2", "fd01:9::2"
	farGW4, farGW6   = "10.9.9.1", "fd01:9::1"
)

// natRules hide the client behind the router, publish a port of it, and take all
// connections to one port to the router itself.
const natRules = `
[[routes]]
prefix = "` + farNet4 + `"
via = "10.2.2.2"
[[routes]]
prefix = "` + farNet6 + `"
via = "fd01:2::2"
[[rules]]
hook = "out"
action = "masquerade"
out_ports = ["wan"]
[[rules]]
action = "redirect"
in_ports = ["lan"]
protocol = "tcp"
dst_ports = [8082]
to_ports = 8083
[[rules]]
action = "redirect"
in_ports = ["lan"]
protocol = "udp"
dst_ports = [8082]
to_ports = 8083
`

// published are the rules that publish a port of the client, over each protocol and family.
func published() (ffwd, nft string) {
	for _, proto := range []string{"tcp", "udp"} {
		for _, a := range []struct{ family, outer, bits, inner string }{{"ip", "10.2.2.1", "32", "10.1.1.2"}, {"ip6", "fd01:2::1", "128", "fd01:1::2"}} {
			for from, to := range map[int]int{publicPort: echoPort, refusedPort: 9} {
				ffwd += fmt.Sprintf("[[rules]]\naction = \"dnat\"\nin_ports = [\"wan\"]\nprotocol = %q\ndst = [\"%s/%s\"]\ndst_ports = [%d]\nto = %q\nto_ports = %d\n",
					proto, a.outer, a.bits, from, a.inner, to)
				inner := a.inner
				if a.family == "ip6" {
					inner = "[" + inner + "]"
				}
				nft += fmt.Sprintf("iifname r1 %s daddr %s %s dport %d dnat %s to %s:%d; ", a.family, a.outer, proto, from, a.family, inner, to)
			}
		}
	}
	return ffwd, nft
}

var natChecks = []check{
	{"listing", checkNATListing}, // while nothing else is in the table
	{"masquerade", checkMasquerade},
	{"ping", checkNATPing},
	{"tcp", checkNATStreams},
	{"fragments", checkNATFragments},
	{"path mtu", checkNATPathMTU},
	{"traceroute", checkNATTraceroute},
	{"dnat", checkDNAT},
	{"errors about dnat", checkDNATErrors},
	{"redirect", checkPortRedirect},
}

// Addresses are translated as the kernel's nftables do it: hidden, published and redirected,
// in both families. Source: FF-6, CT-4, CT-5, CT-10.
func TestTranslation(t *testing.T) {
	needRoot(t)
	ffwdRules, nftRules := published()
	// With two workers ports move, so that answers come to the flow's owner.
	moving := natChecks[2:]
	for _, run := range []struct {
		variant
		cores  []int
		checks []check
	}{{kernel, nil, natChecks}, {afXDP, nil, natChecks}, {afXDP, []int{0, 1}, moving}} {
		t.Run(fmt.Sprintf("%s%v", run.name, run.cores), func(t *testing.T) {
			b := newBed(t, run.variant, topology{settings: natRules + ffwdRules, cores: run.cores})
			b.server.leadsOn(t)
			if b.ffwd == nil {
				b.router.ip("route add "+farNet4+" via "+b.server.ipv4, "route add "+farNet6+" via "+b.server.ipv6)
				b.router.host("ip", "netns", "exec", b.router.name, "nft", "table inet nat { "+
					"chain pre { type nat hook prerouting priority dstnat; "+nftRules+fmt.Sprintf("iifname r0 meta l4proto { tcp, udp } th dport %d redirect to :%d; }; ", capturedPort, routerPort)+
					"chain post { type nat hook postrouting priority srcnat; oifname r1 masquerade; }; }")
			}
			for _, c := range run.checks {
				t.Run(c.name, func(t *testing.T) { c.run(t, b) })
			}
			r := b.stop(t)
			for _, reason := range []string{"nat_no_flow", "nat_no_address", "nat_no_port", "nat_full"} {
				if r != nil && r.reason(reason) != 0 {
					t.Errorf("%d packets were dropped for %s", r.reason(reason), reason)
				}
			}
		})
	}
}

// farHost is behind the server, over a narrower link.
var farHost *host

// leadsOn makes a host a router to the far network.
func (h *host) leadsOn(t *testing.T) {
	t.Helper()
	farHost = &host{namespace: newNamespace(t, "far"), iface: "f0", ipv4: far4, ipv6: far6, gw4: farGW4, gw6: farGW6}
	farHost.sysctl(map[string]string{"ipv6/conf/all/accept_dad": "0", "ipv6/conf/default/accept_dad": "0"})
	h.sysctl(map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"})
	h.ip(fmt.Sprintf("link add f1 mtu %d type veth peer name f0 netns %s mtu %d", farMTU, farHost.name, farMTU))
	for _, end := range []struct {
		ns    *namespace
		iface string
	}{{h.namespace, "f1"}, {farHost.namespace, "f0"}} {
		end.ns.host("ip", "netns", "exec", end.ns.name, "ethtool", "-K", end.iface, "rx", "off", "tx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off")
	}
	h.ip("addr add "+farGW4+"/24 dev f1", "addr add "+farGW6+"/64 dev f1 nodad", "link set f1 up")
	farHost.ip("addr add "+far4+"/24 dev f0", "addr add "+far6+"/64 dev f0 nodad", "link set f0 up",
		"route add default via "+farGW4, "route add default via "+farGW6)
}

// whoAmI is the address and port from which a host's packets reach a server, which tells.
func (h *host) whoAmI(t *testing.T, network, address string) (local, seen netip.AddrPort) {
	t.Helper()
	c, err := h.dial(t, network, address, soon)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(soon))
	if _, err := c.Write([]byte("who am I?")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	if err == nil {
		seen, err = netip.ParseAddrPort(string(buf[:n]))
	}
	if err != nil {
		t.Fatalf("%s %s: %v", network, address, err)
	}
	return c.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort(), seen
}

// tellsWho makes the host tell whoever asks where the question came from.
func (h *host) tellsWho(t *testing.T) {
	t.Helper()
	h.takes(t, echoPort, func(c net.Conn) {
		defer c.Close()
		if _, err := c.Read(make([]byte, 100)); err == nil {
			from := c.RemoteAddr().(*net.TCPAddr).AddrPort()
			fmt.Fprint(c, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		}
	})
	h.do(t, func() error {
		for _, address := range []string{h.ipv4, h.ipv6} {
			c, err := net.ListenPacket("udp", endpoint(address))
			if err != nil {
				return err
			}
			t.Cleanup(func() { c.Close() })
			go func() {
				for buf := make([]byte, 100); ; {
					_, from, err := c.ReadFrom(buf)
					if errors.Is(err, net.ErrClosed) {
						return
					}
					if err == nil {
						c.WriteTo([]byte(from.String()), from)
					}
				}
			}()
		}
		return nil
	})
}

// The server sees the router's address, and the port that the client has.
func checkMasquerade(t *testing.T, b *bed) {
	b.server.tellsWho(t)
	for address, want := range map[string]string{b.server.ipv4: b.server.gw4, b.server.ipv6: b.server.gw6} {
		for _, network := range []string{"tcp", "udp"} {
			local, seen := b.client.whoAmI(t, network, address)
			if seen.Addr().String() != want || seen.Port() != local.Port() {
				t.Errorf("%s: %v is seen as %v, want %s with the same port", network, local, seen, want)
			}
		}
	}
}

func checkNATPing(t *testing.T, b *bed) {
	tap := b.server.sniff(t)
	for _, address := range []string{b.server.ipv4, b.server.ipv6, far4, far6} {
		b.client.ping(t, address, "-c", "20", "-i", "0.005")
		b.client.ping(t, address, "-c", "1", "-s", "1")
	}
	inside := netip.MustParseAddr(b.client.ipv4).As4()
	for frame := tap.next(t); frame != nil; frame = tap.next(t) {
		if len(frame) >= 34 && frame[12] == 8 && ([4]byte(frame[26:30]) == inside || [4]byte(frame[30:34]) == inside) {
			t.Fatalf("the client's address is on the server's wire: %x", frame)
		}
	}
}

// Streams both ways, and a file.
func checkNATStreams(t *testing.T, b *bed) {
	farHost.iperfServer(t)
	const bytes, underWay = 24 << 20, 20 << 20 // at most, at the end
	for _, address := range []string{far4, far6} {
		for _, flags := range [][]string{{"-P", "4"}, {"-R"}} {
			r := b.client.iperf(t, address, append(flags, "-n", strconv.Itoa(bytes))...)
			if r.End.Received.Bytes < bytes-underWay {
				t.Errorf("%s %v: %d bytes of %d arrived", address, flags, r.End.Received.Bytes, bytes)
			}
		}
	}
	dir := t.TempDir()
	writeFile(t, dir, "file", make([]byte, 1_234_567))
	farHost.start(t, "python3", "-m", "http.server", "--bind", "::", "--directory", dir, "8000")
	farHost.listening(t, "8000")
	for _, address := range []string{far4, "[" + far6 + "]"} {
		out := b.client.run(t, "curl", "--silent", "--show-error", "--noproxy", "*", "--output", "/dev/null", "--write-out", "%{size_download}", "http://"+address+":8000/file")
		if out != "1234567" {
			t.Errorf("from %s came %s bytes", address, out)
		}
	}
}

// Datagrams in many fragments, hidden one way and published the other.
func checkNATFragments(t *testing.T, b *bed) {
	farHost.echo(t)
	b.client.echo(t)
	for _, c := range []struct {
		from    *host
		address string
		port    int
	}{{b.client, far4, echoPort}, {b.client, far6, echoPort}, {farHost, b.server.gw4, publicPort}, {farHost, b.server.gw6, publicPort}} {
		conn := c.from.reach(t, "udp", c.address, c.port)
		for _, size := range []int{2000, 9000, 30000} {
			message := make([]byte, size)
			for i := range message {
				message[i] = byte(i * 13)
			}
			err := exchange(conn, message, soon)
			if errors.Is(err, syscall.EMSGSIZE) { // the narrow link's router told: now it fits
				err = exchange(conn, message, soon)
			}
			if err != nil {
				t.Errorf("%s: datagram of %d bytes: %v", c.address, size, err)
			}
		}
		conn.Close()
	}
	for _, address := range []string{far4, far6} {
		b.client.ping(t, address, "-c", "2", "-i", "0.05", "-M", "dont", "-s", "9000")
	}
}

// reach is dial to another port.
func (h *host) reach(t *testing.T, network, address string, port int) (c net.Conn) {
	t.Helper()
	h.do(t, func() (err error) {
		c, err = net.DialTimeout(network, netip.AddrPortFrom(netip.MustParseAddr(address), uint16(port)).String(), soon)
		if u, datagrams := c.(*net.UDPConn); err == nil && datagrams {
			return fragmentable(u)
		}
		return err
	})
	return c
}

// What a router behind us says of a packet is told to who sent it, about what it sent.
func checkNATPathMTU(t *testing.T, b *bed) {
	b.client.forgetPaths()
	b.client.pingFails(t, fmt.Sprintf(`From %s .*Frag needed and DF set \(mtu = %d\)`, b.server.ipv4, farMTU), far4, "-M", "do", "-s", "1472")
	b.client.pingFails(t, fmt.Sprintf(`From %s .*Packet too big: mtu=%d`, b.server.ipv6, farMTU), far6, "-M", "do", "-s", "1452")
	b.client.forgetPaths()
	for _, address := range []string{far4, far6} {
		wantMatch(t, b.client.run(t, "tracepath", "-n", "-m", "6", address), fmt.Sprintf(`pmtu %d hops 3`, farMTU))
	}
}

func checkNATTraceroute(t *testing.T, b *bed) {
	for _, method := range [][]string{nil, {"-I"}, {"-T", "-p", "80"}} {
		for _, hops := range [][3]string{{b.client.gw4, b.server.ipv4, far4}, {b.client.gw6, b.server.ipv6, far6}} {
			out := b.client.traceroute(t, hops[2], method...)
			wantMatch(t, out, `1  `+hops[0]+` (?s:.*)2  `+hops[1]+` (?s:.*)3  `+hops[2]+" ")
		}
	}
}

// traceroute asks again where an answer was late.
func (h *host) traceroute(t *testing.T, to string, method ...string) (out string) {
	t.Helper()
	out = " *"
	for try := 0; try < 3 && strings.Contains(out, " *"); try++ {
		out = h.run(t, append(append([]string{"traceroute", "-n", "-w", "2", "-q", "1", "-m", "5"}, method...), to)...)
	}
	return out
}

// The client's port is reached at the router's address, by neighbours and from afar, and
// the client sees who asks.
func checkDNAT(t *testing.T, b *bed) {
	b.client.tellsWho(t)
	for _, c := range []struct {
		from    *host
		address string
		seen    string
	}{{b.server, b.server.gw4, b.server.ipv4}, {b.server, b.server.gw6, b.server.ipv6}, {farHost, b.server.gw4, far4}, {farHost, b.server.gw6, far6}} {
		for _, network := range []string{"tcp", "udp"} {
			conn := c.from.reach(t, network, c.address, publicPort)
			conn.SetDeadline(time.Now().Add(soon))
			fmt.Fprint(conn, "who am I?")
			buf := make([]byte, 100)
			n, err := conn.Read(buf)
			got := string(buf[:n])
			local := conn.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort()
			if seen, wrong := netip.ParseAddrPort(got); wrong != nil || seen.Addr() != netip.MustParseAddr(c.seen) || len(b.cores) == 1 && seen.Port() != local.Port() {
				t.Errorf("%s %s: %v is seen as %q (%v)", network, c.address, local, got, err)
			}
			conn.Close()
		}
	}
}

// Where nobody listens the sender is refused by the address that it asked: a reset, or an
// ICMP error that quotes what it sent. The same of packets that expire.
func checkDNATErrors(t *testing.T, b *bed) {
	b.client.echo(t)
	for _, address := range []string{b.server.gw4, b.server.gw6} {
		b.server.do(t, func() error {
			c, err := net.DialTimeout("tcp", netip.AddrPortFrom(netip.MustParseAddr(address), refusedPort).String(), soon)
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("tcp %s: %v, want a reset", address, err)
			}
			if err == nil {
				c.Close()
			}
			return nil
		})
		c := b.server.reach(t, "udp", address, refusedPort)
		if err := exchange(c, []byte("hello"), soon); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("udp %s: %v, want that nobody listens", address, err)
		}
		c.Close()
		out := farHost.traceroute(t, address, "-T", "-p", strconv.Itoa(publicPort))
		gateway := farGW4
		if strings.Contains(address, ":") {
			gateway = farGW6
		}
		wantMatch(t, out, `1  `+gateway+` (?s:.*)2  `+address+` (?s:.*)3  `+address+" ")
	}
}

// Wherever the client wants to go, the router answers, in the name of who was asked.
func checkPortRedirect(t *testing.T, b *bed) {
	var l net.Listener
	var u net.PacketConn
	b.router.do(t, func() (err error) {
		if l, err = net.Listen("tcp", fmt.Sprintf(":%d", routerPort)); err == nil {
			u, err = net.ListenPacket("udp", fmt.Sprintf(":%d", routerPort))
		}
		return err
	})
	t.Cleanup(func() { l.Close(); u.Close() })
	go echoTCP(l)
	go echoUDP(u)
	message := make([]byte, 100_000)
	for _, address := range []string{b.server.ipv4, b.server.ipv6, far4, far6, "192.0.2.99"} {
		c := b.client.reach(t, "tcp", address, capturedPort)
		if err := exchange(c, message, soon); err != nil {
			t.Errorf("%s: %v", address, err)
		}
		c.Close()
		c = b.client.reach(t, "udp", address, capturedPort)
		for _, size := range []int{1, 1000, 9000} { // questions and answers in fragments, too
			if err := exchange(c, message[:size], soon); err != nil {
				t.Errorf("%s: datagram of %d bytes: %v", address, size, err)
			}
		}
		c.Close()
	}
}

// checkNATListing looks for its flows in the router's table, which shows the answers'
// addresses as conntrack does.
func checkNATListing(t *testing.T, b *bed) {
	b.forgetFlows(t)
	b.server.echo(t)
	b.client.echo(t)
	for _, address := range []string{b.server.ipv4, b.server.ipv6} {
		c, err := b.client.dial(t, "udp", address, soon)
		if err != nil {
			t.Fatal(err)
		}
		if err := exchange(c, []byte("hello"), soon); err != nil {
			t.Error(err)
		}
		c.Close()
		b.client.ping(t, address, "-c", "1", "-e", strconv.Itoa(pingID))
	}
	c := b.server.reach(t, "udp", b.server.gw4, publicPort)
	if err := exchange(c, []byte("hello"), soon); err != nil {
		t.Error(err)
	}
	c.Close()
	var text string
	if b.ffwd == nil {
		text = b.router.run(t, "sh", "-c", "conntrack -L -f ipv4 2>/dev/null; conntrack -L -f ipv6 2>/dev/null")
	} else {
		text = b.ffwd.client(t, "ct", "list")
		for filter, want := range map[string]string{"--reply_dst=" + b.server.gw4: "2", "--reply_src=" + b.client.ipv4: "1", "--reply_sport=" + strconv.Itoa(echoPort): "3"} {
			if n := strings.TrimSpace(b.ffwd.client(t, "ct", "count", filter)); n != want {
				t.Errorf("%s counts %s, want %s", filter, n, want)
			}
		}
		if r := b.ffwd.report(t); r.Flows.Translations < 5 {
			t.Errorf("%d flows are translated, want at least 5", r.Flows.Translations)
		}
	}
	for _, pattern := range []string{
		`src=10\.1\.1\.2 dst=10\.2\.2\.2 sport=(\d+) dport=7 .*src=10\.2\.2\.2 dst=10\.2\.2\.1 sport=7 dport=(\d+) `,
		`src=fd01:1::2 dst=fd01:2::2 sport=(\d+) dport=7 .*src=fd01:2::2 dst=fd01:2::1 sport=7 dport=(\d+) `,
		`src=10\.1\.1\.2 dst=10\.2\.2\.2 type=8 code=0 id=(4242) .*src=10\.2\.2\.2 dst=10\.2\.2\.1 type=0 code=0 id=(\d+) `,
		`src=fd01:1::2 dst=fd01:2::2 type=128 code=0 id=(4242) .*src=fd01:2::2 dst=fd01:2::1 type=129 code=0 id=(\d+) `,
		`src=10\.2\.2\.2 dst=10\.2\.2\.1 sport=(\d+) dport=8080 .*src=10\.1\.1\.2 dst=10\.2\.2\.2 sport=7 dport=(\d+) `,
	} {
		m := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if m == nil || m[1] != m[2] {
			t.Errorf("want %q, the port kept (%v), in:\n%s", pattern, m, text)
		}
	}
}

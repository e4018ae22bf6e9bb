package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A second server, so that the control connections of the two have different names.
const iperfUDPPort = "5202"

// Ports of the server for traffic that does not end well.
const (
	silentPort  = 8  // accepts, and never reads, says or closes anything
	closedPort  = 9  // nobody listens
	droppedPort = 10 // the server's firewall drops what comes
)

// Source ports of the client, so that the same flow has the same name in every run.
// Each use of a port adds its number; each family has its own thousand.
const (
	tcpPorts   = 40000
	udpPorts   = 41000
	scanPorts  = 42000
	lostACK    = tcpPorts + 6 // the client's firewall drops its ACKs: the handshake stays half open
	iperfPorts = 43000
	familyStep = 500
	pingID     = 4242
	iperfData  = " 43" // in the name of a flow
)

// observe sends all the traffic and returns what the router and the wires say of it.
func (b *bed) observe(t *testing.T) *observation {
	t.Helper()
	b.dns(t) // what it asks itself is forgotten below
	b.server.echo(t)
	b.server.takes(t, silentPort, keep)
	b.server.iperfServer(t)
	b.server.start(t, "iperf3", "-s", "-p", iperfUDPPort)
	b.server.listening(t, iperfUDPPort)
	dir := t.TempDir()
	writeFile(t, dir, "file", make([]byte, 2_000_000))
	b.server.start(t, "python3", "-m", "http.server", "--bind", "::", "--directory", dir, "8000")
	b.server.listening(t, "8000")
	b.client.host("ip", "netns", "exec", b.client.name, "nft", fmt.Sprintf("table inet lost { chain out { type filter hook output priority 0; "+
		"tcp sport { %d, %d } tcp flags & syn == 0 drop; }; }", lostACK, lostACK+familyStep))
	b.server.host("ip", "netns", "exec", b.server.name, "nft", fmt.Sprintf("table inet lost { chain in { type filter hook input priority 0; "+
		"meta l4proto { tcp, udp } th dport %d drop; }; }", droppedPort))
	b.client.sysctl(map[string]string{"ipv4/ip_local_port_range": ephemeralPorts})
	b.server.sysctl(map[string]string{"ipv4/tcp_synack_retries": "0"}) // a half-open connection stays as it is
	b.forgetFlows(t)

	byClient, byServer := b.client.record(t), b.server.record(t)
	b.traffic(t)
	// Packets may be under way still, and a connection close in the background.
	o := &observation{flows: b.flows(t)}
	eventually(t, "the flows do not come to rest", func() bool {
		before := o.flows
		time.Sleep(20 * time.Millisecond)
		o.flows = b.flows(t)
		return sameCounts(before, o.flows)
	})
	o.wire = byClient.read(t, b.server.ipv4)
	maps.Copy(o.wire, byServer.read(t, b.client.ipv4))
	return o
}

// sameCounts reports whether no packet came between two listings.
func sameCounts(a, b map[string]*trackedFlow) bool {
	if len(a) != len(b) {
		return false
	}
	for key := range a {
		if b[key] == nil || a[key].packets != b[key].packets {
			return false
		}
	}
	return true
}

// traffic is the same in every run but for the ports that tools choose.
func (b *bed) traffic(t *testing.T) {
	t.Helper()
	begun := time.Now()
	var streams []net.Conn
	for i, address := range []string{b.server.ipv4, b.server.ipv6} {
		streams = append(streams, b.datagrams(t, address, i*familyStep))
		b.connections(t, address, i*familyStep)
		b.client.run(t, "ping", "-n", "-c", "5", "-i", "0.01", "-e", strconv.Itoa(pingID), "-W", "3", address)
		b.tools(t, address, i*familyStep)
	}
	for i, kind := range []string{"A", "AAAA"} {
		b.client.run(t, "dig", "+tries=1", "+time=5", "-b", fmt.Sprintf("%s#%d", b.client.ipv4, udpPorts+100+i), "@"+b.server.ipv4, "name.e2e", kind)
	}
	// A UDP flow is a stream when it goes on after two seconds.
	const streamAfter = 2200 * time.Millisecond
	time.Sleep(time.Until(begun.Add(streamAfter)))
	for _, c := range streams {
		if err := exchange(c, []byte("still here"), soon); err != nil {
			t.Fatal(err)
		}
	}
}

// tools are those that operators try a router with.
func (b *bed) tools(t *testing.T, address string, offset int) {
	t.Helper()
	url := "http://" + netip.AddrPortFrom(netip.MustParseAddr(address), 8000).String() + "/file"
	b.client.run(t, "curl", "--silent", "--show-error", "--noproxy", "*", "--output", os.DevNull, "--local-port", strconv.Itoa(tcpPorts+100+offset), url)
	b.client.iperf(t, address, "-n", "2M", "--cport", strconv.Itoa(iperfPorts+offset))
	b.client.iperf(t, address, "-p", iperfUDPPort, "-u", "-n", "50K", "-b", "10M", "-l", "1000", "--cport", strconv.Itoa(udpPorts+110+offset))
	ports := fmt.Sprintf("%d,%d,%d", echoPort, closedPort, droppedPort)
	for i, scan := range []string{"-sS", "-sT", "-sU"} {
		args := []string{"nmap", scan, "-n", "-Pn", "--max-retries", "0", "--max-rtt-timeout", "200ms", "-p", ports}
		if scan != "-sT" { // whose sockets are the kernel's
			args = append(args, "-g", strconv.Itoa(scanPorts+i+offset))
		}
		if netip.MustParseAddr(address).Is6() {
			args = append(args, "-6")
		}
		b.client.run(t, append(args, address)...)
	}
}

// connections end in every state that an ordinary host can leave one in.
func (b *bed) connections(t *testing.T, address string, offset int) {
	t.Helper()
	connect := func(use int, port uint16) (*net.TCPConn, error) {
		c, err := b.client.from(t, "tcp", tcpPorts+use+offset, address, port, 400*time.Millisecond)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { c.Close() })
		return c.(*net.TCPConn), nil
	}
	exchanged := func(use int) *net.TCPConn {
		c, err := connect(use, echoPort)
		if err == nil {
			err = exchange(c, make([]byte, 1000), soon)
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	exchanged(1)         // ESTABLISHED
	exchanged(2).Close() // TIME_WAIT
	reset := exchanged(3)
	reset.SetLinger(0)
	reset.Close() // CLOSE
	if _, err := connect(4, closedPort); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("closed port: %v", err)
	}
	if _, err := connect(5, droppedPort); err == nil { // SYN_SENT
		t.Error("a dropped SYN was answered")
	}
	if _, err := connect(lostACK-tcpPorts, echoPort); err != nil { // SYN_RECV
		t.Fatal(err)
	}
	half, err := connect(7, silentPort) // CLOSE_WAIT
	if err != nil {
		t.Fatal(err)
	}
	half.CloseWrite()
}

// datagrams are answered, dropped and refused. The flow of the connection returned has
// begun, and may become a stream.
func (b *bed) datagrams(t *testing.T, address string, offset int) (stream net.Conn) {
	t.Helper()
	for use, port := range map[int]uint16{1: echoPort, 2: echoPort, 3: droppedPort, 4: closedPort} {
		c, err := b.client.from(t, "udp", udpPorts+use+offset, address, port, soon)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		const patience = 300 * time.Millisecond
		switch err := exchange(c, make([]byte, 200), patience); {
		case port == echoPort && err != nil:
			t.Fatal(err)
		case port == droppedPort && !errors.Is(err, os.ErrDeadlineExceeded), port == closedPort && !errors.Is(err, syscall.ECONNREFUSED):
			t.Errorf("port %d: %v", port, err)
		}
		if use == 2 {
			stream = c
		}
	}
	return stream
}

// from connects from a source port.
func (h *host) from(t *testing.T, network string, local int, address string, port uint16, limit time.Duration) (c net.Conn, err error) {
	t.Helper()
	h.do(t, func() error {
		d := net.Dialer{Timeout: limit, LocalAddr: &net.TCPAddr{Port: local}}
		if network == "udp" {
			d.LocalAddr = &net.UDPAddr{Port: local}
		}
		c, err = d.DialContext(context.Background(), network, netip.AddrPortFrom(netip.MustParseAddr(address), port).String())
		return nil
	})
	return c, err
}

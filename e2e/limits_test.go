package e2e

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Addresses on the client's side besides its own.
const (
	secondClient  = "10.1.1.3"
	greedyClient  = "10.1.1.4"
	managerClient = "10.1.1.9"
	openPort      = 9001 // of a server that takes all connections and says nothing
)

// The limits of the test. What is not kept for the manager is what the others take up.
const (
	perSource, perRule, perClient = 10, 15, 60
	allFlows, unreservedFlows     = 1024, 96
)

// CT-7: live connections meet conn_max of each source and of a rule, the maximum of a source,
// the end of the table and the reserve. Who is beyond a limit is refused and counted, everybody
// else is served all the while, and room that is made is used.
func TestConnectionLimits(t *testing.T) {
	runChecks(t, []variant{afPacket}, topology{
		maxFlows: allFlows, metrics: "127.0.0.1:9100",
		// What is forgotten stays so, and what is there stays, however long the test takes.
		ct: fmt.Sprintf("max_flows_per_source = %d\nreserve = %d\ntcp.loose = false\ntimeouts.udp = { unreplied = \"1h\", replied = \"1h\" }\n",
			perClient, allFlows-unreservedFlows),
		settings: neighboursOf(secondClient, greedyClient, managerClient) + fmt.Sprintf(`
[[rules]]
comment = "echo per source"
action = "reject"
protocol = "tcp"
dst_ports = [%[1]d]
conn_max = %[2]d
conn_max_per = "source"
[[rules]]
comment = "echo in all"
action = "drop"
protocol = "udp"
dst_ports = [%[1]d]
conn_max = %[3]d
[[rules]]
action = "accept"
src = [%[4]q]
priority = true
`, echoPort, perSource, perRule, managerClient+"/32")}, []check{{"limits", checkLimits}})
}

// neighboursOf are more addresses of the client.
func neighboursOf(addresses ...string) string {
	var text strings.Builder
	for _, a := range addresses {
		fmt.Fprintf(&text, "[[neighbours]]\nport = \"lan\"\naddress = %q\nmac = \"02:00:00:00:01:02\"\n", a)
	}
	return text.String()
}

// dialFrom opens a connection to the server from an address of the host's.
func (h *host) dialFrom(t *testing.T, network, from, to string, port int, limit time.Duration) (c net.Conn, err error) {
	t.Helper()
	h.do(t, func() error {
		d := net.Dialer{Timeout: limit, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		if network == "udp" {
			d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(from)}
		}
		c, err = d.Dial(network, net.JoinHostPort(to, fmt.Sprint(port)))
		return nil
	})
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// crowd opens n connections from one address, of which all must come about.
func (b *bed) crowd(t *testing.T, from string, port, n int) (list []net.Conn) {
	t.Helper()
	for i := range n {
		c, err := b.client.dialFrom(t, "tcp", from, b.server.ipv4, port, soon)
		if err != nil {
			t.Fatalf("connection %d from %s to port %d: %v", i, from, port, err)
		}
		list = append(list, c)
	}
	return list
}

// allServed exchanges something over each connection.
func allServed(t *testing.T, connections ...net.Conn) {
	t.Helper()
	for _, c := range connections {
		if err := exchange(c, []byte("still there?"), soon); err != nil {
			t.Errorf("%v: %v", c.LocalAddr(), err)
		}
	}
}

// A connection is refused at once by a reset, and after a while by silence.
func wantReset(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("want the connection refused, got %v", err)
	}
}

func wantSilence(t *testing.T, err error) {
	t.Helper()
	if late := net.Error(nil); !errors.As(err, &late) || !late.Timeout() {
		t.Errorf("want no answer, got %v", err)
	}
}

func checkLimits(t *testing.T, b *bed) {
	for _, a := range []string{secondClient, greedyClient, managerClient} {
		b.client.ip("addr add " + a + "/24 dev " + b.client.iface)
	}
	b.server.echo(t)
	b.server.takes(t, openPort, keep)
	count := func(args ...string) string {
		return strings.TrimSpace(b.ffwd.client(t, append([]string{"ct", "count"}, args...)...))
	}
	try := func(from string, port int, limit time.Duration) error {
		_, err := b.client.dialFrom(t, "tcp", from, b.server.ipv4, port, limit)
		return err
	}

	// Of each source.
	first := b.crowd(t, b.client.ipv4, echoPort, perSource)
	wantReset(t, try(b.client.ipv4, echoPort, soon))
	second := b.crowd(t, secondClient, echoPort, perSource)
	wantReset(t, try(secondClient, echoPort, soon))
	allServed(t, append(first, second...)...)
	wantMatch(t, b.ffwd.client(t, "show", "rules"), `(?m)^\s*0\s.*\s2\s.*echo per source`)
	port := fmt.Sprint(first[0].LocalAddr().(*net.TCPAddr).Port)
	wantMatch(t, b.ffwd.client(t, "ct", "delete", "--src", b.client.ipv4, "--sport", port, "--dport", fmt.Sprint(echoPort)), `^1 deleted`)
	first = append(first[1:], b.crowd(t, b.client.ipv4, echoPort, 1)...)
	wantReset(t, try(b.client.ipv4, echoPort, soon))

	// Of a rule, whatever the source.
	var datagrams []net.Conn
	for i := range perRule + 1 {
		c, err := b.client.dialFrom(t, "udp", []string{b.client.ipv4, secondClient, greedyClient}[i%3], b.server.ipv4, echoPort, soon)
		if err != nil {
			t.Fatal(err)
		}
		if i == perRule {
			wantSilence(t, exchange(c, []byte("one too many"), refusedWithin))
			break
		}
		datagrams = append(datagrams, c)
		allServed(t, c)
	}
	allServed(t, datagrams...)

	// Of a source in all: the greedy one has some datagrams' flows already.
	b.crowd(t, greedyClient, openPort, perClient-perRule/3)
	before := b.ffwd.report(t)
	wantSilence(t, try(greedyClient, openPort, refusedWithin))
	if now := b.ffwd.report(t); now.Drops["ct_source_limit"] == before.Drops["ct_source_limit"] {
		t.Errorf("nothing was dropped for ct_source_limit: %v", now.Drops)
	}
	if n := count("--src", greedyClient); n != fmt.Sprint(perClient) {
		t.Errorf("the greedy source has %s flows, want %d", n, perClient)
	}

	// The table is full for everybody but the manager.
	there := 2*perSource + perRule + perClient - perRule/3
	b.crowd(t, secondClient, openPort, unreservedFlows-there)
	wantSilence(t, try(secondClient, openPort, refusedWithin))
	if n := count(); n != fmt.Sprint(unreservedFlows) {
		t.Errorf("%s flows, want %d", n, unreservedFlows)
	}
	manager := b.crowd(t, managerClient, echoPort, perSource)
	b.crowd(t, managerClient, openPort, 2*perSource)
	wantReset(t, try(managerClient, echoPort, soon))
	wantSilence(t, try(secondClient, openPort, refusedWithin))
	if n := count(); n != fmt.Sprint(unreservedFlows+3*perSource) {
		t.Errorf("%s flows, want %d", n, unreservedFlows+3*perSource)
	}
	after := b.ffwd.report(t)
	if after.Drops["ct_table_full"] < 2 || after.Flows.Full < 2 || after.Flows.EarlyDropped != 0 {
		t.Errorf("refused for want of room: %d and %d packets; %d flows gave way", after.Drops["ct_table_full"], after.Flows.Full, after.Flows.EarlyDropped)
	}
	allServed(t, append(append(append(first, second...), datagrams...), manager...)...)
	wantMatch(t, b.router.run(t, "curl", "--silent", "--show-error", "--noproxy", "*", "http://"+b.metrics+"/metrics"),
		`(?m)^ffwd_flows_limited_total\{per="source"\} [1-9]`)
}

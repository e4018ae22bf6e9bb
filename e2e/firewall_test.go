package e2e

import (
	"context"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// refusedWithin is how long we wait for an answer that must not come.
const refusedWithin = 300 * time.Millisecond

// FF-6, CT-1, CT-2: the client may open flows, the server may only answer.
func TestStatefulFirewall(t *testing.T) {
	runChecks(t, []variant{kernel, afPacket, afXDP}, topology{policy: stateful}, []check{
		{"client opens", checkClientOpens},
		{"server may not", checkServerMayNot},
		{"reload under traffic", checkReload},
		{"faulty reload", checkFaultyReload},
		{"reload reaches open flows", checkReloadReachesFlows},
	})
}

func checkClientOpens(t *testing.T, b *bed) {
	b.server.echo(t)
	for _, address := range []string{b.server.ipv4, b.server.ipv6} {
		b.client.ping(t, address, "-c", "3", "-i", "0.01")
		for _, network := range []string{"tcp", "udp"} {
			c, err := b.client.dial(t, network, address, soon)
			if err != nil {
				t.Fatalf("%s %s: %v", network, address, err)
			}
			defer c.Close()
			for range 3 {
				if err := exchange(c, []byte("hello"), soon); err != nil {
					t.Errorf("%s %s: %v", network, address, err)
				}
			}
		}
	}
}

func checkServerMayNot(t *testing.T, b *bed) {
	b.client.echo(t)
	var before uint64
	if b.ffwd != nil {
		before = b.ffwd.report(t).reason("policy_in")
	}
	for _, address := range []string{b.client.ipv4, b.client.ipv6} {
		b.server.pingFails(t, "100% packet loss", address, "-W", "0.2")
		if c, err := b.server.dial(t, "tcp", address, refusedWithin); err == nil {
			c.Close()
			t.Errorf("tcp %s: the server opened a connection", address)
		} else if failed, ok := err.(net.Error); !ok || !failed.Timeout() {
			t.Errorf("tcp %s: want silence, got %v", address, err)
		}
		c, err := b.server.dial(t, "udp", address, soon)
		if err != nil {
			t.Fatal(err)
		}
		if err := exchange(c, []byte("hello"), refusedWithin); err == nil {
			t.Errorf("udp %s: the server got an answer", address)
		}
		c.Close()
	}
	if b.ffwd == nil {
		return
	}
	const attempts = 3 * 2 // ping, TCP, UDP; two families
	if n := b.ffwd.report(t).reason("policy_in") - before; n < attempts {
		t.Errorf("policy_in grew by %d, want at least %d", n, attempts)
	}
}

// A reload opens the switch, and another closes it, while a connection runs on.
func checkReload(t *testing.T, b *bed) {
	b.server.iperfServer(t)
	b.client.echo(t)
	running := b.client.start(t, "iperf3", "-p", iperfPort, "-c", b.server.ipv4, "-t", "600")
	b.client.sends(t, iperfPort)
	b.setPolicy(t, open)
	c, err := b.server.dial(t, "tcp", b.client.ipv4, soon)
	if err != nil {
		t.Fatalf("the reload did not open the switch: %v", err)
	}
	if err := exchange(c, []byte("hello"), soon); err != nil {
		t.Error(err)
	}
	c.Close()
	b.setPolicy(t, stateful)
	if c, err := b.server.dial(t, "tcp", b.client.ipv4, refusedWithin); err == nil {
		c.Close()
		t.Error("the reload did not close the switch")
	}
	b.client.sends(t, iperfPort)
	running.cmd.Process.Kill()
	<-running.ended
}

// ackedBytes is in what ss says of a connection.
var ackedBytes = regexp.MustCompile(`bytes_acked:(\d+)`)

// sends waits until a host has sent another MiB to a port over TCP.
func (h *host) sends(t *testing.T, port string) {
	t.Helper()
	acked := func() (sum int) {
		for _, m := range ackedBytes.FindAllStringSubmatch(h.run(t, "ss", "-Htnoi", "state", "established", "dport = "+port), -1) {
			n, _ := strconv.Atoi(m[1])
			sum += n
		}
		return sum
	}
	before := acked()
	eventually(t, "nothing arrives at "+port, func() bool { return acked() > before+1<<20 })
}

// A flow that was let in before obeys the new rules from its next packet on.
func checkReloadReachesFlows(t *testing.T, b *bed) {
	b.server.echo(t)
	c, err := b.client.dial(t, "udp", b.server.ipv4, soon)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, p := range []policy{stateful, closed, stateful, closed, open, stateful} {
		b.setPolicy(t, p)
		limit := soon
		if p == closed {
			limit = refusedWithin
		}
		if err := exchange(c, []byte("hello"), limit); (err == nil) == (p == closed) {
			t.Errorf("policy %d: %v", p, err)
		}
	}
}

// A reload that fails says why and changes nothing.
func checkFaultyReload(t *testing.T, b *bed) {
	if b.ffwd == nil {
		return
	}
	path := writeFile(t, t.TempDir(), "faulty.toml", []byte("[policy]\ndefault_in = \"perhaps\"\n"))
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, ffwd, "reload", "-c", path, "--socket", b.ffwd.socket).CombinedOutput()
	if err == nil {
		t.Errorf("a faulty configuration was taken over:\n%s", out)
	}
	wantMatch(t, string(out), `faulty.toml:2: policy.default_in: .*perhaps`)
	wantMatch(t, b.ffwd.client(t, "show", "config"), `default_in = "drop"`)
	checkClientOpens(t, b)
}

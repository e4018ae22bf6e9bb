package e2e

import (
	"encoding/json"
	"errors"
	"syscall"
	"testing"
)

// FF-6: who is rejected learns it at once, as from the kernel's nftables.
func TestReject(t *testing.T) {
	runChecks(t, []variant{kernel, afPacket, afXDP}, topology{policy: rejecting}, []check{
		{"refused", checkRefused},
		{"ping", checkPingRejected},
		{"hits", checkHits},
	})
}

func checkRefused(t *testing.T, b *bed) {
	b.server.echo(t)
	for _, address := range []string{b.server.ipv4, b.server.ipv6} {
		if c, err := b.client.dial(t, "tcp", address, soon); !errors.Is(err, syscall.ECONNREFUSED) {
			if err == nil {
				c.Close()
			}
			t.Errorf("tcp %s: want connection refused, got %v", address, err)
		}
		c, err := b.client.dial(t, "udp", address, soon)
		if err != nil {
			t.Fatal(err)
		}
		if err := exchange(c, []byte("hello"), soon); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("udp %s: want connection refused, got %v", address, err)
		}
		c.Close()
	}
}

func checkPingRejected(t *testing.T, b *bed) {
	b.client.pingFails(t, "Packet filtered", b.server.ipv4, "-W", "1")
	b.client.pingFails(t, "Administratively prohibited", b.server.ipv6, "-W", "1")
}

// checkHits looks for what the checks before it were counted as: each rule matched one
// packet per family at least.
func checkHits(t *testing.T, b *bed) {
	if b.ffwd == nil {
		return
	}
	var list struct {
		Rules []struct {
			Action         string
			Packets, Bytes uint64
		}
	}
	if err := json.Unmarshal([]byte(b.ffwd.client(t, "show", "rules", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Rules) != 4 {
		t.Fatalf("%d rules", len(list.Rules))
	}
	for i, least := range []uint64{2, 1, 1, 2} { // TCP, ICMP, ICMPv6, UDP
		if r := list.Rules[i]; r.Action != "reject" || r.Packets < least || r.Bytes < 28*least {
			t.Errorf("rule %d: %+v, want at least %d packets", i, r, least)
		}
	}
}

package e2e

import (
	"encoding/binary"
	"net"
	"testing"
	"time"
)

// A port with an analyser gets what came in, both ways, with the MAC addresses and the TTL
// that it came with, on ports of either kind; the traffic itself arrives. Source: VQ-6
func TestTeeToPort(t *testing.T) {
	runChecks(t, []variant{afPacket, afXDP}, topology{mirror: true, settings: `
[[rules]]
action = "tee"
tee_port = "mirror0"
protocol = "icmp"
`}, []check{{"ping", checkTee}})
}

func checkTee(t *testing.T, b *bed) {
	const pings = 5
	analyser := b.mirror.sniff(t)
	eventually(t, "no ping passes", func() bool { // the hosts' ends may still come up
		_, err := b.client.try(t, "ping", "-n", "-c", "1", "-W", "1", b.server.ipv4)
		return err == nil
	})
	before := b.copies(t)
	b.client.run(t, "ping", "-n", "-c", "5", "-i", "0.05", "-W", "2", "-s", "1400", b.server.ipv4)
	got := map[byte]int{} // by ICMP type
	for deadline := time.Now().Add(soon); got[0] < pings || got[8] < pings; {
		if time.Now().After(deadline) {
			t.Fatalf("copies by ICMP type: %v; drops %v", got, b.ffwd.report(t).Drops)
		}
		f := analyser.next(t)
		if len(f) < 14+20+8 || binary.BigEndian.Uint16(f[12:]) != 0x0800 || f[14+9] != 1 || len(f) < 1400 {
			continue
		}
		from := b.client
		if f[34] == 0 {
			from = b.server
		}
		if wire := net.HardwareAddr(f[:6]).String() + " " + net.HardwareAddr(f[6:12]).String(); wire != from.gwMAC+" "+from.mac || f[14+8] != 64 || len(f) != 14+20+8+1400 {
			t.Errorf("a copy of %d bytes with %s, TTL %d", len(f), wire, f[14+8])
		}
		got[f[34]]++
	}
	if got[0] != pings || got[8] != pings {
		t.Errorf("copies by ICMP type: %v", got)
	}
	if n := b.copies(t) - before; n != 2*pings {
		t.Errorf("%d copies counted", n)
	}
}

// copies is how many copies the router made; it lost none.
func (b *bed) copies(t *testing.T) uint64 {
	t.Helper()
	var r struct {
		Mirrored    uint64 `json:"mirrored"`
		MirrorsLost uint64 `json:"mirrors_lost"`
	}
	if err := b.ffwd.get("/v1/report", &r); err != nil || r.MirrorsLost != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	return r.Mirrored
}

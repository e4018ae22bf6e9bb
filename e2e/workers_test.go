package e2e

import (
	"runtime"
	"testing"
)

// A veth has one queue: two workers share its packets by software. CT-1
func TestTwoWorkers(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("two workers need two cores")
	}
	needRoot(t)
	for _, v := range []variant{afPacket, afXDP} {
		t.Run(v.name, func(t *testing.T) {
			b := newBed(t, v, topology{cores: []int{0, 1}, policy: stateful})
			for _, c := range []check{
				{"ping", func(t *testing.T, b *bed) {
					for _, address := range []string{b.server.ipv4, b.server.ipv6} {
						b.client.ping(t, address, "-c", "100", "-i", "0.002")
					}
				}},
				{"many connections", checkManyConnections},
				{"iperf", checkIperfShort},
			} {
				t.Run(c.name, func(t *testing.T) { c.run(t, b) })
			}
			r := b.stop(t)
			if len(r.Workers) != 2 {
				t.Fatalf("%d workers", len(r.Workers))
			}
			for i, w := range r.Workers {
				if other := r.Workers[1-i]; w.HandedOver == 0 && other.HandedOver == 0 || w.HandedOver != other.TakenOver {
					t.Errorf("worker %d handed over %d packets, the other took %d", i, w.HandedOver, other.TakenOver)
				}
			}
		})
	}
}

package pipeline

import (
	"testing"

	"github.com/gopacket/gopacket/layers"
)

// FF-12: two bursts of one poll that together overfill a port's buffer, and a
// burst that leaves by both ports, lose nothing and keep their order.
func TestOutputBuffers(t *testing.T) {
	const n = 200
	w := newWorld(t, func(c *Config, _ *world) { c.Burst = 256 })
	there := func(i int) []byte { return frame(ip4(a4, b4, layers.IPProtocolUDP), udp(uint16(i), 53), data(20)) }
	for i := range n { // both to B: the second turns round on its port
		w.rx[0].frames = append(w.rx[0].frames, there(i))
		w.rx[1].frames = append(w.rx[1].frames, back(ip4(a4, b4, layers.IPProtocolUDP), udp(uint16(n+i), 53), data(20)))
	}
	check := func(frames [][]byte, count, step int) {
		t.Helper()
		if len(frames) != count {
			t.Fatalf("%d frames, want %d", len(frames), count)
		}
		for i, f := range frames {
			if port := int(f[34])<<8 | int(f[35]); port != i*step {
				t.Fatalf("frame %d has source port %d", i, port)
			}
		}
	}
	out := w.send(0)
	check(out[1], 2*n, 1)
	var mixed [][]byte
	for i := range n {
		dst := b4
		if i%2 != 0 {
			dst = a4
		}
		mixed = append(mixed, frame(ip4(a4, dst, layers.IPProtocolUDP), udp(uint16(i), 53), data(20)))
	}
	out = w.send(0, mixed...)
	check(out[1], n/2, 2)
	if len(out[0]) != n/2 {
		t.Errorf("%d frames went back, want %d", len(out[0]), n/2)
	}
}

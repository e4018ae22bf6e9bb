package ct

import (
	"testing"

	"ffwd/packet"
)

// CT-1: both directions have one key, also when a host talks to itself.
func TestKeyOfBothDirections(t *testing.T) {
	secret := NewSecret()
	for _, of := range []tuple{udp4(1), udp6(1), udp4(0xfffffff)} {
		for _, self := range []bool{false, true} {
			if self {
				of.dst = of.src
			}
			var p, q packet.Packet
			load(&p, &secret, of, 3)
			load(&q, &secret, of.reversed(), 3)
			if p.Key0 != q.Key0 || p.Key1 != q.Key1 || p.Hash != q.Hash || p.Flags == q.Flags {
				t.Errorf("%v: %x %x %x, reversed %x %x %x", of, p.Key0, p.Key1, p.Flags, q.Key0, q.Key1, q.Flags)
			}
		}
	}
}

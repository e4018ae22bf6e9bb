package ct

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/rand/v2"
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

// CT-1: of two IPv6 ends one is behind the other as their bytes say, ports included, and
// of an end and itself neither.
func TestOrderOfEnds(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 10_000 {
		var ends [2][20]byte // address, and port behind two zeroes
		for i := range ends {
			for j := range ends[i] {
				if random.IntN(8) == 0 && (j < 16 || j >= 18) {
					ends[i][j] = byte(random.IntN(3)) - 1
				}
			}
		}
		port := func(e *[20]byte) uint32 { return uint32(binary.LittleEndian.Uint16(e[18:])) }
		a, b := &ends[0], &ends[1]
		want := bytes.Compare(a[:16], b[:16])
		if want == 0 { // ports only have to differ in one order: as numbers, here
			want = cmp.Compare(port(a)|port(b)<<16, port(b)|port(a)<<16)
		}
		got := behind((*[16]byte)(a[:]), (*[16]byte)(b[:]), port(a)|port(b)<<16)
		if (got == 1) != (want > 0) || got > 1 {
			t.Fatalf("%x behind %x: %d", a, b, got)
		}
	}
}

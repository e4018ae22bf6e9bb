package packet

import (
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// CT-2: UDP packets of every length that a frame has, sealed with a sum made by its definition:
// right as they are, wrong with any bit changed.
func TestTransportChecksum(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for size := 28; size <= 1500; size++ {
		ip := make([]byte, size)
		for i := range ip {
			ip[i] = byte(rng.Uint32())
		}
		high, low := byte((size-IPv4HeaderLen)>>8), byte(size-IPv4HeaderLen)
		ip[9], ip[24], ip[25], ip[26], ip[27] = ProtoUDP, high, low, 0, 0
		sum := ^naiveSum(slices.Concat(ip[12:20], []byte{0, ProtoUDP, high, low}, ip[20:]))
		if sum == 0 {
			sum = 0xffff
		}
		ip[26], ip[27] = byte(sum>>8), byte(sum)
		verified := func() bool {
			return (&Packet{Head: Head{Data: unsafe.Pointer(&ip[0]), Len: uint16(size), L4: IPv4HeaderLen, Proto: ProtoUDP}}).TransportOK()
		}
		if !verified() {
			t.Fatalf("wrong although right: %x", ip)
		}
		for _, at := range []int{12, 19, 20, 24, 25, size - 1, 12 + rng.IntN(size-12)} {
			bit := byte(1) << rng.IntN(8)
			ip[at] ^= bit
			if ip[26]|ip[27] != 0 && verified() {
				t.Fatalf("right although octet %d is wrong: %x", at, ip)
			}
			ip[at] ^= bit
		}
	}
}

// BenchmarkTransportOK measures the verification of a UDP packet, small and full.
func BenchmarkTransportOK(b *testing.B) {
	for name, size := range map[string]int{"64": 50, "1500": 1500} {
		b.Run(name, func(b *testing.B) {
			ip := make([]byte, size)
			ip[0], ip[9] = 0x45, ProtoUDP
			ip[24], ip[25], ip[26] = byte((size-20)>>8), byte(size-20), 1
			p := Packet{Head: Head{Data: unsafe.Pointer(&ip[0]), Len: uint16(size), L4: IPv4HeaderLen, Proto: ProtoUDP}}
			for b.Loop() {
				p.TransportOK()
			}
		})
	}
}

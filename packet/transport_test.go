package packet

import (
	"encoding/binary"
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

// FF-6: two bytes of an SCTP packet change together with its checksum, and a wrong checksum
// stays as wrong as it was. Source: RFC 9260 6.8
func TestReplaceSCTP(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for size := 12; size <= 1480; size++ {
		m := make([]byte, size)
		for i := range m {
			m[i] = byte(rng.Uint32())
		}
		wrong := rng.Uint32() & -(rng.Uint32() & 1)
		binary.LittleEndian.PutUint32(m[8:], naiveCRC32C(m)^wrong)
		at, with := 2*rng.IntN(2), [2]byte{byte(rng.Uint32()), byte(rng.Uint32())}
		want := slices.Clone(m)
		copy(want[at:], with[:])
		binary.LittleEndian.PutUint32(want[8:], naiveCRC32C(want)^wrong)
		if ReplaceSCTP(m, at, with); !slices.Equal(m, want) {
			t.Fatalf("%d bytes, %x at %d: %x, want %x", size, with, at, m[:12], want[:12])
		}
	}
}

// naiveCRC32C is the checksum of an SCTP packet, bit by bit.
func naiveCRC32C(m []byte) uint32 {
	crc := ^uint32(0)
	for i, b := range m {
		if i >= 8 && i < 12 {
			b = 0
		}
		crc ^= uint32(b)
		for range 8 {
			crc = crc>>1 ^ 0x82f63b78&-(crc&1)
		}
	}
	return ^crc
}

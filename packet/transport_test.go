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
		if ip[26], ip[27] = 0, 0; !verified() {
			t.Fatal("wrong although its sender made none")
		}
	}
}

// CT-2: messages of the other protocols with sums made by their definitions, right as they are
// and wrong with any bit changed, in the pseudo-header too where there is one; and what has no
// sum, or one that is not known here, is right.
func TestTransportChecksums(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	ones := func(at int) func(covered, message []byte) {
		return func(covered, message []byte) {
			sum := ^naiveSum(covered)
			message[at], message[at+1] = byte(sum>>8), byte(sum)
		}
	}
	castagnoli := func(_, message []byte) { binary.LittleEndian.PutUint32(message[8:], naiveCRC32C(message)) }
	for _, tc := range []struct {
		name   string
		flags  uint8
		proto  uint8
		field  int // offset and length of the sum
		bytes  int
		seal   func(covered, message []byte)
		pseudo bool
	}{
		{"TCP", 0, ProtoTCP, 16, 2, ones(16), true},
		{"TCP6", IsIPv6, ProtoTCP, 16, 2, ones(16), true},
		{"UDP6", IsIPv6, ProtoUDP, 6, 2, ones(6), true},
		{"ICMP", 0, ProtoICMP, 2, 2, ones(2), false},
		{"ICMPv6", IsIPv6, ProtoICMPv6, 2, 2, ones(2), true},
		{"SCTP", 0, ProtoSCTP, 8, 4, castagnoli, false},
		{"SCTP6", IsIPv6, ProtoSCTP, 8, 4, castagnoli, false},
		{"ICMP in IPv6", IsIPv6, ProtoICMP, 0, 0, nil, false},
		{"ICMPv6 in IPv4", 0, ProtoICMPv6, 0, 0, nil, false},
		{"GRE", 0, ProtoGRE, 0, 0, nil, false},
	} {
		header, ends := IPv4HeaderLen, 12
		if tc.flags == IsIPv6 {
			header, ends = IPv6HeaderLen, 8
		}
		for size := 20; size < 120; size++ {
			ip := make([]byte, header+size)
			for i := range ip {
				ip[i] = byte(rng.Uint32())
			}
			message := ip[header:]
			if tc.proto == ProtoUDP {
				message[4], message[5] = 0, byte(size)
			}
			clear(message[tc.field:][:tc.bytes])
			covered := message
			if tc.pseudo {
				covered = slices.Concat(ip[ends:header], []byte{0, tc.proto, 0, byte(size)}, message)
			}
			if tc.seal != nil {
				tc.seal(covered, message)
			}
			p := &Packet{Head: Head{Data: unsafe.Pointer(&ip[0]), Len: uint16(len(ip)), L4: uint8(header), Proto: tc.proto, Flags: tc.flags}}
			if !p.TransportOK() {
				t.Fatalf("%s: wrong although right: %x", tc.name, ip)
			}
			places := []int{header, header + size - 1, header + rng.IntN(size)}
			if tc.pseudo {
				places = append(places, ends, header-1)
			}
			for _, at := range places {
				bit := byte(1) << rng.IntN(8)
				ip[at] ^= bit
				if p.TransportOK() != (tc.seal == nil) {
					t.Fatalf("%s: right although octet %d is wrong: %x", tc.name, at, ip)
				}
				ip[at] ^= bit
			}
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

package pmd

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// The key and vectors of Microsoft's "Verifying the RSS hash calculation".
var verificationKey = []byte{
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
	0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
	0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
}

// toeplitz is the hash by its definition.
func toeplitz(key, input []byte) (hash uint32) {
	for i, b := range input {
		for bit := range 8 {
			if b&(0x80>>bit) != 0 {
				hash ^= binary.BigEndian.Uint32(key[i:])<<bit | uint32(key[i+4])>>(8-bit)
			}
		}
	}
	return hash
}

// rssInput lays out an RSS input: addresses, then ports if there are any.
func rssInput(src, dst netip.Addr, ports ...uint16) []byte {
	input := append(src.AsSlice(), dst.AsSlice()...)
	for _, port := range ports {
		input = binary.BigEndian.AppendUint16(input, port)
	}
	return input
}

func TestToeplitzAgainstMicrosoftsVectors(t *testing.T) {
	tests := []struct {
		dst, src                string
		withPorts, withoutPorts uint32
		dstPort, srcPort        uint16
	}{
		{"161.142.100.80", "66.9.149.187", 0x51ccc178, 0x323e8fc2, 1766, 2794},
		{"65.69.140.83", "199.92.111.2", 0xc626b0ea, 0xd718262a, 4739, 14230},
		{"12.22.207.184", "24.19.198.95", 0x5c2b394a, 0xd2d0a5de, 38024, 12898},
		{"209.142.163.6", "38.27.205.30", 0xafc7327f, 0x82989176, 2217, 48228},
		{"202.188.127.2", "153.39.163.191", 0x10e828a2, 0x5d1809c5, 1303, 44251},
		{"3ffe:2501:200:3::1", "3ffe:2501:200:1fff::7", 0x40207d3d, 0x2cc18cd5, 1766, 2794},
		{"ff02::1", "3ffe:501:8::260:97ff:fe40:efab", 0xdde51bbf, 0x0f0c461c, 4739, 14230},
		{"fe80::200:f8ff:fe21:67cf", "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 0x02d1feef, 0x4b61e985, 38024, 44251},
	}
	for _, tt := range tests {
		src, dst := netip.MustParseAddr(tt.src), netip.MustParseAddr(tt.dst)
		if got := toeplitz(verificationKey, rssInput(src, dst)); got != tt.withoutPorts {
			t.Errorf("%s -> %s: %#08x, want %#08x", tt.src, tt.dst, got, tt.withoutPorts)
		}
		if got := toeplitz(verificationKey, rssInput(src, dst, tt.srcPort, tt.dstPort)); got != tt.withPorts {
			t.Errorf("%s:%d -> %s:%d: %#08x, want %#08x", tt.src, tt.srcPort, tt.dst, tt.dstPort, got, tt.withPorts)
		}
	}
}

// CT-1: under the symmetric key both directions of a flow hash alike, and the short way
// to the hash agrees with the long one.
func TestSymmetricHash(t *testing.T) {
	key := SymmetricKey(40)
	rapid.Check(t, func(t *rapid.T) {
		address := rapid.SliceOfN(rapid.Byte(), 16, 16)
		src, dst := [16]byte(address.Draw(t, "src")), [16]byte(address.Draw(t, "dst"))
		srcPort, dstPort := rapid.Uint16().Draw(t, "srcPort"), rapid.Uint16().Draw(t, "dstPort")

		there := toeplitz(key, rssInput(netip.AddrFrom16(src), netip.AddrFrom16(dst), srcPort, dstPort))
		back := toeplitz(key, rssInput(netip.AddrFrom16(dst), netip.AddrFrom16(src), dstPort, srcPort))
		if there != back {
			t.Fatalf("IPv6: %#08x there, %#08x back", there, back)
		}
		if short := SymmetricHash(FoldIPv6(&src, &dst, srcPort, dstPort)); short != there {
			t.Fatalf("IPv6: %#08x the short way, %#08x the long", short, there)
		}

		src4, dst4 := [4]byte(src[:4]), [4]byte(dst[:4])
		there = toeplitz(key, rssInput(netip.AddrFrom4(src4), netip.AddrFrom4(dst4), srcPort, dstPort))
		back = toeplitz(key, rssInput(netip.AddrFrom4(dst4), netip.AddrFrom4(src4), dstPort, srcPort))
		if there != back {
			t.Fatalf("IPv4: %#08x there, %#08x back", there, back)
		}
		be := binary.BigEndian
		if short := SymmetricHash(FoldIPv4(be.Uint32(src4[:]), be.Uint32(dst4[:]), srcPort, dstPort)); short != there {
			t.Fatalf("IPv4: %#08x the short way, %#08x the long", short, there)
		}
	})
}

func BenchmarkSymmetricHashIPv4(b *testing.B) {
	var sum uint32
	for i := 0; b.Loop(); i++ {
		sum ^= SymmetricHash(FoldIPv4(uint32(i), 0x0a000001, uint16(i), 443))
	}
	_ = sum
}

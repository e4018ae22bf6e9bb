package capture

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// decode reads a capture by the letter of the format and each frame with gopacket,
// the independent judge of all we write. (gopacket's own reader of the file format
// would take golang.org/x/net along.)
func decode(t *testing.T, file []byte) []gopacket.Packet {
	t.Helper()
	const fileHeader = "\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x01\x00\x00\x00"
	rest, ok := bytes.CutPrefix(file, []byte(fileHeader))
	if !ok {
		t.Fatalf("file begins with % x", file[:min(24, len(file))])
	}
	var list []gopacket.Packet
	for len(rest) > 0 {
		if len(rest) < 16 {
			t.Fatalf("packet %d: %d bytes of record header", len(list), len(rest))
		}
		captured, length := binary.LittleEndian.Uint32(rest[8:]), binary.LittleEndian.Uint32(rest[12:])
		rest = rest[16:]
		if captured != length || int(length) > len(rest) {
			t.Fatalf("packet %d: captured %d bytes of %d, %d in the file", len(list), captured, length, len(rest))
		}
		list = append(list, gopacket.NewPacket(rest[:length], layers.LayerTypeEthernet, gopacket.Default))
		rest = rest[length:]
	}
	return list
}

// flowOf names a packet's flow alike for both directions, and gives its direction.
func flowOf(t *testing.T, p gopacket.Packet) (both string, oneWay string) {
	t.Helper()
	if p.NetworkLayer() == nil || p.TransportLayer() == nil {
		t.Fatalf("no network or transport layer: %v", p)
	}
	net, l4 := p.NetworkLayer().NetworkFlow(), p.TransportLayer().TransportFlow()
	there := l4.EndpointType().String() + net.String() + l4.String()
	back := l4.EndpointType().String() + net.Reverse().String() + l4.Reverse().String()
	return min(there, back), there
}

// wellFormed fails the test unless gopacket finds nothing wrong with a packet.
func wellFormed(t *testing.T, i int, p gopacket.Packet) {
	t.Helper()
	if e := p.ErrorLayer(); e != nil {
		t.Fatalf("packet %d: %v", i, e.Error())
	}
	if bad := badChecksums(t, p); bad > 0 {
		t.Fatalf("packet %d: %d wrong checksums\n%v", i, bad, p)
	}
}

// badChecksums returns how many of a packet's checksums gopacket finds wrong.
func badChecksums(t *testing.T, p gopacket.Packet) int {
	t.Helper()
	for _, l := range p.Layers() {
		if l4, ok := l.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok && p.NetworkLayer() != nil {
			if err := l4.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
				t.Fatal(err)
			}
		}
	}
	err, bad := p.VerifyChecksums()
	if err != nil {
		t.Fatalf("%v\n%v", err, p)
	}
	return len(bad)
}

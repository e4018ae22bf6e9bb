package pipeline

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"testing"

	"ffwd/packet"
	"ffwd/policy"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// association is an SCTP packet of one chunk with its checksum, little-endian as RFC 9260
// appendix A has it.
func association(sport, dport uint16, tag uint32, kind uint8, value []byte) []byte {
	b := make([]byte, 16, 16+len(value))
	binary.BigEndian.PutUint16(b, sport)
	binary.BigEndian.PutUint16(b[2:], dport)
	binary.BigEndian.PutUint32(b[4:], tag)
	b[12] = kind
	binary.BigEndian.PutUint16(b[14:], uint16(4+len(value)))
	b = append(b, value...)
	binary.LittleEndian.PutUint32(b[8:], sctpSum(b))
	return b
}

func sctpSum(message []byte) uint32 {
	clean := append(append(message[:8:8], 0, 0, 0, 0), message[12:]...)
	return crc32.Checksum(clean, crc32.MakeTable(crc32.Castagnoli))
}

// initOf is what INIT and INIT ACK carry: the tag that they ask for.
func initOf(tag uint32) []byte {
	v := make([]byte, 16)
	binary.BigEndian.PutUint32(v, tag)
	v[9], v[11] = 1, 1
	return v
}

// portsOf returns the ports of the only frame, and whether its checksum is right.
func portsOf(t *testing.T, what string, frames [][]byte) (src, dst uint16, ok bool) {
	t.Helper()
	if len(frames) != 1 {
		t.Fatalf("%s: %d frames left", what, len(frames))
	}
	m := decode(t, frames[0]).NetworkLayer().LayerPayload()
	return binary.BigEndian.Uint16(m), binary.BigEndian.Uint16(m[2:]), binary.LittleEndian.Uint32(m[8:]) == sctpSum(m)
}

// FF-6: two hosts with the same ports behind one address, as signalling has them, and a
// published one: ports change, and the checksum by what that makes. Where it covers more
// than there is, a packet that would need another port is dropped. Source: RFC 9260 6.8.
func TestTranslatedSCTP(t *testing.T) {
	const init, initAck, cookieEcho, signalling = 1, 2, 10, 36412
	other, public := netip.MustParseAddr("10.1.1.3"), netip.MustParseAddr("10.2.2.1")
	hide, publish := natRule(policy.Masquerade, netip.Addr{}), natRule(policy.DNAT, other, 9899)
	hide.Protocol, publish.Protocol = packet.ProtoSCTP, packet.ProtoSCTP
	publish.Dst = []netip.Prefix{netip.PrefixFrom(public, 32)}
	w := newWorld(t, withRules(publish, hide))
	w.know(ifLAN, other, macA)
	from := func(src netip.Addr, message []byte) [][]byte {
		return w.send(0, frame(ip4(src, b4, layers.IPProtocolSCTP), gopacket.Payload(message)))[1]
	}
	to := func(message []byte) [][]byte {
		return w.send(1, back(ip4(b4, public, layers.IPProtocolSCTP), gopacket.Payload(message)))[0]
	}
	if src, dst, ok := portsOf(t, "first", from(a4, association(signalling, signalling, 0, init, initOf(11)))); src != signalling || dst != signalling || !ok {
		t.Errorf("first: %d > %d, checksum %v", src, dst, ok)
	}
	second, dst, ok := portsOf(t, "second", from(other, association(signalling, signalling, 0, init, initOf(12))))
	if second == signalling || second < 1024 || dst != signalling || !ok {
		t.Errorf("second: %d > %d, checksum %v", second, dst, ok)
	}
	answer := association(signalling, second, 12, initAck, initOf(22))
	if src, dst, ok := portsOf(t, "answer", to(answer)); src != signalling || dst != signalling || !ok {
		t.Errorf("answer: %d > %d, checksum %v", src, dst, ok)
	}
	broken := association(signalling, signalling, 22, cookieEcho, make([]byte, 8))
	broken[20]++
	if src, _, ok := portsOf(t, "broken", from(other, broken)); src != second || ok {
		t.Errorf("a broken packet left with port %d, checksum %v", src, ok)
	}
	if src, dst, ok := portsOf(t, "published", to(association(5000, 80, 0, init, initOf(33)))); src != 5000 || dst != 9899 || !ok {
		t.Errorf("published: %d > %d, checksum %v", src, dst, ok)
	}

	long := association(signalling, signalling, 22, cookieEcho, make([]byte, 1500))
	for host, left := range map[netip.Addr]int{a4: 2, other: 1} { // the one that keeps its port; of the other the part without ports
		if host == a4 {
			to(association(signalling, signalling, 11, initAck, initOf(22)))
		}
		out := w.send(0, part(host, b4, 7, packet.ProtoSCTP, long, extent{0, 1000, true}), part(host, b4, 7, packet.ProtoSCTP, long, extent{1000, len(long) - 1000, false}))[1]
		if len(out) != left {
			t.Errorf("%d fragments of %v left, want %d", len(out), host, left)
		}
	}
	if n := w.drops(packet.NATNoPort); n != 1 {
		t.Errorf("%d drops for want of a port, want the one fragment's", n)
	}
	w.wantTranslations("SCTP", 3)
}

package ct

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"testing"
	"unsafe"

	"ffwd/mem"
	"ffwd/packet"
)

// tuple is a packet's end points in tests.
type tuple struct {
	src, dst     netip.Addr
	sport, dport uint16
	proto        uint8
}

func (t tuple) reversed() tuple {
	t.src, t.dst, t.sport, t.dport = t.dst, t.src, t.dport, t.sport
	return t
}

// load makes p a parsed packet of the tuple, on a header of its own. l4 are the
// bytes behind the network header, at least 20 of them.
func load(p *packet.Packet, secret *Secret, t tuple, zone uint16, l4 ...byte) {
	*p = packet.Packet{Head: packet.Head{Verdict: packet.Continue, PortsLE: uint32(bits.ReverseBytes16(t.dport))<<16 | uint32(bits.ReverseBytes16(t.sport)), Proto: t.proto, Flags: packet.HasPorts}}
	l4 = append(append([]byte(nil), l4...), make([]byte, max(0, 20-len(l4)))...)
	if t.src.Is4() {
		frame := make([]byte, 20+len(l4))
		src, dst := t.src.As4(), t.dst.As4()
		copy(frame[12:], src[:])
		copy(frame[16:], dst[:])
		copy(frame[20:], l4)
		p.Data, p.Len, p.L4 = unsafe.Pointer(&frame[0]), uint16(len(frame)), 20
	} else {
		frame := make([]byte, 40+len(l4))
		src, dst := t.src.As16(), t.dst.As16()
		copy(frame[8:], src[:])
		copy(frame[24:], dst[:])
		copy(frame[40:], l4)
		p.Data, p.Len, p.L4 = unsafe.Pointer(&frame[0]), uint16(len(frame)), 40
		p.Flags |= packet.IsIPv6
	}
	switch t.proto {
	case packet.ProtoTCP, packet.ProtoUDP, packet.ProtoSCTP:
	case packet.ProtoICMP, packet.ProtoICMPv6:
		binary.BigEndian.PutUint16(p.Transport()[4:], t.sport)
		if p.PortsLE, _ = QueryPorts(t.proto, (*[8]byte)(p.Transport())); p.PortsLE == 0 {
			p.Flags &^= packet.HasPorts
		}
	default:
		p.Flags &^= packet.HasPorts
		p.PortsLE = 0
	}
	b := packet.Burst{N: 1, Pkts: [packet.MaxBurst]packet.Packet{*p}}
	secret.Tuples(&b, []uint16{zone})
	*p = b.Pkts[0]
}

func tcp(flags uint8) []byte { return tcpBytes(seg{flags: flags, win: 1000}) }

// seg is a TCP segment in tests.
type seg struct {
	flags    uint8
	seq, ack uint32
	size     int // bytes of payload
	win      uint16
	options  []byte
}

// tcpBytes is the segment on the wire, without its checksum.
func tcpBytes(s seg) []byte {
	options := (len(s.options) + 3) / 4 * 4
	b := make([]byte, 20+options+s.size)
	binary.BigEndian.PutUint32(b[4:], s.seq)
	binary.BigEndian.PutUint32(b[8:], s.ack)
	b[12], b[13] = uint8(20+options)/4<<4, s.flags
	binary.BigEndian.PutUint16(b[14:], s.win)
	copy(b[20:], s.options)
	return b
}

func udp4(i int) tuple {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 0x0a000000+uint32(i))
	return tuple{netip.AddrFrom4(a), netip.MustParseAddr("192.0.2.1"), uint16(i), 53, packet.ProtoUDP}
}

func udp6(i int) tuple {
	a := netip.MustParseAddr("2001:db8::").As16()
	binary.BigEndian.PutUint32(a[12:], uint32(i))
	return tuple{netip.AddrFrom16(a), netip.MustParseAddr("2001:db8:1::1"), uint16(i), 53, packet.ProtoUDP}
}

func newTable(t testing.TB, flows, flows6 int) *Table {
	t.Helper()
	table, err := New(Options{MaxFlows: flows, MaxFlowsIPv6: flows6, Secret: NewSecret(), Huge: mem.Transparent})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return table
}

// send takes one packet through Lookup and, if it is new, Confirm.
func send(t *Table, nowNs int64, timeouts *Timeouts, of tuple, l4 ...byte) packet.Packet {
	b := &packet.Burst{N: 1, NowNs: nowNs}
	load(&b.Pkts[0], &t.secret, of, 0, l4...)
	t.Lookup(b, timeouts)
	p := &b.Pkts[0]
	if p.State == packet.CtNew && p.Flow == 0 {
		t.Confirm(p, nowNs, timeouts)
	}
	return *p
}

package ct

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"unsafe"

	"ffwd/packet"
)

// errorAbout is a parsed ICMP error from router to the sender of the quoted packet.
func errorAbout(table *Table, quotedPacket []byte, icmpType uint8, to netip.Addr) packet.Packet {
	message := append([]byte{icmpType, 1, 0, 0, 0, 0, 0, 0}, quotedPacket...)
	p := packet.Packet{Head: packet.Head{Verdict: packet.Continue, Proto: packet.ProtoICMP, L4: packet.IPv4HeaderLen}}
	of := tuple{src: netip.MustParseAddr("10.9.9.9"), dst: to, proto: packet.ProtoICMP}
	if to.Is6() {
		of.src, of.proto = netip.MustParseAddr("2001:db8:9::9"), packet.ProtoICMPv6
		h := make([]byte, packet.IPv6HeaderLen)
		src, dst := of.src.As16(), of.dst.As16()
		h[0], h[6] = 6<<4, packet.ProtoICMPv6
		binary.BigEndian.PutUint16(h[4:], uint16(len(message)))
		copy(h[8:], src[:])
		copy(h[24:], dst[:])
		sum := packet.Sum((*packet.IPv6)(h).PseudoSum(packet.ProtoICMPv6, len(message)), message)
		binary.BigEndian.PutUint16(message[2:], ^packet.Fold(sum))
		whole := append(h, message...)
		p.Proto, p.L4, p.Flags = packet.ProtoICMPv6, packet.IPv6HeaderLen, packet.IsIPv6
		p.Data, p.Len = unsafe.Pointer(&whole[0]), uint16(len(whole))
	} else {
		binary.BigEndian.PutUint16(message[2:], packet.Checksum(message))
		whole := ipPacket(of, message)
		p.Data, p.Len = unsafe.Pointer(&whole[0]), uint16(len(whole))
	}
	return p
}

// lookup1 looks one packet up.
func lookup1(table *Table, p packet.Packet) packet.Packet {
	b := &packet.Burst{N: 1, NowNs: second}
	b.Pkts[0] = p
	table.secret.Tuples(b, []uint16{0})
	table.Lookup(b, DefaultTimeouts())
	return b.Pkts[0]
}

// CT-4, CT-2: an ICMP error is related to the flow it quotes, in the direction it
// travels, and refreshes nothing; it has the flow's hash, so that the flow's owner
// gets it. Any doubt makes it invalid.
func TestErrorsAboutFlows(t *testing.T) {
	of := udp4(1)
	l4 := []byte{0, 1, 0, 53, 0, 8, 0, 0}
	good := ipPacket(of, l4)
	for _, tc := range []struct {
		name  string
		quote []byte
		kind  uint8
		to    netip.Addr
		want  packet.CtState
		reply bool
	}{
		{"about the question", good, 3, of.src, packet.CtRelated, true},
		{"about the answer", ipPacket(of.reversed(), []byte{0, 53, 0, 1, 0, 8, 0, 0}), 11, of.dst, packet.CtRelated, false},
		{"redirect", good, 5, of.src, packet.CtRelated, true},
		{"to somebody else", good, 3, of.dst, packet.CtInvalid, false},
		{"about no flow", ipPacket(udp4(2), []byte{0, 2, 0, 53, 0, 8, 0, 0}), 3, udp4(2).src, packet.CtInvalid, false},
		{"quoting 7 bytes", good[:27], 3, of.src, packet.CtInvalid, false},
		{"quoting nothing", nil, 3, of.src, packet.CtInvalid, false},
		{"quoting a broken header", broken(good, 8), 3, of.src, packet.CtInvalid, false},
		{"quoting IPv7", broken(good, 0), 3, of.src, packet.CtInvalid, false},
		{"quoting a later fragment", laterFragment(of, l4), 3, of.src, packet.CtInvalid, false},
		{"of no type that quotes", good, 9, of.src, packet.CtInvalid, false},
	} {
		table := newTable(t, MinFlows, MinFlows)
		first := send(table, 0, DefaultTimeouts(), of)
		before := *table.flow(first.Flow)
		p := lookup1(table, errorAbout(table, tc.quote, tc.kind, tc.to))
		if p.State != tc.want || p.Flow != 0 || tc.want == packet.CtRelated && (p.Is(packet.ReplyDir) != tc.reply || p.Hash != first.Hash) {
			t.Errorf("%s: %v flow %d reply %v hash %x, want %v reply %v hash %x", tc.name, p.State, p.Flow, p.Is(packet.ReplyDir), p.Hash, tc.want, tc.reply, first.Hash)
		}
		if *table.flow(first.Flow) != before {
			t.Errorf("%s: the flow was changed: %+v, before %+v", tc.name, *table.flow(first.Flow), before)
		}
	}
	table := newTable(t, MinFlows, MinFlows)
	send(table, 0, DefaultTimeouts(), of)
	bad := errorAbout(table, good, 3, of.src)
	bad.Transport()[2] ^= 1
	if p := lookup1(table, bad); p.State != packet.CtInvalid {
		t.Errorf("with a wrong checksum: %v", p.State)
	}
}

func broken(ip []byte, at int) []byte {
	b := append([]byte(nil), ip...)
	b[at] ^= 0x10
	if at == 0 {
		b[0] = 0x75
	}
	return b
}

func laterFragment(of tuple, l4 []byte) []byte {
	b := ipPacket(of, l4)
	(*packet.IPv4)(b).SetFragField(1)
	(*packet.IPv4)(b).UpdateChecksum(b[:20])
	return b
}

// CT-4: the same for IPv6, and for a segment that was never sent (RFC 5927 4.1).
func TestErrorsAboutIPv6AndSegments(t *testing.T) {
	of := udp6(1)
	table := newTable(t, MinFlows, MinFlows)
	first := send(table, 0, DefaultTimeouts(), of)
	quote := make([]byte, 48)
	src, dst := of.src.As16(), of.dst.As16()
	quote[0], quote[6] = 6<<4, packet.ProtoUDP
	copy(quote[8:], src[:])
	copy(quote[24:], dst[:])
	copy(quote[40:], []byte{0, 1, 0, 53, 0, 8, 0, 0})
	if p := lookup1(table, errorAbout(table, quote, 2, of.src)); p.State != packet.CtRelated || p.Hash != first.Hash || !p.Is(packet.ReplyDir) {
		t.Errorf("packet too big: %v", p.State)
	}
	for name, c := range map[string]struct {
		first uint8 // extension header
		chain []byte
		want  packet.CtState
	}{
		"the first fragment": {packet.ProtoFragment, []byte{packet.ProtoUDP, 9, 0, 1, 0, 0, 0, 7}, packet.CtRelated},
		"a later fragment":   {packet.ProtoFragment, []byte{packet.ProtoUDP, 0, 0, 8, 0, 0, 0, 7}, packet.CtInvalid},
		"two headers":        {packet.ProtoDstOpts, append(make([]byte, 16), packet.ProtoUDP, 0, 0, 1, 0, 0, 0, 7), packet.CtRelated},
		"no end":             {packet.ProtoDstOpts, []byte{packet.ProtoDstOpts, 255, 0, 0, 0, 0, 0, 0}, packet.CtInvalid},
	} {
		if len(c.chain) > 8 {
			c.chain[0], c.chain[1] = packet.ProtoFragment, 1
		}
		q := append(append(append([]byte(nil), quote[:40]...), c.chain...), quote[40:]...)
		q[6] = c.first
		if p := lookup1(table, errorAbout(table, q, 2, of.src)); p.State != c.want {
			t.Errorf("quoting %s: %v, want %v", name, p.State, c.want)
		}
	}
	w := newWire(t)
	w.open()
	for seq, want := range map[uint32]packet.CtState{1: packet.CtRelated, 0: packet.CtRelated, 2: packet.CtInvalid, 1 << 31: packet.CtInvalid} {
		q := ipPacket(w.of, []byte{4, 0, 0, 80, byte(seq >> 24), byte(seq >> 16), byte(seq >> 8), byte(seq)})
		if p := lookup1(w.table, errorAbout(w.table, q, 3, w.of.src)); p.State != want {
			t.Errorf("about segment %d: %v, want %v", seq, p.State, want)
		}
	}
}

// CT-4: ICMP queries are flows by their kind and identifier.
func TestQueries(t *testing.T) {
	a := tuple{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), 7, 7, packet.ProtoICMP}
	for _, pair := range [][2]uint8{{8, 0}, {13, 14}, {15, 16}, {17, 18}} {
		table := newTable(t, MinFlows, MinFlows)
		if p := send(table, 0, DefaultTimeouts(), a.reversed(), pair[1]); p.State != packet.CtInvalid {
			t.Errorf("answer %d to no question: %v", pair[1], p.State)
		}
		if p := send(table, 0, DefaultTimeouts(), a, pair[0]); p.State != packet.CtNew {
			t.Errorf("question %d: %v", pair[0], p.State)
		}
		if p := send(table, 0, DefaultTimeouts(), a.reversed(), pair[1]); p.State != packet.CtEstablished || !p.Is(packet.ReplyDir) {
			t.Errorf("answer %d: %v", pair[1], p.State)
		}
		for other := range 20 {
			if uint8(other) != pair[1] {
				if p := send(table, 0, DefaultTimeouts(), a.reversed(), uint8(other)); p.State == packet.CtEstablished && uint8(other) != pair[0] {
					t.Errorf("type %d answers type %d", other, pair[0])
				}
			}
		}
	}
}

// translateAll makes an error one about a translated flow, whatever it quotes: what comes out
// is as long, and has the right checksum, if what came in had.
func translateAll(t *testing.T, of tuple, quote []byte, kind uint8) {
	w := newNATWorld(t, 1, 8)
	public := netip.MustParseAddr("198.51.100.1")
	if of.src.Is6() {
		public = netip.MustParseAddr("2001:db8:5::1")
	}
	if left, _ := w.masquerade(of, rangeOf(public, public)); left == nil {
		t.Fatalf("%v was refused", of)
	}
	p := lookup1(w.table, errorAbout(w.table, quote, kind, public))
	if p.State != packet.CtRelated {
		return
	}
	w.table.Destination(&p)
	w.table.Source(&p)
	message, sum := p.Transport(), uint64(0)
	if p.Is(packet.IsIPv6) {
		sum = p.IPv6().PseudoSum(packet.ProtoICMPv6, len(message))
	}
	if packet.Fold(packet.Sum(sum, message)) != 0xffff {
		t.Fatalf("the error about %x has a wrong checksum", quote)
	}
}

// FuzzQuote: no quoted bytes upset the tracker; an error is related only if they begin with a packet of
// the flow, as far as the flow's addresses, protocol and ports tell.
func FuzzQuote(f *testing.F) {
	l4 := []byte{0, 1, 0, 53, 0, 8, 0, 0}
	f.Add(ipPacket(udp4(1), l4), uint8(3))
	f.Add(ipPacket(udp4(1), l4)[:27], uint8(11))
	f.Add(ipv6Packet(udp6(1), l4), uint8(1))
	f.Add(ipv6Packet(udp6(1), l4)[:40], uint8(2))
	hidden4, hidden6 := udp4(1), udp6(1)
	hidden4.src, hidden6.src = netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8:5::1")
	f.Add(ipPacket(hidden4, l4), uint8(3))
	f.Add(ipv6Packet(hidden6, l4), uint8(1))
	f.Fuzz(func(t *testing.T, quote []byte, kind uint8) {
		table := newTable(t, MinFlows, MinFlows)
		send(table, 0, DefaultTimeouts(), udp4(1))
		send(table, 0, DefaultTimeouts(), udp6(1))
		quote = quote[:min(len(quote), 1400)]
		for _, c := range []struct {
			of      tuple
			whole   []byte
			proto   int // where the quoted header has the protocol,
			ends    int // the addresses, and behind them, without options, the ports
			headers int
		}{
			{udp4(1), ipPacket(udp4(1), l4), 9, 12, 20},
			{udp6(1), ipv6Packet(udp6(1), l4), 6, 8, 40},
		} {
			p := lookup1(table, errorAbout(table, quote, kind, c.of.src))
			translateAll(t, c.of, quote, kind)
			if p.State != packet.CtRelated {
				continue
			}
			if len(quote) < c.headers+8 || quote[0]>>4 != c.whole[0]>>4 || quote[c.proto] != packet.ProtoUDP && c.headers == 20 ||
				!bytes.Equal(quote[c.ends:c.headers], c.whole[c.ends:c.headers]) || !bytes.Contains(quote[c.headers:], l4[:4]) {
				t.Fatalf("%x is related to %v", quote, c.of)
			}
		}
		if table.Flows4 != 1 || table.Flows6 != 1 {
			t.Fatal("an error made or ended a flow")
		}
	})
}

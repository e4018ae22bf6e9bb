package pipeline

import (
	"net/netip"
	"testing"
	"unsafe"

	"ffwd/packet"

	"github.com/gopacket/gopacket/layers"
)

// FF-4, FF-14: sources and destinations that no packet on a wire may have, and their
// neighbours that it may. Source: RFC 1812 5.3.7, RFC 4291 2.5, RFC 6890 tables 1 to 20.
func TestMartians(t *testing.T) {
	for _, tc := range []struct {
		src, dst string
		martian  bool
	}{
		{"0.0.0.0", "10.2.2.2", true},
		{"0.255.255.255", "10.2.2.2", true},
		{"1.0.0.0", "10.2.2.2", false},
		{"126.255.255.255", "10.2.2.2", false},
		{"127.0.0.1", "10.2.2.2", true},
		{"128.0.0.0", "10.2.2.2", false},
		{"223.255.255.255", "10.2.2.2", false},
		{"224.0.0.1", "10.2.2.2", true},
		{"240.0.0.1", "10.2.2.2", true},
		{"255.255.255.255", "10.2.2.2", true},
		{"10.1.1.2", "0.0.0.0", true},
		{"10.1.1.2", "127.0.0.1", true},
		{"10.1.1.2", "240.0.0.1", true},
		{"::1", "fd01:2::2", true},
		{"::", "fd01:2::2", true},
		{"ff02::1", "fd01:2::2", true},
		{"::ffff:10.1.1.2", "fd01:2::2", true},
		{"::fffe:10.1.1.2", "fd01:2::2", false},
		{"0:0:0:0:1:ffff::", "fd01:2::2", false},
		{"fd01:1::2", "::", true},
		{"fd01:1::2", "::1", true},
		{"fd01:1::2", "::ffff:10.2.2.2", true},
	} {
		src, dst := netip.MustParseAddr(tc.src), netip.MustParseAddr(tc.dst)
		w := newWorld(t)
		if src.Is4() {
			w.send(0, frame(ip4(src, dst, layers.IPProtocolUDP), udp(1, 2), data(8)))
		} else {
			f := udp6(8)
			a, b := src.As16(), dst.As16()
			copy(f[14+8:], a[:])
			copy(f[14+24:], b[:])
			w.send(0, f)
		}
		if got := w.drops(packet.Martian) == 1; got != tc.martian {
			t.Errorf("%s to %s: martian %v", tc.src, tc.dst, got)
		}
	}
}

// FF-10: an error comes from the port's address in the sender's subnet, else from its
// first one. Source: RFC 1812 4.3.2.4, RFC 4443 2.2.
func TestSourceOfErrors(t *testing.T) {
	p := netip.MustParsePrefix
	for _, tc := range []struct{ from, want string }{
		{"10.1.1.2", "10.1.1.1"}, // the first
		{"10.7.7.2", "10.7.7.1"}, // the second, in whose subnet it is
		{"10.2.2.2", "10.1.1.1"},
		{"fd01:1::2", "fd01:1::1"},
		{"fd01:2::2", "fd01:1::1"}, // and not the link-local one
	} {
		w := newWorld(t)
		w.snapshot.Interfaces[ifLAN].Addresses = []netip.Prefix{p("fe80::1/64"), p("10.1.1.1/24"), p("10.7.7.1/24"), p("fd01:1::1/64")}
		w.publish()
		src := netip.MustParseAddr(tc.from)
		var f []byte
		if src.Is4() {
			ip := ip4(src, b4, layers.IPProtocolUDP)
			ip.TTL = 1
			f = frame(ip, udp(1, 2), data(8))
		} else {
			ip := ip6(src, b6, layers.IPProtocolUDP)
			ip.HopLimit = 1
			f = frame(ip, udp(1, 2), data(8))
		}
		out := w.send(0, f)
		answers := append(out[0], out[1]...)
		if len(answers) != 1 {
			t.Fatalf("%s: %d answers", tc.from, len(answers))
		}
		if got := decode(t, answers[0]).NetworkLayer().NetworkFlow(); got.Src().String() != tc.want || got.Dst().String() != tc.from {
			t.Errorf("%s is answered from %v", tc.from, got)
		}
	}
}

// FF-10: an interface without an address answers from another one of its VRF, as long as
// that one has it.
func TestLentAddresses(t *testing.T) {
	a, b, six := [4]byte{10, 1, 1, 1}, [4]byte{10, 2, 2, 1}, [16]byte{0: 0xfd, 15: 1}
	s := Snapshot{Interfaces: []Interface{{}, {VRF: 1}, {Addr4: a}, {Addr4: b, Addr6: six}, {}, {VRF: 1, Addr4: b}}}
	check := func(want4 [][4]byte, want6 [][16]byte) {
		t.Helper()
		s.Prepare()
		for i := range s.Interfaces {
			if in := &s.Interfaces[i]; in.answer4 != want4[i] || in.answer6 != want6[i] {
				t.Errorf("interface %d: %v and %v", i, in.answer4, in.answer6)
			}
		}
	}
	none6 := [16]byte{}
	check([][4]byte{a, b, a, b, a, b}, [][16]byte{six, none6, six, six, six, none6})
	s.Interfaces[2].Addr4, s.Interfaces[3].Addr6 = [4]byte{}, none6
	check([][4]byte{b, b, b, b, b, b}, make([][16]byte, 6))
}

// Nothing answers a frame that was sent to a group, whatever became of it on the way.
// FF-10, FF-6
func TestGroupFramesAreNotAnswered(t *testing.T) {
	for _, f := range [][]byte{udp4(8), udp6(8), frame(ip4(a4, b4, layers.IPProtocolTCP), &layers.TCP{SYN: true})} {
		w := newWorld(t)
		for _, flags := range []uint8{0, packet.LinkMulticast} {
			p := packet.Packet{Mbuf: &packet.Mbuf{}, Head: packet.Head{Data: unsafe.Pointer(&f[0]), Len: uint16(len(f)), L3: packet.EthernetLen}}
			w.worker.parse.network(&p, &w.snapshot.Interfaces[ifLAN])
			p.Flags |= flags
			if may := mayAnswer(&p); may != (flags == 0) {
				t.Errorf("an error about %x, flags %d: %t", f[14:34], flags, may)
			}
			if may := mayReset(&p); may != (flags == 0 && p.Proto == packet.ProtoTCP) {
				t.Errorf("a reset for %x, flags %d", f[14:34], flags)
			}
		}
	}
}

// An IPv4 error has the type of service of the packet that it is about, and its own
// precedence, as Linux has it. FF-10; RFC 1812 4.3.2.5
func TestTypeOfServiceOfErrors(t *testing.T) {
	w := newWorld(t)
	for tos, want := range map[uint8]uint8{0: 0xc0, 0x10: 0xd0, 0xb8: 0xd8, 0xe1: 0xc0, 0xff: 0xde} {
		ip := ip4(a4, b4, layers.IPProtocolUDP)
		ip.TTL, ip.TOS = 1, tos
		out := w.send(0, frame(ip, udp(1, 2), data(8)))[0]
		if len(out) != 1 {
			t.Fatalf("%d answers", len(out))
		}
		if got := decode(t, out[0]).NetworkLayer().(*layers.IPv4).TOS; got != want {
			t.Errorf("about %#x: %#x, want %#x", tos, got, want)
		}
	}
}

package capture

import (
	"bytes"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"ffwd/packet"
)

func malformed(t *testing.T, n int, without ...Kind) ([]gopacket.Packet, map[Kind]int) {
	t.Helper()
	var b bytes.Buffer
	counts, err := Malformed(&b, 7, n, without...)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, b.Bytes()), counts
}

// only returns frames of one kind.
func only(t *testing.T, k Kind) []gopacket.Packet {
	t.Helper()
	without := slices.DeleteFunc(Kinds(), func(other Kind) bool { return other == k })
	packets, counts := malformed(t, 20, without...)
	if counts[k] != 20 || len(counts) != 1 {
		t.Fatalf("counts %v, want 20 of %s", counts, k)
	}
	return packets
}

func TestMalformedHasEveryKind(t *testing.T) {
	n := 3 * len(Kinds())
	packets, counts := malformed(t, n)
	if len(packets) != n {
		t.Errorf("%d frames, want %d", len(packets), n)
	}
	for _, k := range Kinds() {
		if counts[k] != 3 {
			t.Errorf("%d of %s, want 3", counts[k], k)
		}
	}
	if packets, counts = malformed(t, 100, KindOversize); counts[KindOversize] != 0 {
		t.Error("a kind left out was written")
	}
	for _, p := range packets {
		if n := len(p.Data()); n > packet.EthernetLen+packet.VLANTagLen+1500 {
			t.Errorf("frame of %d bytes", n)
		}
	}
	if _, counts := malformed(t, 10, Kinds()...); len(counts) != 0 {
		t.Errorf("counts %v with every kind left out", counts)
	}
}

func TestKindNamesAreUnique(t *testing.T) {
	seen := map[Kind]bool{}
	for _, k := range Kinds() {
		if seen[k] {
			t.Errorf("%s is there twice", k)
		}
		seen[k] = true
	}
}

// A kind is broken in its own way only: gopacket finds the IPv4 header checksum of
// all kinds right but that of one.
func TestOnlyTheChecksumKindHasABadHeaderChecksum(t *testing.T) {
	for _, k := range Kinds() {
		if k.Expect().Fate == Unforeseen {
			continue
		}
		for _, p := range only(t, k) {
			ip, ok := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
			if !ok || ip.IHL < 5 || ip.Version != 4 || len(ip.Contents) < int(ip.IHL)*4 {
				continue
			}
			header := ip.Contents[:int(ip.IHL)*4]
			right := gopacket.FoldChecksum(gopacket.ComputeChecksum(header, 0)) == 0
			if right == (k == "ipv4_checksum") {
				t.Errorf("%s: header checksum right is %v", k, right)
			}
		}
	}
}

// FF-2, FF-4, FF-14
func TestKindsAreWhatTheySay(t *testing.T) {
	ipv4 := func(p gopacket.Packet) *layers.IPv4 {
		ip, _ := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		if ip == nil {
			return &layers.IPv4{}
		}
		return ip
	}
	for _, c := range []struct {
		kind Kind
		want Expectation
		is   func(p gopacket.Packet) bool
	}{
		{"ethernet_truncated", Expectation{Dropped, packet.FrameTooShort}, func(p gopacket.Packet) bool { return len(p.Data()) < 14 }},
		{"arp", Expectation{Punted, packet.PuntARP}, func(p gopacket.Packet) bool {
			arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP)
			return ok && arp.Operation == layers.ARPRequest
		}},
		{"ipv4_src_loopback", Expectation{Dropped, packet.Martian}, func(p gopacket.Packet) bool { return ipv4(p).SrcIP.IsLoopback() }},
		{"ipv4_dst_multicast", Expectation{Punted, packet.PuntMulticast}, func(p gopacket.Packet) bool { return ipv4(p).DstIP.IsMulticast() }},
		{"ipv4_option_router_alert", Expectation{Punted, packet.PuntOptions}, func(p gopacket.Packet) bool { return len(ipv4(p).Options) > 0 }},
		{"ipv4_fragment_first", Expectation{Fate: Forwarded}, func(p gopacket.Packet) bool {
			return ipv4(p).Flags&layers.IPv4MoreFragments != 0 && ipv4(p).FragOffset == 0 && (ipv4(p).Length-20)%8 == 0
		}},
		{"ipv4_fragment_last", Expectation{Fate: Forwarded}, func(p gopacket.Packet) bool {
			return ipv4(p).Flags&layers.IPv4MoreFragments == 0 && ipv4(p).FragOffset == 370
		}},
		{"ipv6_hop_by_hop", Expectation{Punted, packet.PuntExtension}, func(p gopacket.Packet) bool { return p.Layer(layers.LayerTypeIPv6HopByHop) != nil }},
		{"ipv6_chain_known", Expectation{Fate: Forwarded}, func(p gopacket.Packet) bool {
			return p.Layer(layers.LayerTypeIPv6Destination) != nil && p.Layer(layers.LayerTypeIPv6Routing) != nil
		}},
		{"ipv6_fragment", Expectation{Fate: Forwarded}, func(p gopacket.Packet) bool {
			f, ok := p.Layer(layers.LayerTypeIPv6Fragment).(*layers.IPv6Fragment)
			return ok && f.MoreFragments && f.FragmentOffset == 181
		}},
		{"udp_checksum", Expectation{Fate: Forwarded}, func(p gopacket.Packet) bool { return badChecksums(t, p) == 1 }},
		{KindOversize, Expectation{Dropped, packet.RxOversized}, func(p gopacket.Packet) bool { return len(p.Data()) == OversizeBytes }},
		{KindRandomFrame, Expectation{Fate: Unforeseen}, func(gopacket.Packet) bool { return true }},
	} {
		if got := c.kind.Expect(); got != c.want {
			t.Errorf("%s: expectation %v, want %v", c.kind, got, c.want)
		}
		for _, p := range only(t, c.kind) {
			if !c.is(p) {
				t.Errorf("%s: % x", c.kind, p.Data())
			}
		}
	}
}

package main

import (
	"net"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

func answer(t testing.TB, name string, v6 bool, edit func(*layers.DNS, *layers.UDP)) []byte {
	dns := &layers.DNS{ID: 1, QR: true, Questions: []layers.DNSQuestion{{Name: []byte(name), Type: layers.DNSTypeA, Class: layers.DNSClassIN}}}
	udp := &layers.UDP{SrcPort: 53, DstPort: 40000}
	if edit != nil {
		edit(dns, udp)
	}
	var ip gopacket.SerializableLayer
	if v6 {
		h := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: net.ParseIP("fd01::1"), DstIP: net.ParseIP("fd01::2")}
		udp.SetNetworkLayerForChecksum(h)
		ip = h
	} else {
		h := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IP{10, 0, 0, 1}, DstIP: net.IP{10, 0, 0, 2}}
		udp.SetNetworkLayerForChecksum(h)
		ip = h
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, udp, dns); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Source: VQ-7
func TestBlocks(t *testing.T) {
	g, err := readGuard(strings.NewReader("bad.example\n# a comment\n  Worse.example. # another\n\n"))
	if err != nil || len(g) != 2 {
		t.Fatal(g, err)
	}
	for _, v6 := range []bool{false, true} {
		for name, want := range map[string]bool{
			"bad.example": true, "BAD.example": true, "a.b.bad.example": true, "worse.example": true,
			"notbad.example": false, "example": false, "bad.example.org": false,
		} {
			if _, got := g.blocks(answer(t, name, v6, nil)); got != want {
				t.Errorf("%s, IPv6 %t: %t", name, v6, got)
			}
		}
		question := answer(t, "bad.example", v6, func(d *layers.DNS, _ *layers.UDP) { d.QR = false })
		other := answer(t, "bad.example", v6, func(_ *layers.DNS, u *layers.UDP) { u.SrcPort = 54 })
		for _, b := range [][]byte{question, other} {
			if _, got := g.blocks(b); got {
				t.Error("blocked what is no answer")
			}
		}
	}
}

// Source: VQ-7
func FuzzBlocks(f *testing.F) {
	f.Add(answer(f, "bad.example", false, nil))
	f.Add(answer(f, "bad.example", true, nil))
	g := guard{"bad.example.": true}
	f.Fuzz(func(t *testing.T, packet []byte) { g.blocks(packet) })
}

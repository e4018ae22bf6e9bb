package control

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"unsafe"

	"ffwd/ct"
	"ffwd/packet"
	"ffwd/pmd"
)

// CT-1: what is hashed for a fragment or an ICMP error, whose own ports or addresses a device
// does not see, is what the device hashes for the whole packets of the flow.
func TestFlowFoldIsTheDevices(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	secret := ct.NewSecret()
	zones := []uint16{0, 7}
	for range 2000 {
		frame := make([]byte, 14+40+20)
		for i := range frame {
			frame[i] = byte(r.Uint32())
		}
		p := packet.Packet{
			Ingress: 1, Head: packet.Head{Data: unsafe.Pointer(&frame[0]), Len: uint16(len(frame)), L3: packet.EthernetLen,
				Proto: packet.ProtoUDP, Flags: packet.HasPorts, PortsLE: r.Uint32(), Verdict: packet.Continue},
		}
		srcPort, dstPort := p.Ports()
		var want uint16
		if r.IntN(2) == 0 {
			frame[14] = 0x45
			h := p.IPv4()
			want = pmd.FoldIPv4(h.Src(), h.Dst(), srcPort, dstPort)
		} else {
			p.Flags |= packet.IsIPv6
			h := p.IPv6()
			want = pmd.FoldIPv6(h.Src(), h.Dst(), srcPort, dstPort)
		}
		b := packet.Burst{N: 1}
		b.Pkts[0] = p
		secret.Tuples(&b, zones)
		if got := ct.FlowFold(&b.Pkts[0]); got != want {
			t.Fatalf("%#04x, want %#04x of %v", got, want, netip.AddrFrom4([4]byte(frame[26:30])))
		}
		b.Pkts[0] = p
		b.Pkts[0].Flags &^= packet.HasPorts
		b.Pkts[0].Flags |= packet.IsFragment
		if !secret.FirstKey(&b.Pkts[0], 7) || ct.FlowFold(&b.Pkts[0]) != want {
			t.Fatalf("of a first fragment %#04x, want %#04x", ct.FlowFold(&b.Pkts[0]), want)
		}
	}
}

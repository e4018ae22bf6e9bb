package pipeline

import (
	"encoding/binary"
	"slices"
	"testing"

	"ffwd/packet"
	"ffwd/policy"

	"github.com/gopacket/gopacket/layers"
)

// noInvalid drops what conntrack calls invalid, and nothing else.
var noInvalid = policy.Rule{Hook: policy.HookIn, Protocol: policy.AnyProtocol, Action: policy.Drop, States: policy.States(policy.Invalid)}

// verifying is a world with checksums verified.
func verifying(t *testing.T) *world {
	w := newWorld(t)
	w.snapshot.Tracking.Checksum = true
	w.setRules(2, policy.Defaults{In: policy.Accept, Out: policy.Accept}, noInvalid)
	return w
}

// wrong is a frame without padding with its last octet changed, so that its L4 checksum is wrong.
func wrong(f []byte) []byte {
	f = slices.Clone(f)
	f[len(f)-1] ^= 1
	return f
}

// CT-2: a packet with a wrong L4 checksum is invalid, leaves no flow and changes none, in the
// common case too, where flows are known and packets leave by the short way. Without the
// setting it passes.
func TestWrongChecksumIsInvalid(t *testing.T) {
	ack := func(seq uint32, push int) []byte {
		return frame(ip4(a4, b4, layers.IPProtocolTCP), &layers.TCP{SrcPort: 1000, DstPort: 80, ACK: true, Seq: seq, Ack: 1, Window: 1000}, data(push+33))
	}
	echo := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 7, Seq: 1}
	echo6 := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(128, 0)}
	query6 := &layers.ICMPv6Echo{Identifier: 7}
	for name, f := range map[string][]byte{
		"udp": udp4(33), "udp6": udp6(33), "tcp": ack(100, 4),
		"icmp":  frame(ip4(a4, b4, layers.IPProtocolICMPv4), echo, data(33)),
		"icmp6": frame(ip6(a6, b6, layers.IPProtocolICMPv6), echo6, query6, data(33)),
	} {
		t.Run(name, func(t *testing.T) {
			w := verifying(t)
			if out := w.send(0, wrong(f)); len(out[1]) != 0 || w.worker.Table().Created != 0 || w.worker.Table().Invalid != 1 {
				t.Fatalf("as the first packet: %d sent, %+v", len(out[1]), w.worker.Table().Stats)
			}
			if out := w.send(0, f, f, f); len(out[1]) != 3 {
				t.Fatalf("%d of 3 whole ones sent", len(out[1]))
			}
			if out := w.send(0, f, wrong(f), f); len(out[1]) != 2 || w.drops(packet.PolicyIn) != 2 {
				t.Errorf("%d of 2 whole ones sent, %d dropped", len(out[1]), w.drops(packet.PolicyIn))
			}
			if info := w.worker.Table().Info(1, 0); info.Packets[0]+info.Packets[1] != 5 && name[len(name)-1] != '6' {
				t.Errorf("the flow counts %v packets", info.Packets)
			}
			w.snapshot.Tracking.Checksum = false
			w.publish()
			if out := w.send(0, wrong(f)); len(out[1]) != 1 {
				t.Error("it does not pass although nobody verifies")
			}
		})
	}
}

// CT-2: who is believed. A device that has verified TCP or UDP spares us that; its verdict
// about anything else, and that something is wrong, is looked into. So are fragments by nobody,
// as the first one of Linux is the whole datagram, which we never have.
func TestWhoIsBelievedOfChecksums(t *testing.T) {
	none := udp4(20)
	binary.BigEndian.PutUint16(none[packet.EthernetLen+26:], 0)
	ping := frame(ip4(a4, b4, layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 7}, data(33))
	piece := ip4(a4, b4, layers.IPProtocolUDP)
	piece.Flags = layers.IPv4MoreFragments
	for _, c := range []struct {
		name   string
		flags  uint64
		frame  []byte
		passes bool
	}{
		{"wrong, unknown", 0, wrong(udp4(20)), false},
		{"wrong, said to be good", packet.RxL4CksumGood, wrong(udp4(20)), true},
		{"wrong, said to be bad", packet.RxL4CksumBad, wrong(udp4(20)), false},
		{"wrong, said to be none", packet.RxL4CksumMask, wrong(udp4(20)), false},
		{"right, said to be bad", packet.RxL4CksumBad, udp4(20), true},
		{"none, said to be bad", packet.RxL4CksumBad, none, true},
		{"wrong ICMP, said to be good", packet.RxL4CksumGood, wrong(ping), false},
		{"fragment", 0, wrong(frame(piece, udp(1, 2), data(16))), true},
	} {
		w := verifying(t)
		w.rx[0].flags = c.flags | packet.RxIPCksumGood
		if out := w.send(0, c.frame); len(out[1]) == 1 != c.passes {
			t.Errorf("%s: %d sent", c.name, len(out[1]))
		}
	}
}

// CT-2: a UDP packet whose header's length is below that of the header, or above what IP
// carries, is invalid, whoever verifies checksums; rules see its ports all the same.
func TestLengthInUDPHeader(t *testing.T) {
	for _, f := range [][]byte{udp4(20), udp6(20)} {
		at := len(f) - 20 - 4
		for length, passes := range map[uint16]bool{0: false, 7: false, 8: true, 27: true, 28: true, 29: false, 0xffff: false} {
			w := newWorld(t)
			w.setRules(2, policy.Defaults{In: policy.Accept, Out: policy.Accept}, noInvalid)
			one := slices.Clone(f)
			binary.BigEndian.PutUint16(one[at:], length)
			padded := append(slices.Clone(one), make([]byte, 20)...) // the link's padding is no room
			if out := w.send(0, one, padded); len(out[1]) == 2 != passes || !passes && len(out[1]) != 0 {
				t.Errorf("length %d in %d bytes: %d sent", length, len(f), len(out[1]))
			}
			w.setRules(3, policy.Defaults{In: policy.Accept, Out: policy.Accept},
				policy.Rule{Hook: policy.HookIn, Protocol: packet.ProtoUDP, Action: policy.Drop, DstPorts: []policy.PortRange{{First: 2000, Last: 2000}}})
			if out := w.send(0, one); len(out[1]) != 0 {
				t.Errorf("length %d: the rule does not see the ports", length)
			}
		}
	}
}

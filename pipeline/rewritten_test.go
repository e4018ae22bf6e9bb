package pipeline

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"ffwd/packet"
	"ffwd/policy"
	"ffwd/queue/client"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// A rewritten packet is checked like one from a wire, and belongs to its flow as long as
// it has its addresses and ports. Source: VQ-2
func TestRewritten(t *testing.T) {
	other := udp4(300)
	elsewhere := frame(ip4(a4, b4, layers.IPProtocolUDP), udp(1000, 2001), data(50))
	broken := bytes.Clone(other)
	broken[14+10]++ // checksum
	for name, c := range map[string]struct {
		packet []byte
		left   int
		flows  uint64
		reason packet.Reason
	}{
		"same flow":           {other[14:], 1, 1, 0},
		"another flow":        {elsewhere[14:], 1, 0, 0},
		"wrong sum":           {broken[14:], 0, 0, packet.BadChecksum},
		"cut short":           {other[14:40], 0, 0, packet.BadTotalLength},
		"one byte":            {other[14:15], 0, 0, packet.FrameTooShort},
		"other family":        {udp6(5)[14:], 0, 0, packet.BadVersion},
		"larger than the MTU": {udp4(1800)[14:], 2, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueueWorld(t, queueTo(policy.HookIn, policy.QueueTo{}))
			q.send(0, udp4(20))
			out := q.decide(q.receive(1)[0], client.Verdict{Action: client.Accept, Packet: c.packet})[1]
			if len(out) != c.left || q.worker.table.Flows4 != c.flows {
				t.Fatalf("%d frames left, %d flows", len(out), q.worker.table.Flows4)
			}
			if c.left == 0 && q.drops(c.reason) != 1 {
				c, _ := q.worker.Counters()
				t.Errorf("dropped for %v", c.Drops)
			}
			if c.left == 1 {
				decode(t, out[0])
				if len(out[0]) != 14+len(c.packet) {
					t.Errorf("%d bytes left", len(out[0]))
				}
			}
		})
	}
}

// A rewritten ICMP error stays related, with the mark of the flow it is about and its direction, even if
// it quotes something else now; and what is invalid does not become better. Linux leaves the conntrack of a
// packet that a listener of nfnetlink_queue changed as it was. Source: VQ-2, CT-4
func TestRewrittenError(t *testing.T) {
	quoted := udp4(20)[packet.EthernetLen:]
	quoted[8]-- // it left with one hop less
	(*packet.IPv4)(quoted).UpdateChecksum(quoted[:packet.IPv4HeaderLen])
	unreachable := func(quote []byte, padding int) []byte {
		return back(ip4(b4, a4, layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 3)},
			gopacket.Payload(append(bytes.Clone(quote), make([]byte, padding)...)))
	}
	garbage := bytes.Repeat([]byte{0x11}, 40)
	for name, c := range map[string]struct {
		first, rewritten []byte
		state            policy.State
	}{
		"same quote":      {unreachable(quoted, 0), unreachable(quoted, 8), policy.Related},
		"other quote":     {unreachable(quoted, 0), unreachable(garbage, 0), policy.Related},
		"of no flow":      {unreachable(garbage, 0), unreachable(quoted, 0), policy.Invalid},
		"no longer error": {unreachable(garbage, 0), back(ip4(b4, a4, layers.IPProtocolUDP), udp(2000, 1000), data(50)), policy.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			toQueue := queueTo(policy.HookIn, policy.QueueTo{})
			toQueue.InPorts = []uint16{ifWAN}
			mark := policy.Bits{Value: 7, Mask: 0xffffffff}
			marks := policy.Rule{Hook: policy.HookIn, Protocol: policy.AnyProtocol, Action: policy.Accept, InPorts: []uint16{ifLAN}, SetCtMark: mark}
			here := policy.Rule{Hook: policy.HookOut, Protocol: policy.AnyProtocol, Action: policy.Accept, OutPorts: []uint16{ifLAN}, States: policy.States(c.state)}
			if c.state == policy.Related {
				here.CtMark = mark
			}
			deny := policy.Rule{Hook: policy.HookOut, Protocol: policy.AnyProtocol, Action: policy.Drop, OutPorts: []uint16{ifLAN}}
			q := newQueueWorld(t, toQueue, marks, here, deny)
			q.send(0, udp4(20))
			q.send(1, c.first)
			out := q.decide(q.receive(1)[0], client.Verdict{Action: client.Accept, Packet: c.rewritten[packet.EthernetLen:]})[0]
			if len(out) != 1 || q.worker.table.Flows4 != 1 {
				t.Errorf("%d frames left, %d flows", len(out), q.worker.table.Flows4)
			}
		})
	}
}

// A packet whose destination a rule has translated, and which its listener turns into one of
// another flow, is of none: it leaves as the listener wrote it, and its translation is free.
// Source: VQ-2, FF-6
func TestRewrittenTranslation(t *testing.T) {
	for _, family := range []struct{ src, virtual, server netip.Addr }{{a4, v4, b4}, {a6, v6, b6}} {
		q := newQueueWorld(t, natRule(policy.DNAT, family.server, 80), queueTo(policy.HookOut, policy.QueueTo{}))
		q.send(0, datagramOf(true, family.src, family.virtual, 1000, 2000, 1, 2, 3))
		q.wantTranslations("waiting", 1)
		other := datagramOf(true, family.src, family.server, 1000, 81, 4, 5)
		out := q.decide(q.receive(1)[0], client.Verdict{Action: client.Accept, Packet: other[14:]})
		wantLeft(t, "rewritten", out[1], fmt.Sprintf("%v.1000 > %v.81", family.src, family.server))
		q.wantTranslations("rewritten", 0)
		if _, flows := q.worker.Counters(); flows.Flows4+flows.Flows6 != 0 {
			t.Errorf("%d flows", flows.Flows4+flows.Flows6)
		}
	}
}

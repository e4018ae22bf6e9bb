package pipeline

import (
	"bytes"
	"testing"

	"ffwd/ct"
	"ffwd/packet"
	"ffwd/policy"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var (
	fromLAN     = policy.Rule{Hook: policy.HookIn, Protocol: policy.AnyProtocol, Action: policy.Accept, InPorts: []uint16{ifLAN}, States: policy.States(policy.New)}
	established = policy.Rule{Hook: policy.HookIn, Protocol: policy.AnyProtocol, Action: policy.Accept, States: policy.States(policy.Established)}
	denyRest    = policy.Defaults{In: policy.Drop, Out: policy.Accept}
)

func tcpFrame(flags string) []byte {
	l := &layers.TCP{SrcPort: 1000, DstPort: 80, SYN: flags == "S", ACK: flags == "A", Window: 1000}
	return frame(ip4(a4, b4, layers.IPProtocolTCP), l, data(4))
}

func tcpBack(flags string) []byte {
	l := &layers.TCP{SrcPort: 80, DstPort: 1000, SYN: flags == "SA", ACK: true, Window: 1000}
	return back(ip4(b4, a4, layers.IPProtocolTCP), l, data(4))
}

// The policy package knows the same states by the same numbers.
func TestStateNumbersAgree(t *testing.T) {
	for ours, theirs := range map[packet.CtState]policy.State{
		packet.CtInvalid: policy.Invalid, packet.CtNew: policy.New, packet.CtEstablished: policy.Established,
		packet.CtRelated: policy.Related, packet.CtUntracked: policy.Untracked,
	} {
		if policy.State(ours) != theirs || ours.String() != theirs.String() {
			t.Errorf("%v is %d here and %d there", ours, ours, theirs)
		}
	}
}

// CT-2, FF-6: a stateful firewall. New connections go out, only answers come in.
func TestStatefulFirewall(t *testing.T) {
	w := newWorld(t)
	w.setRules(2, denyRest, established, fromLAN)
	if out := w.send(1, tcpBack("SA")); len(out[0]) != 0 {
		t.Fatal("an answer with no question came in")
	}
	for step, s := range []struct {
		port  int
		frame []byte
	}{{0, tcpFrame("S")}, {1, tcpBack("SA")}, {0, tcpFrame("A")}, {1, tcpBack("A")}, {0, tcpFrame("A")}} {
		if out := w.send(s.port, s.frame); len(out[1-s.port]) != 1 {
			t.Fatalf("step %d was stopped", step)
		}
	}
	table := w.worker.Table()
	if table.Flows4 != 1 || table.Created != 1 {
		t.Fatalf("%d flows", table.Flows4)
	}
	// FF-6: a new ruleset reaches the established flow at its next packet.
	w.setRules(3, denyRest, fromLAN)
	if out := w.send(1, tcpBack("A")); len(out[0]) != 0 || w.drops(packet.PolicyIn) != 2 {
		t.Fatalf("the flow kept the old ruleset's verdict")
	}
	w.setRules(4, denyRest, established, fromLAN)
	if out := w.send(1, tcpBack("A")); len(out[0]) != 1 {
		t.Fatal("the flow did not follow the new ruleset")
	}
}

// CT-2: a dropped first packet leaves nothing behind, whoever dropped it.
func TestDroppedFirstPacket(t *testing.T) {
	expired := ip4(a4, b4, layers.IPProtocolUDP)
	expired.TTL = 1
	blackhole := ip4(a4, b4, layers.IPProtocolUDP)
	blackhole.DstIP = []byte{192, 0, 2, 1}
	for name, f := range map[string][]byte{
		"by TTL":    frame(expired, udp(1, 2), data(8)),
		"by route":  frame(blackhole, udp(1, 2), data(8)),
		"by policy": tcpFrame("S"),
	} {
		w := newWorld(t)
		w.setRules(2, policy.Defaults{In: policy.Accept, Out: policy.Accept}, policy.Rule{Hook: policy.HookIn, Protocol: 6})
		w.send(0, f)
		if n := w.worker.Table().Flows4; n != 0 {
			t.Errorf("%s: %d flows", name, n)
		}
	}
}

// The out hook sees the egress interface; its verdict is cached with it.
func TestOutHook(t *testing.T) {
	w := newWorld(t)
	w.setRules(2, policy.Defaults{In: policy.Accept, Out: policy.Accept}, policy.Rule{Hook: policy.HookOut, OutPorts: []uint16{ifWAN}, Protocol: 17})
	if out := w.send(0, udp4(1), udp4(1), tcpFrame("S"), udp6(1)); len(out[1]) != 1 || w.drops(packet.PolicyOut) != 3 {
		t.Fatalf("%d left, %d dropped", len(out[1]), w.drops(packet.PolicyOut))
	}
}

// A verdict that was given to one interface's packets is not given to another's:
// the same tuple forged on the other side is judged by itself.
func TestForgedIngress(t *testing.T) {
	w := newWorld(t)
	w.setRules(2, denyRest, policy.Rule{Hook: policy.HookIn, Protocol: policy.AnyProtocol, Action: policy.Accept, InPorts: []uint16{ifLAN}})
	if out := w.send(0, udp4(1), udp4(1)); len(out[1]) != 2 {
		t.Fatal("the flow was stopped")
	}
	forged := back(ip4(a4, b4, layers.IPProtocolUDP), udp(1000, 2000), data(1))
	if out := w.send(1, forged); len(out[1]) != 0 || w.drops(packet.PolicyIn) != 1 {
		t.Fatal("the forged packet passed on the flow's verdict")
	}
}

// A TCP header that is cut short is invalid, not untracked.
func TestTruncatedTransport(t *testing.T) {
	w := newWorld(t)
	w.setRules(2, denyRest, policy.Rule{Hook: policy.HookIn, Protocol: policy.AnyProtocol, Action: policy.Accept, States: policy.States(policy.New, policy.Established, policy.Untracked)})
	w.send(0, frame(ip4(a4, b4, layers.IPProtocolTCP), data(19)), frame(ip4(a4, b4, layers.IPProtocolUDP), data(7)))
	if w.drops(packet.PolicyIn) != 2 || w.worker.Table().Invalid != 2 {
		t.Fatalf("%d dropped, %d invalid", w.drops(packet.PolicyIn), w.worker.Table().Invalid)
	}
}

// CT-7: a full table refuses new flows; those it has go on.
func TestTableFull(t *testing.T) {
	w := newWorld(t, func(c *Config, w *world) {
		small, err := ct.New(ct.Options{MaxFlows: ct.MinFlows, Secret: *c.Secret})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { small.Close() })
		c.Table = small
	})
	flow := func(i int) []byte {
		return frame(ip4(a4, b4, layers.IPProtocolUDP), udp(uint16(i), 2000), data(4))
	}
	answer := func(i int) []byte {
		return back(ip4(b4, a4, layers.IPProtocolUDP), udp(2000, uint16(i)), data(4))
	}
	for i := range ct.MinFlows {
		w.send(0, flow(i))
		w.send(1, answer(i)) // or it would give way to those that come
	}
	for i := range 10 {
		w.send(0, flow(ct.MinFlows+i))
	}
	if w.drops(packet.CtTableFull) != 10 {
		t.Fatalf("%d refused", w.drops(packet.CtTableFull))
	}
	if out := w.send(0, flow(0)); len(out[1]) != 1 {
		t.Fatal("a known flow was refused")
	}
}

// ICMP echo is tracked by its identifier; an unasked reply is invalid.
func TestEchoFlow(t *testing.T) {
	echo := func(kind uint8, id uint16) *layers.ICMPv4 {
		return &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, 0), Id: id}
	}
	w := newWorld(t)
	w.setRules(2, denyRest, established, fromLAN)
	request := frame(ip4(a4, b4, layers.IPProtocolICMPv4), echo(8, 7), data(8))
	reply := back(ip4(b4, a4, layers.IPProtocolICMPv4), echo(0, 7), data(8))
	wrong := back(ip4(b4, a4, layers.IPProtocolICMPv4), echo(0, 8), data(8))
	w.send(0, request)
	if out := w.send(1, reply, wrong); len(out[0]) != 1 || w.drops(packet.PolicyIn) != 1 {
		t.Fatalf("%d replies came in", len(out[0]))
	}
}

// FF-6: a fragment does not evade a rule on ports: the first one shows its ports,
// one that is too short for them is invalid, and no later one overwrites a TCP
// header that was checked. Source: RFC 1858, RFC 3128.
func TestFragmentsAndPortRules(t *testing.T) {
	deny := policy.Rule{Hook: policy.HookIn, Protocol: 17, DstPorts: []policy.PortRange{{First: 2000, Last: 2000}}}
	invalid := policy.Rule{Hook: policy.HookIn, Protocol: policy.AnyProtocol, States: policy.States(policy.Invalid)}
	fragment := func(proto layers.IPProtocol, offset uint16, l ...gopacket.SerializableLayer) []byte {
		ip := ip4(a4, b4, proto)
		ip.Flags, ip.FragOffset = layers.IPv4MoreFragments, offset
		return frame(append([]gopacket.SerializableLayer{ip}, l...)...)
	}
	first6 := append(bytes.Clone(udp6(24)[:54]), 17, 0, 0, 1, 0, 0, 0, 9)
	first6 = append(first6, udp6(24)[54:]...)
	first6[20], first6[19] = 44, first6[19]+8
	for name, tc := range map[string]struct {
		frame  []byte
		reason packet.Reason
		out    int
	}{
		"first, denied port":    {fragment(17, 0, udp(1000, 2000), data(16)), packet.PolicyIn, 0},
		"first, another port":   {fragment(17, 0, udp(1000, 2001), data(16)), packet.PolicyIn, 1},
		"first of IPv6, denied": {first6, packet.PolicyIn, 0},
		"first, too short":      {fragment(6, 0, data(16)), packet.TinyFragment, 0},
		"TCP at offset 8":       {fragment(6, 1, data(16)), packet.TinyFragment, 0},
	} {
		w := newWorld(t)
		w.setRules(2, policy.Defaults{In: policy.Accept, Out: policy.Accept}, deny, invalid)
		out := w.send(0, tc.frame)
		if len(out[1]) != tc.out || w.drops(tc.reason) != uint64(1-tc.out) {
			t.Errorf("%s: %d left, %d dropped as %v", name, len(out[1]), w.drops(tc.reason), tc.reason)
		}
		if n := w.worker.Table().Flows4 + w.worker.Table().Flows6; n != uint64(tc.out) {
			t.Errorf("%s: %d flows", name, n)
		}
	}
}

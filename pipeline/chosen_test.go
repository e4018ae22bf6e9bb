package pipeline

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"ffwd/fib"
	"ffwd/packet"
	"ffwd/policy"
	"ffwd/queue/client"

	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"
)

// hold gives the next hops of a rule a number.
func (w *world) hold(hops ...fib.Hop) uint32 {
	w.t.Helper()
	family := netip.MustParsePrefix("0.0.0.0/0")
	if hops[0].Via.Is6() {
		family = netip.MustParsePrefix("::/0")
	}
	id, err := w.table.Hold(fib.Route{Prefix: family, Hops: hops})
	if err != nil {
		w.t.Fatal(err)
	}
	return uint32(id)
}

// by is a rule that sends datagrams to a port by a next hop.
func by(action policy.Action, port uint16, hop uint32) policy.Rule {
	return policy.Rule{Hook: policy.HookIn, Protocol: 17, DstPorts: []policy.PortRange{{First: port, Last: port}}, Action: action, NextHop: hop}
}

// to is a datagram from A to B, for a port.
func to(v6 bool, port uint16) []byte {
	if v6 {
		return frame(ip6(a6, b6, layers.IPProtocolUDP), udp(1000, port), data(64))
	}
	return frame(ip4(a4, b4, layers.IPProtocolUDP), udp(1000, port), data(64))
}

// gone says where the only frame that left went: its port and destination MAC.
func (w *world) gone(out [2][][]byte) string {
	w.t.Helper()
	if len(out[0])+len(out[1]) != 1 {
		w.t.Fatalf("%d and %d frames left", len(out[0]), len(out[1]))
	}
	port := 0
	if len(out[1]) > 0 {
		port = 1
	}
	decode(w.t, out[port][0])
	return fmt.Sprintf("%d %v", port, fib.MAC(out[port][0][:6]))
}

// Where frames go in these tests.
var (
	toB = fmt.Sprintf("1 %v", fib.MAC(macB))
	toS = fmt.Sprintf("1 %v", fib.MAC(macS))
	toA = fmt.Sprintf("0 %v", fib.MAC(macA)) // on the VLAN
)

var onTag = fib.Hop{Via: netip.MustParseAddr("10.7.7.2")}

// FF-6: packets that a rule chose a next hop for go by it, the first of a flow and all
// others, with and without flows; other packets go by their routes.
func TestRuleChoosesNextHop(t *testing.T) {
	for _, options := range [][]option{nil, {stateless}} {
		for _, v6 := range []bool{false, true} {
			w := newWorld(t, options...)
			w.know(ifWAN, s4, macS)
			w.know(ifWAN, s6, macS)
			hop := fib.Hop{Via: s4}
			if v6 {
				hop.Via = s6
			}
			w.setRules(2, acceptAll, by(policy.Accept, 2000, w.hold(hop)))
			for i := range 4 {
				if got := w.gone(w.send(0, to(v6, 2000))); got != toS {
					t.Errorf("v6 %t: packet %d went to %s", v6, i, got)
				}
				if got := w.gone(w.send(0, to(v6, 3000))); got != toB {
					t.Errorf("v6 %t: packet %d of no rule's went to %s", v6, i, got)
				}
			}
			if h := w.hits()[0]; h.Packets != 4 {
				t.Errorf("the rule counted %d packets", h.Packets)
			}
			w.setRules(3, acceptAll, by(policy.Continue, 2000, 0))
			if got := w.gone(w.send(0, to(v6, 2000))); got != toB {
				t.Errorf("v6 %t: by the rules of before: to %s", v6, got)
			}
		}
	}
}

// FF-6: whatever rules there are, a packet goes by the next hop of the latest rule that it
// passed, and what its flow remembers is what it would be told.
func TestNextHopOracle(t *testing.T) {
	remembering, forgetful := newWorld(t), newWorld(t, stateless)
	var hops []uint32
	for _, w := range []*world{remembering, forgetful} {
		w.know(ifWAN, s4, macS)
		hops = []uint32{0, w.hold(fib.Hop{Via: s4}), w.hold(onTag)}
	}
	ways, generation := []string{toB, toS, toA}, uint32(1)
	rapid.Check(t, func(rt *rapid.T) {
		var chosen []int // of each rule
		rules := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) policy.Rule {
			return by(rapid.SampledFrom([]policy.Action{policy.Accept, policy.Continue, policy.Continue}).Draw(t, "action"),
				uint16(rapid.IntRange(1, 3).Draw(t, "port")), rapid.SampledFrom(hops).Draw(t, "hop"))
		}), 0, 8).Draw(rt, "rules")
		for i := range rules {
			chosen = append(chosen, slices.Index(hops, rules[i].NextHop))
		}
		generation++
		for _, w := range []*world{remembering, forgetful} {
			w.setRules(generation, acceptAll, rules...)
		}
		for range 12 {
			port, want := uint16(rapid.IntRange(1, 3).Draw(rt, "to")), 0
			for i := range rules {
				if rules[i].DstPorts[0].First != port {
					continue
				}
				if chosen[i] != 0 {
					want = chosen[i]
				}
				if rules[i].Action == policy.Accept {
					break
				}
			}
			for _, w := range []*world{remembering, forgetful} {
				if got := w.gone(w.send(0, to(false, port))); got != ways[want] {
					rt.Fatalf("to port %d went to %s, want %s", port, got, ways[want])
				}
			}
		}
	})
}

// FF-6, FF-5: no rule sends away what is to the router itself.
func TestNextHopLeavesOurs(t *testing.T) {
	w := newWorld(t)
	w.setRules(2, acceptAll, by(policy.Accept, 2000, w.hold(onTag)))
	for _, dst := range []string{"10.1.1.1", "10.2.2.1", "10.2.2.255"} {
		w.send(0, frame(ip4(a4, netip.MustParseAddr(dst), layers.IPProtocolUDP), udp(1, 2000), data(1)))
	}
	if w.drops(packet.PuntLocal) != 2 || w.drops(packet.PuntMulticast) != 1 {
		t.Errorf("%d for us, %d for all", w.drops(packet.PuntLocal), w.drops(packet.PuntMulticast))
	}
}

// FF-6, FF-16: while the link of a rule's next hop is down packets go by their routes,
// from the next packet on; a rule's choice holds against a route that leads nowhere.
func TestNextHopFallsBack(t *testing.T) {
	w := newWorld(t)
	w.setRules(2, acceptAll, by(policy.Accept, 2000, w.hold(onTag)))
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, toA},
		{func() { w.table.SetCarrier(ifTag, false) }, toB},
		{func() { must(t, w.table.SetLink(ifTag, false)) }, toB},
		{func() { must(t, w.table.SetLink(ifTag, true)) }, toA},
		{func() { must(t, w.table.RemoveAddress(ifTag, netip.MustParsePrefix("10.7.7.1/24"))) }, toB},
		{func() { must(t, w.table.AddAddress(ifTag, netip.MustParsePrefix("10.7.7.1/24"))) }, toA},
	} {
		step.do()
		for range 2 {
			if got := w.gone(w.send(0, to(false, 2000))); got != step.want {
				t.Errorf("went to %s, want %s", got, step.want)
			}
		}
	}
	for _, dst := range []string{"192.0.2.1", "203.0.113.1", "8.8.8.8"} { // blackhole, prohibited, no route
		if got := w.gone(w.send(0, frame(ip4(a4, netip.MustParseAddr(dst), layers.IPProtocolUDP), udp(1, 2000), data(1)))); got != toA {
			t.Errorf("to %s went to %s", dst, got)
		}
	}
}

// FF-6, FF-16: several next hops of a rule share its flows as those of a route do, and
// one whose link goes down leaves its flows to the others at once.
func TestNextHopsOfRuleShareFlows(t *testing.T) {
	w := newWorld(t)
	w.know(ifWAN, s4, macS)
	w.setRules(2, acceptAll, by(policy.Accept, 2000, w.hold(onTag, fib.Hop{Via: s4})))
	way := func(src uint16) string {
		return w.gone(w.send(0, frame(ip4(a4, b4, layers.IPProtocolUDP), udp(src, 2000), data(1))))
	}
	before, count := map[uint16]string{}, map[string]int{}
	for src := range uint16(200) {
		before[src] = way(src)
		count[before[src]]++
	}
	if count[toA] < 50 || count[toS] < 50 || len(count) != 2 {
		t.Errorf("flows went %v", count)
	}
	for src, want := range before {
		if got := way(src); got != want {
			t.Errorf("flow %d went to %s, then to %s", src, want, got)
		}
	}
	w.table.SetCarrier(ifTag, false)
	for src := range before {
		if got := way(src); got != toS {
			t.Errorf("flow %d went to %s, whose link is down", src, got)
		}
	}
}

// FF-6, SP-3: packets wait for the neighbour that a rule chose, not for that of their
// route, and those that waited under rules that are gone go by their routes.
func TestPacketsWaitForNextHopOfRule(t *testing.T) {
	for _, replaced := range []bool{false, true} {
		w, r := newHoldWorld(t)
		w.setRules(2, acceptAll, by(policy.Accept, 2000, w.hold(fib.Hop{Via: s4})))
		w.send(0, to(false, 2000), to(false, 2000))
		if w.held() != 2 || len(r.asked) != 1 || r.asked[0] != "2 10.2.2.9" {
			t.Fatalf("%d wait, asked for %q", w.held(), r.asked)
		}
		if out := w.later(1e9); len(out[1]) != 0 || w.held() != 2 {
			t.Fatalf("%d left before the answer, although their route has one", len(out[1]))
		}
		want := toS
		if replaced {
			w.setRules(3, acceptAll, by(policy.Accept, 3000, 0))
			w.worker.poll(false) // it sees the rules
			want = toB
		} else {
			w.know(ifWAN, s4, macS)
		}
		out := w.later(2e9)
		if len(out[1]) != 2 || w.held() != 0 {
			t.Fatalf("replaced %t: %d left, %d wait", replaced, len(out[1]), w.held())
		}
		for _, f := range out[1] {
			if got := w.gone([2][][]byte{nil, {f}}); got != want {
				t.Errorf("replaced %t: went to %s, want %s", replaced, got, want)
			}
		}
	}
}

// FF-6, FF-8: a neighbour of a rule that does not answer is told to the sender, as that of
// a route is: packets do not fall back to a way that nobody chose for them.
func TestNextHopOfRuleDoesNotAnswer(t *testing.T) {
	w, _ := newHoldWorld(t)
	w.setRules(2, acceptAll, by(policy.Accept, 2000, w.hold(fib.Hop{Via: s4})))
	w.send(0, to(false, 2000))
	out := w.later(holdNs + 1e9)
	if len(out[0]) != 1 || len(out[1]) != 0 || w.drops(packet.NoNeighbour) != 1 {
		t.Fatalf("%d answers, %d packets left", len(out[0]), len(out[1]))
	}
	icmp := decode(t, out[0][0]).Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	if want := layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeHost); icmp.TypeCode != want {
		t.Errorf("answered %v", icmp.TypeCode)
	}
}

// FF-6, VQ-3, VQ-4: a packet that its listener accepts goes by the next hop that rules
// chose before, and by what new rules choose if they are others by then, or by what rules
// choose that are asked again.
func TestNextHopThroughQueue(t *testing.T) {
	for _, c := range []struct {
		name    string
		rules   func(q *queueWorld) []policy.Rule // once the packet waits
		verdict client.Verdict
		want    string
	}{
		{"accepted", nil, accept, toS},
		{"other rules choose", func(q *queueWorld) []policy.Rule { return []policy.Rule{by(policy.Accept, 2000, q.hold(onTag))} }, accept, toA},
		{"other rules choose none", func(*queueWorld) []policy.Rule { return []policy.Rule{by(policy.Accept, 3000, 0)} }, accept, toB},
		{"asked again", nil, client.Verdict{Action: client.Repeat, Mark: new(uint32(1))}, toB},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := newQueueWorld(t)
			q.know(ifWAN, s4, macS)
			unmarked := policy.Bits{Mask: 1}
			chooses, queues := by(policy.Continue, 2000, q.hold(fib.Hop{Via: s4})), queueTo(policy.HookIn, policy.QueueTo{})
			chooses.Mark, queues.Mark = unmarked, unmarked
			q.setRules(2, acceptAll, chooses, queues)
			q.send(0, to(false, 2000))
			p := q.receive(1)[0]
			if c.rules != nil {
				q.setRules(3, acceptAll, c.rules(q)...)
			}
			if got := q.gone(q.decide(p, c.verdict)); got != c.want {
				t.Errorf("went to %s, want %s", got, c.want)
			}
			for i := 0; i < 3 && c.want == toS; i++ { // by what the flow remembers
				q.send(0, to(false, 2000))
				if got := q.gone(q.decide(q.receive(1)[0], c.verdict)); got != c.want {
					t.Errorf("a later one went to %s, want %s", got, c.want)
				}
			}
		})
	}
}

// FF-6, FF-9: what does not fit the way that a rule chose is told that way's MTU, or cut
// to it.
func TestNextHopHasItsMTU(t *testing.T) {
	w := newWorld(t)
	must(t, w.table.SetInterface(fib.Interface{Index: ifTag, MAC: macLAN, VLAN: 7, MTUBytes: 576}))
	w.setRules(2, acceptAll, by(policy.Accept, 2000, w.hold(onTag)))
	ip := ip4(a4, b4, layers.IPProtocolUDP)
	if out := w.send(0, frame(ip, udp(1, 2000), data(1000))); len(out[0]) != 2 || len(out[1]) != 0 {
		t.Fatalf("%d fragments", len(out[0]))
	}
	ip.Flags = layers.IPv4DontFragment
	out := w.send(0, frame(ip, udp(1, 2000), data(1000)))
	if len(out[0]) != 1 {
		t.Fatalf("%d answers", len(out[0]))
	}
	icmp := decode(t, out[0][0]).Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	if icmp.TypeCode.Code() != layers.ICMPv4CodeFragmentationNeeded || icmp.Seq != 576 {
		t.Errorf("answered %v with MTU %d", icmp.TypeCode, icmp.Seq)
	}
}

// FF-6, FF-11: a sender is not told to send elsewhere what a rule sends there: the rule
// may mean some of its packets only.
func TestNoRedirectForNextHopOfRule(t *testing.T) {
	w := hairpin(t)
	w.setRules(2, acceptAll, by(policy.Accept, 2000, w.hold(fib.Hop{Via: netip.MustParseAddr("10.1.1.3")})))
	dst := netip.MustParseAddr("172.16.0.9")
	if out := w.send(0, frame(ip4(a4, dst, layers.IPProtocolUDP), udp(1, 2000), data(20))); len(out[0]) != 1 {
		t.Errorf("%d frames left for what a rule sent back", len(out[0]))
	}
	if out := w.send(0, frame(ip4(a4, dst, layers.IPProtocolUDP), udp(1, 3000), data(20))); len(out[0]) != 2 {
		t.Errorf("%d frames left for what a route sent back", len(out[0]))
	}
}

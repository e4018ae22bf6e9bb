package pipeline

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"ffwd/ct"
	"ffwd/fib"
	"ffwd/packet"
	"ffwd/policy"
)

// testResolver notes who was asked for.
type testResolver struct {
	asked []string
	deaf  bool
}

func (r *testResolver) Ask(iface uint16, addr netip.Addr) bool {
	if r.deaf {
		return false
	}
	r.asked = append(r.asked, fmt.Sprintf("%d %v", iface, addr))
	return true
}

// strangers on the WAN, whom no table knows yet.
var (
	s4, s6 = netip.MustParseAddr("10.2.2.9"), netip.MustParseAddr("fd01:2::9")
	macS   = [6]byte{2, 0, 0, 0, 2, 9}
)

func newHoldWorld(t testing.TB, options ...option) (*world, *testResolver) {
	r := &testResolver{}
	w := newWorld(t, append([]option{func(c *Config, _ *world) { c.Resolver = r }}, options...)...)
	return w, r
}

// A packet that comes when the neighbour has just become known
// leaves behind those that wait for it. SP-3, VQ-1
func TestPacketsDoNotOvertakeThoseThatWait(t *testing.T) {
	w, _ := newHoldWorld(t)
	for round := range 20 {
		addr := netip.AddrFrom4([4]byte{10, 2, 2, byte(100 + round)})
		to := func(port uint16) []byte {
			return frame(ip4(a4, addr, layers.IPProtocolUDP), udp(port, 2000), data(100))
		}
		w.send(0, to(1), to(2))
		w.know(ifWAN, addr, macS)
		for since := testClock.Now(); testClock.Now() < since+2*holdCheckNs; { // until it may look again
		}
		out := w.send(0, to(3))[1]
		if len(out) != 3 {
			t.Fatalf("%d left", len(out))
		}
		for i, f := range out {
			if port := decode(t, f).Layer(layers.LayerTypeUDP).(*layers.UDP).SrcPort; int(port) != i+1 {
				t.Fatalf("packet %d left as number %d", port, i+1)
			}
		}
	}
}

// What conntrack is told by a reload holds for packets that wait, though no other has met
// conntrack since. SP-3, CT-7
func TestReloadedSettingsHoldForWhatWaits(t *testing.T) {
	w, _ := newHoldWorld(t)
	w.snapshot.Tracking.MaxPerSource = 2
	w.publish()
	w.send(0, udp4(18), stranger4(1)) // one flow of this source, and one that waits
	w.snapshot.Tracking.MaxPerSource = 1
	w.publish()
	w.know(ifWAN, s4, macS)
	for w.worker.holder.packets > 0 { // until it may look again
		w.worker.poll(true)
	}
	if n := w.drops(packet.CtSourceLimit); n != 1 {
		t.Errorf("%d packets were dropped for the limit that is new, want 1", n)
	}
}

// later reviews what waits as if that much time had passed, and returns what left.
func (w *world) later(ns int64) (out [2][][]byte) {
	w.worker.review(testClock.Now() + ns)
	w.worker.flush()
	for i, q := range w.tx {
		out[i], q.frames = q.frames, nil
	}
	return out
}

func (w *world) know(iface uint16, addr netip.Addr, mac [6]byte) {
	w.t.Helper()
	if err := w.table.SetNeighbour(iface, addr, mac); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) held() int {
	c, _ := w.worker.Counters()
	w.checkHeld(int(c.Held))
	return int(c.Held)
}

// checkHeld holds the conservation equation while packets wait.
func (w *world) checkHeld(held int) {
	w.t.Helper()
	c, _ := w.worker.Counters()
	in, out := c.Received+c.Created+c.TakenOver, c.Transmitted+c.Dropped()+c.Punted()+c.HandedOver+c.Held
	if in != out || len(w.pool.isOut) != held {
		w.t.Errorf("in %d, out %d, held %d, and %d mbufs are in use", in, out, held, len(w.pool.isOut))
	}
}

func stranger4(port uint16) []byte {
	return frame(ip4(a4, s4, layers.IPProtocolUDP), udp(port, 2000), data(100))
}

func stranger6(port uint16) []byte {
	return frame(ip6(a6, s6, layers.IPProtocolUDP), udp(port, 2000), data(100))
}

// The first packets to a neighbour wait until its address is known, then leave in
// their order, with one hop less and one flow each. The kernel is asked once.
// SP-3, CT-2, FF-7, FF-12
func TestPacketsWaitForTheirNeighbour(t *testing.T) {
	for _, c := range []struct {
		name     string
		addr     netip.Addr
		make     func(port uint16) []byte
		question string
	}{{"ipv4", s4, stranger4, "2 10.2.2.9"}, {"ipv6", s6, stranger6, "2 fd01:2::9"}} {
		t.Run(c.name, func(t *testing.T) {
			w, r := newHoldWorld(t)
			if out := w.send(0, c.make(1), c.make(2), c.make(1)); len(out[0])+len(out[1]) != 0 || w.held() != 3 {
				t.Fatalf("%d left, %d wait", len(out[0])+len(out[1]), w.held())
			}
			w.send(0, c.make(2))
			if len(r.asked) != 1 || r.asked[0] != c.question {
				t.Fatalf("asked for %q", r.asked)
			}
			if out := w.later(holdNs / 2); len(out[1]) != 0 || w.held() != 4 {
				t.Fatalf("%d left before the answer", len(out[1]))
			}
			w.know(ifWAN, c.addr, macS)
			out := w.later(holdNs/2 + 1e6)
			if len(out[1]) != 4 || w.held() != 0 {
				t.Fatalf("%d left, %d wait", len(out[1]), w.held())
			}
			for i, port := range []layers.UDPPort{1, 2, 1, 2} {
				p := decode(t, out[1][i])
				if got := p.TransportLayer().(*layers.UDP).SrcPort; got != port {
					t.Errorf("packet %d is of port %d", i, got)
				}
				if e := p.LinkLayer().(*layers.Ethernet); e.DstMAC.String() != fib.MAC(macS).String() {
					t.Errorf("sent to %v", e.DstMAC)
				}
				if hops(p) != 63 {
					t.Errorf("hop limit %d", hops(p))
				}
			}
			if _, flows := w.worker.Counters(); flows.Flows4+flows.Flows6 != 2 || flows.Joined != [packet.NumWaits]uint64{packet.WaitNeighbour: 2} {
				t.Errorf("flows %d, joined %d", flows.Flows4+flows.Flows6, flows.Joined)
			}
			counters, err := w.table.CountersVia(ifWAN, c.addr)
			if err != nil {
				t.Fatal(err)
			}
			sum := make([]fib.Count, len(counters))
			w.worker.AddRouteCounts(0, counters, sum)
			if len(sum) != 1 || sum[0].Packets != 4 {
				t.Errorf("the next hop has counted %v", sum)
			}
		})
	}
}

func hops(p gopacket.Packet) uint8 {
	if ip, ok := p.NetworkLayer().(*layers.IPv4); ok {
		return ip.TTL
	}
	return p.NetworkLayer().(*layers.IPv6).HopLimit
}

// A neighbour that does not answer is a host that cannot be reached. SP-3, FF-8
func TestSilentNeighbourIsUnreachable(t *testing.T) {
	w, _ := newHoldWorld(t)
	w.send(0, stranger4(1), stranger6(1))
	if out := w.later(holdNs - 1e9); len(out[0]) != 0 {
		t.Fatal("answered too early")
	}
	out := w.later(holdNs + 1e9)
	if len(out[0]) != 2 || w.drops(packet.NoNeighbour) != 2 {
		t.Fatalf("%d answers, %d drops", len(out[0]), w.drops(packet.NoNeighbour))
	}
	e4 := decode(t, out[0][0]).Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	if want := layers.CreateICMPv4TypeCode(3, 1); e4.TypeCode != want { // RFC 792
		t.Errorf("answered %v", e4.TypeCode)
	}
	if quoted := e4.Payload; quoted[8] != 64 {
		t.Errorf("the quoted packet has TTL %d", quoted[8])
	}
	e6 := decode(t, out[0][1]).Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
	if want := layers.CreateICMPv6TypeCode(1, 3); e6.TypeCode != want { // RFC 4443 3.1
		t.Errorf("answered %v", e6.TypeCode)
	}
	if _, flows := w.worker.Counters(); flows.Created != 0 {
		t.Error("a flow was begun")
	}
}

// The bounds of what waits, per neighbour and in all. SP-3
func TestWaitingIsBounded(t *testing.T) {
	w, r := newHoldWorld(t)
	for port := range uint16(heldPerTarget + 3) {
		w.send(0, stranger4(port))
	}
	if w.held() != heldPerTarget || w.drops(packet.NoNeighbour) != 3 {
		t.Fatalf("%d wait, %d were dropped", w.held(), w.drops(packet.NoNeighbour))
	}
	w.know(ifWAN, s4, macS)
	out := w.later(1e9)
	if len(out[1]) != heldPerTarget {
		t.Fatalf("%d left", len(out[1]))
	}
	if first := decode(t, out[1][0]).TransportLayer().(*layers.UDP).SrcPort; first != 3 {
		t.Errorf("the oldest that waited is of port %d", first)
	}
	// A scan: more neighbours than there is room for, and then more packets.
	r.asked = nil
	for i := range 2 * maxTargets {
		to := netip.AddrFrom16([16]byte{0xfd, 1, 0, 2, 15: 0, 14: byte(i >> 8), 13: byte(i), 7: 0, 12: 1})
		w.send(0, frame(ip6(a6, to, layers.IPProtocolUDP), udp(1, 2), data(10)))
	}
	if w.held() != maxTargets || len(r.asked) != maxTargets {
		t.Fatalf("%d wait for %d", w.held(), len(r.asked))
	}
	for range 8 {
		for i := range maxTargets {
			to := netip.AddrFrom16([16]byte{0xfd, 1, 0, 2, 15: 0, 14: byte(i >> 8), 13: byte(i), 7: 0, 12: 1})
			w.send(0, frame(ip6(a6, to, layers.IPProtocolUDP), udp(1, 2), data(10)))
		}
	}
	if w.held() != maxHeld {
		t.Fatalf("%d wait, at most %d may", w.held(), maxHeld)
	}
	if w.send(0, udp4(10)); w.held() != maxHeld {
		t.Error("a packet to a known neighbour was held")
	}
	w.later(holdNs + 1e9)
	if w.held() != 0 || w.worker.holder.targets != 0 {
		t.Errorf("%d wait after their time", w.held())
	}
	w.send(0, stranger6(9)) // every place is free again
	if w.held() != 1 {
		t.Error("nothing can wait any more")
	}
	w.worker.dropHeld()
	if w.held() != 0 {
		t.Error("something waits after the end")
	}
	before := w.drops(packet.NoNeighbour)
	if w.send(0, stranger6(9)); w.held() != 0 || w.drops(packet.NoNeighbour) != before+1 {
		t.Error("after the end, packets are to be rejected")
	}
}

// A few silent neighbours do not take all the room there is. SP-3
func TestWaitingIsShared(t *testing.T) {
	w, _ := newHoldWorld(t)
	const greedy = maxHeld / 2 / heldPerTarget
	want := 0
	for i := range greedy + 2 {
		to := netip.AddrFrom16([16]byte{0xfd, 1, 0, 2, 12: 1, 15: byte(i)})
		for range heldPerTarget + 1 {
			w.send(0, frame(ip6(a6, to, layers.IPProtocolUDP), udp(1, 2), data(10)))
		}
		if want += heldPerTarget; i >= greedy {
			want += heldWhenTight - heldPerTarget
		}
		if w.held() != want || w.worker.holder.packets != want {
			t.Fatalf("%d and %d wait for %d neighbours, want %d", w.held(), w.worker.holder.packets, i+1, want)
		}
	}
	if w.later(holdNs + 1e9); w.worker.holder.packets != 0 || w.worker.holder.share() != heldPerTarget {
		t.Errorf("%d packets wait after their time", w.worker.holder.packets)
	}
}

// What would be rejected or dropped with a known neighbour is so without one, and
// nobody is asked. FF-6, FF-7, FF-9
func TestNobodyAsksForPacketsThatGoNowhere(t *testing.T) {
	expired := ip4(a4, s4, layers.IPProtocolUDP)
	expired.TTL = 1
	large := ip4(a4, s4, layers.IPProtocolUDP)
	large.Flags = layers.IPv4DontFragment
	for _, c := range []struct {
		name   string
		frame  []byte
		reason packet.Reason
		out    []option
		answer int
	}{
		{"expired", frame(expired, udp(1, 2), data(10)), packet.TTLExpired, nil, 1},
		{"too large", frame(large, udp(1, 2), data(1600)), packet.CannotFragment, nil, 1},
		{"too large, IPv6", frame(ip6(a6, s6, layers.IPProtocolUDP), udp(1, 2), data(1600)), packet.CannotFragment, nil, 1},
		{"denied", stranger4(1), packet.PolicyOut, []option{withRules(policy.Rule{Hook: policy.HookOut, Action: policy.Drop, Protocol: 17})}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, r := newHoldWorld(t, c.out...)
			out := w.send(0, c.frame)
			if len(r.asked) != 0 || w.drops(c.reason) != 1 || len(out[0]) != c.answer || w.held() != 0 {
				t.Errorf("asked %q, dropped %d for %v, %d answers", r.asked, w.drops(c.reason), c.reason, len(out[0]))
			}
		})
	}
}

// An ICMP error whose receiver has to be found first waits like any packet. FF-10, SP-3
func TestErrorsWaitForTheirNeighbour(t *testing.T) {
	w, r := newHoldWorld(t)
	if err := w.table.DeleteNeighbour(ifLAN, a4); err != nil {
		t.Fatal(err)
	}
	noRoute := frame(ip4(a4, netip.MustParseAddr("172.16.0.1"), layers.IPProtocolUDP), udp(1, 2), data(10))
	if w.send(0, noRoute); len(r.asked) != 1 || r.asked[0] != "1 10.1.1.2" || w.held() != 1 {
		t.Fatalf("asked for %q", r.asked)
	}
	w.know(ifLAN, a4, macA)
	out := w.later(1e9)
	if len(out[0]) != 1 {
		t.Fatalf("%d left", len(out[0]))
	}
	if ip := decode(t, out[0][0]).NetworkLayer().(*layers.IPv4); ip.TTL != errorTTL || !ip.DstIP.Equal(a4.AsSlice()) {
		t.Errorf("the error is %+v", ip)
	}
	if _, flows := w.worker.Counters(); flows.Created != 0 {
		t.Error("an error has begun a flow")
	}
}

// What changed while packets waited counts: the route, the rules, the flow. VQ-4 asks
// the same of queues. SP-3
func TestWaitingPacketsFollowWhatChanged(t *testing.T) {
	w, _ := newHoldWorld(t)
	w.send(0, stranger4(1))
	if err := w.table.Add(fib.Route{Prefix: netip.PrefixFrom(s4, 32), Hops: []fib.Hop{{Via: b4, Iface: ifWAN}}}); err != nil {
		t.Fatal(err)
	}
	out := w.later(1e9)
	if len(out[1]) != 1 || decode(t, out[1][0]).LinkLayer().(*layers.Ethernet).DstMAC.String() != fib.MAC(macB).String() {
		t.Fatalf("%d left by the new route", len(out[1]))
	}
	if err := w.table.Delete(netip.PrefixFrom(s4, 32)); err != nil {
		t.Fatal(err)
	}
	w.send(0, stranger4(1), stranger4(2))
	w.setRules(2, policy.Defaults{In: policy.Drop, Out: policy.Accept})
	w.worker.poll(true)
	w.know(ifWAN, s4, macS)
	if out := w.later(2e9); len(out[1]) != 0 || w.drops(packet.PolicyIn) != 2 {
		t.Errorf("%d left against the new rules", len(out[1]))
	}
}

// A packet that waits refers to its timeout policy until its flow does, or it is dropped:
// the policy's place is not given to another meanwhile. TO-4, TO-6, SP-3
func TestWaitingPacketsHoldTheirTimeouts(t *testing.T) {
	var ps *ct.Policies
	give := policy.Rule{Hook: policy.HookIn, Action: policy.Accept, Protocol: policy.AnyProtocol, Timeout: 1}
	w, _ := newHoldWorld(t, withRegistry(&ps, ct.Kind{Family: 4, Protocol: packet.ProtoUDP}), withRules(give))
	refers := func(when string, queued, flows int) {
		t.Helper()
		if list := ps.List(); len(list) != 1 || list[0].Queued != queued || list[0].Flows != flows {
			t.Errorf("%s: %+v, want %d packets and %d flows", when, list, queued, flows)
		}
	}
	for port := range uint16(heldPerTarget + 3) { // some push others out
		w.send(0, stranger4(port))
	}
	refers("waiting", heldPerTarget, 0)
	w.know(ifWAN, s4, macS)
	if out := w.later(1e6); len(out[1]) != heldPerTarget {
		t.Fatalf("%d left", len(out[1]))
	}
	refers("gone", 0, heldPerTarget)
	if err := w.table.DeleteNeighbour(ifWAN, s4); err != nil {
		t.Fatal(err)
	}
	w.send(0, stranger4(100))
	refers("waiting again", 1, heldPerTarget)
	w.later(holdNs + 1)
	refers("in vain", 0, heldPerTarget)
	w.send(0, stranger4(101))
	w.worker.dropHeld()
	refers("stopped", 0, heldPerTarget)
}

// A question that finds no room is put again. SP-3
func TestQuestionsAreRepeatedUntilTaken(t *testing.T) {
	w, r := newHoldWorld(t)
	r.deaf = true
	w.send(0, stranger4(1))
	r.deaf = false
	w.later(1e6)
	w.later(2e6)
	if len(r.asked) != 1 {
		t.Errorf("asked %q", r.asked)
	}
	w.later(askAgainNs + 3e6) // the kernel may have been made to forget
	if len(r.asked) != 2 {
		t.Errorf("asked %q", r.asked)
	}
	w.later(holdNs + 1)
}

type quietResolver struct{}

func (quietResolver) Ask(uint16, netip.Addr) bool { return true }

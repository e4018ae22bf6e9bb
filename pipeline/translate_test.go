package pipeline

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ffwd/ct"
	"ffwd/packet"
	"ffwd/policy"
	"ffwd/queue/client"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Addresses that only rules lead anywhere: no route forwards them.
var v4, v6 = netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")

// natRule is a rule that translates UDP; to is the address, for the actions that have one.
func natRule(action policy.Action, to netip.Addr, ports ...uint16) policy.Rule {
	r := policy.Rule{Action: action, Protocol: 17, To: policy.Translation{First: to, Last: to}}
	if action == policy.SNAT || action == policy.Masquerade {
		r.Hook = policy.HookOut
	}
	if len(ports) > 0 {
		r.To.Ports = policy.PortRange{First: ports[0], Last: ports[len(ports)-1]}
	}
	return r
}

// datagramOf is a UDP datagram with its link header, from A's side or B's.
func datagramOf(fromA bool, src, dst netip.Addr, sport, dport uint16, payload ...byte) []byte {
	build := back
	if fromA {
		build = frame
	}
	if src.Is6() {
		return build(ip6(src, dst, layers.IPProtocolUDP), udp(sport, dport), gopacket.Payload(payload))
	}
	return build(ip4(src, dst, layers.IPProtocolUDP), udp(sport, dport), gopacket.Payload(payload))
}

// endsOf names what a frame is of; decode has verified its checksums.
func endsOf(t testing.TB, f []byte) string {
	t.Helper()
	p := decode(t, f)
	network, ports := p.NetworkLayer().NetworkFlow(), p.TransportLayer().TransportFlow()
	return fmt.Sprintf("%v.%v > %v.%v", network.Src(), ports.Src(), network.Dst(), ports.Dst())
}

// wantLeft checks what left by a port.
//
// Which flow's packets left first does not matter.
func wantLeft(t testing.TB, what string, frames [][]byte, want ...string) {
	t.Helper()
	var got []string
	for _, f := range frames {
		got = append(got, endsOf(t, f))
	}
	slices.Sort(got)
	slices.Sort(want)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: left %v, want %v", what, got, want)
	}
}

// wantTranslations checks how many flows, or packets, hold a translation.
func (w *world) wantTranslations(what string, n uint64) {
	w.t.Helper()
	if _, flows := w.worker.Counters(); flows.Translations != n {
		w.t.Errorf("%s: %d translations, want %d", what, flows.Translations, n)
	}
}

// FF-6: each action, both families, both directions, first packets and later ones.
func TestRulesTranslate(t *testing.T) {
	for _, c := range []struct {
		name       string
		rules      []policy.Rule
		dst        netip.Addr // of A's packets, from port 1000 to 2000
		out        string
		answer     netip.Addr // to which B answers
		answerPort uint16
	}{
		{"dnat", []policy.Rule{natRule(policy.DNAT, b4)}, v4, "10.1.1.2.1000 > 10.2.2.2.2000", a4, 1000},
		{"dnat to a port", []policy.Rule{natRule(policy.DNAT, b4, 80)}, v4, "10.1.1.2.1000 > 10.2.2.2.80", a4, 1000},
		{"dnat 6", []policy.Rule{natRule(policy.DNAT, b6, 80)}, v6, "fd01:1::2.1000 > fd01:2::2.80", a6, 1000},
		{"snat", []policy.Rule{natRule(policy.SNAT, netip.MustParseAddr("10.2.2.50"))}, b4, "10.2.2.50.1000 > 10.2.2.2.2000", netip.MustParseAddr("10.2.2.50"), 1000},
		{"snat to a port", []policy.Rule{natRule(policy.SNAT, netip.MustParseAddr("10.2.2.50"), 7000)}, b4, "10.2.2.50.7000 > 10.2.2.2.2000", netip.MustParseAddr("10.2.2.50"), 7000},
		{"masquerade", []policy.Rule{natRule(policy.Masquerade, netip.Addr{})}, b4, "10.2.2.1.1000 > 10.2.2.2.2000", netip.MustParseAddr("10.2.2.1"), 1000},
		{"masquerade 6", []policy.Rule{natRule(policy.Masquerade, netip.Addr{}, 9000)}, b6, "fd01:2::1.9000 > fd01:2::2.2000", netip.MustParseAddr("fd01:2::1"), 9000},
		{"both", []policy.Rule{natRule(policy.DNAT, b4, 80), natRule(policy.Masquerade, netip.Addr{})}, v4, "10.2.2.1.1000 > 10.2.2.2.80", netip.MustParseAddr("10.2.2.1"), 1000},
		{"both 6", []policy.Rule{natRule(policy.DNAT, b6, 80), natRule(policy.Masquerade, netip.Addr{})}, v6, "fd01:2::1.1000 > fd01:2::2.80", netip.MustParseAddr("fd01:2::1"), 1000},
	} {
		w := newWorld(t, withRules(c.rules...))
		src, server := a4, b4
		if c.dst.Is6() {
			src, server = a6, b6
		}
		question := datagramOf(true, src, c.dst, 1000, 2000, 1, 2, 3)
		port := uint16(2000)
		if p := c.rules[0]; p.Hook == policy.HookIn && p.To.Ports.First != 0 {
			port = p.To.Ports.First
		}
		answer := datagramOf(false, server, c.answer, port, c.answerPort, 4, 5)
		for round := range 3 {
			what := fmt.Sprintf("%s, round %d", c.name, round)
			wantLeft(t, what, w.send(0, question, question)[1], c.out, c.out)
			back := fmt.Sprintf("%v.2000 > %v.1000", c.dst, src)
			wantLeft(t, what, w.send(1, answer, answer)[0], back, back)
		}
		w.wantTranslations(c.name, 1)
		if info := w.worker.Table().Info(onlyFlow(w), 0); info.Packets != [2]uint64{6, 6} || info.Reply.Dst != c.answer || info.Reply.DstPort != c.answerPort {
			t.Errorf("%s: %+v", c.name, info)
		}
	}
}

// FF-6, CT-3: a connection is translated from its first segment to its last, also those in between that the
// short way of known connections would take. Both of its tuples go when it ends.
func TestTranslatedConnection(t *testing.T) {
	dnat := natRule(policy.DNAT, b4, 80)
	dnat.Protocol = 6
	w := newWorld(t, withRules(dnat))
	to, from := "10.1.1.2.1000 > 10.2.2.2.80", "192.0.2.7.8080 > 10.1.1.2.1000"
	seq := [2]uint32{1000, 5000}
	segment := func(dir int, flags string, size int) {
		t.Helper()
		tcp := &layers.TCP{SrcPort: 1000, DstPort: 8080, Window: 60000, Seq: seq[dir], Ack: seq[1-dir]}
		tcp.SYN, tcp.ACK, tcp.FIN, tcp.RST = strings.Contains(flags, "S"), strings.Contains(flags, "A"), strings.Contains(flags, "F"), strings.Contains(flags, "R")
		f, want := frame(ip4(a4, v4, layers.IPProtocolTCP), tcp, data(size)), to
		if dir == 1 {
			tcp.SrcPort, tcp.DstPort = 80, 1000
			f, want = back(ip4(b4, a4, layers.IPProtocolTCP), tcp, data(size)), from
		}
		if !tcp.ACK {
			tcp.Ack = 0
		}
		seq[dir] += uint32(size)
		if tcp.SYN || tcp.FIN {
			seq[dir]++
		}
		wantLeft(t, fmt.Sprintf("%s in direction %d", flags, dir), w.send(dir, f)[1-dir], want)
	}
	segment(0, "S", 0)
	segment(1, "SA", 0)
	segment(0, "A", 0)
	for range 20 {
		segment(0, "A", 100)
		segment(1, "A", 200)
	}
	if info := w.worker.Table().Info(onlyFlow(w), 0); info.State != ct.TCPEstablished || !info.Assured {
		t.Errorf("the flow is %+v", info)
	}
	segment(0, "FA", 0)
	segment(1, "FA", 0)
	segment(0, "A", 0)
	w.wantTranslations("closed", 1)
	w.worker.Table().Delete(onlyFlow(w))
	w.wantTranslations("deleted", 0)
}

// FF-6: translated packets and others share bursts, by the short way too.
func TestTranslatedAmongOthers(t *testing.T) {
	w := newWorld(t, withRules(func() policy.Rule {
		r := natRule(policy.DNAT, b4)
		r.Dst = []netip.Prefix{netip.PrefixFrom(v4, 32)}
		return r
	}()))
	plain, moved := datagramOf(true, a4, b4, 1, 2), datagramOf(true, a4, v4, 3, 4)
	for range 3 {
		wantLeft(t, "mixed", w.send(0, plain, moved, moved, plain)[1],
			"10.1.1.2.1 > 10.2.2.2.2", "10.1.1.2.3 > 10.2.2.2.4", "10.1.1.2.3 > 10.2.2.2.4", "10.1.1.2.1 > 10.2.2.2.2")
		wantLeft(t, "mixed answers", w.send(1, datagramOf(false, b4, a4, 4, 3), datagramOf(false, b4, a4, 2, 1))[0],
			"192.0.2.7.4 > 10.1.1.2.3", "10.2.2.2.2 > 10.1.1.2.1")
	}
}

// FF-6: two hosts behind one address with the same port get different ones; a host in the same network as the
// published server is hidden too, or the server would answer it directly (hairpin).
func TestHiddenTogether(t *testing.T) {
	other, public := netip.MustParseAddr("10.1.1.3"), netip.MustParseAddr("10.2.2.1")
	w := newWorld(t, withRules(natRule(policy.Masquerade, netip.Addr{})))
	wantLeft(t, "first", w.send(0, datagramOf(true, a4, b4, 1000, 2000))[1], "10.2.2.1.1000 > 10.2.2.2.2000")
	second := decode(t, w.send(0, datagramOf(true, other, b4, 1000, 2000))[1][0]).TransportLayer().(*layers.UDP).SrcPort
	if second == 1000 || second < 600 || second > 1023 { // its class
		t.Errorf("the second host got port %d", second)
	}
	w.know(ifLAN, other, macA)
	wantLeft(t, "answers", w.send(1, datagramOf(false, b4, public, 2000, uint16(second)), datagramOf(false, b4, public, 2000, 1000))[0],
		"10.2.2.2.2000 > 10.1.1.3.1000", "10.2.2.2.2000 > 10.1.1.2.1000")

	published := natRule(policy.DNAT, other, 80)
	published.Dst = []netip.Prefix{netip.PrefixFrom(public, 32)}
	w = newWorld(t, withRules(published, natRule(policy.Masquerade, netip.Addr{})))
	w.know(ifLAN, other, macA)
	wantLeft(t, "hairpin", w.send(0, datagramOf(true, a4, public, 1000, 8080))[0], "10.1.1.1.1000 > 10.1.1.3.80")
	wantLeft(t, "hairpin answer", w.send(0, datagramOf(true, other, netip.MustParseAddr("10.1.1.1"), 80, 1000))[0], "10.2.2.1.8080 > 10.1.1.2.1000")
}

// FF-6, FF-10: whatever is said of a translated packet is said of what its sender sent.
func TestAnswersAboutTranslated(t *testing.T) {
	for _, family := range []struct {
		src, virtual, server netip.Addr
		headers              int
	}{{a4, v4, b4, 14 + 20 + 8}, {a6, v6, b6, 14 + 40 + 8}} {
		rejecting := policy.Rule{Hook: policy.HookOut, Action: policy.Reject, Protocol: policy.AnyProtocol}
		expired, large := datagramOf(true, family.src, family.virtual, 1000, 2000, 1, 2), datagramOf(true, family.src, family.virtual, 1000, 2000, make([]byte, 1400)...)
		if family.src.Is4() {
			ip := ip4(family.src, family.virtual, layers.IPProtocolUDP)
			ip.TTL = 1
			expired = frame(ip, udp(1000, 2000), data(4))
			ip.TTL, ip.Flags = 64, layers.IPv4DontFragment
			large = frame(ip, udp(1000, 2000), data(1400))
		} else {
			expired[14+7] = 1
		}
		for _, c := range []struct {
			name  string
			frame []byte
			rules []policy.Rule
		}{{"rejected", datagramOf(true, family.src, family.virtual, 1000, 2000), []policy.Rule{rejecting}}, {"expired", expired, nil}, {"too big", large, nil}} {
			w := newWorld(t, withRules(append([]policy.Rule{natRule(policy.DNAT, family.server, 80)}, c.rules...)...))
			w.setMTU(1300)
			out := w.send(0, c.frame)
			if len(out[0]) != 1 || len(out[1]) != 0 {
				t.Fatalf("%s %v: %d answers, %d left", c.name, family.src, len(out[0]), len(out[1]))
			}
			decode(t, out[0][0])
			quote := out[0][0][family.headers:]
			if !bytes.Equal(quote, c.frame[14:14+len(quote)]) {
				t.Errorf("%s %v: quoted\n%x, sent\n%x", c.name, family.src, quote, c.frame[14:])
			}
			w.wantTranslations(c.name, 0)
		}
	}
	// A reset comes from who was asked.
	reject := policy.Rule{Hook: policy.HookOut, Action: policy.Reject, Protocol: 6}
	dnat := natRule(policy.DNAT, b4, 80)
	dnat.Protocol = 6
	w := newWorld(t, withRules(dnat, reject))
	wantLeft(t, "reset", w.send(0, frame(ip4(a4, v4, layers.IPProtocolTCP), &layers.TCP{SrcPort: 1000, DstPort: 8080, SYN: true, Window: 100}))[0], "192.0.2.7.8080 > 10.1.1.2.1000")
	w.wantTranslations("reset", 0)
}

// FF-6: what cannot be translated is dropped for its own reason, and holds nothing; so do packets
// that are dropped behind the rule that translates them.
func TestNotTranslated(t *testing.T) {
	noAddress := func(_ *Config, w *world) {
		w.snapshot.Interfaces[ifWAN].Addr4 = [4]byte{}
		w.publish()
	}
	none := func(c *Config, _ *world) {
		table, err := ct.New(ct.Options{MaxFlows: 4096, MaxFlowsIPv6: 4096, Secret: *c.Secret})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { table.Close() })
		c.Table = table
	}
	stray := frame(ip4(a4, b4, layers.IPProtocolTCP), &layers.TCP{SrcPort: 1, DstPort: 2, RST: true})
	any := natRule(policy.Masquerade, netip.Addr{})
	any.Protocol = policy.AnyProtocol
	for _, c := range []struct {
		name    string
		options []option
		frame   []byte
		want    packet.Reason
	}{
		{"no flow", []option{withRules(any)}, stray, packet.NATNoFlow},
		{"stateless", []option{withRules(any), stateless}, udp4(1), packet.NATNoFlow},
		{"no address", []option{withRules(any), noAddress}, udp4(1), packet.NATNoAddress},
		{"none allowed", []option{withRules(any), none}, udp4(1), packet.NATFull},
		{"dropped behind", []option{withRules(natRule(policy.DNAT, b4, 80), policy.Rule{Hook: policy.HookOut, Action: policy.Drop, Protocol: policy.AnyProtocol})}, datagramOf(true, a4, v4, 1, 2), packet.PolicyOut},
		{"no route behind", []option{withRules(natRule(policy.DNAT, v4))}, udp4(1), packet.Blackhole},
	} {
		w := newWorld(t, c.options...)
		if out := w.send(0, c.frame); len(out[1]) != 0 || w.drops(c.want) != 1 {
			t.Errorf("%s: %d left, %d dropped for %v", c.name, len(out[1]), w.drops(c.want), c.want)
		}
		if w.worker.table != nil {
			w.wantTranslations(c.name, 0)
		}
	}
}

// FF-6, CT-5: every fragment gets the new addresses, in any order, and the datagram is whole
// and right for whoever puts it together.
func TestTranslatedFragments(t *testing.T) {
	payload := datagram(1000, 2000, 3000)
	payload[6], payload[7] = 0, 0
	pseudo := packet.Sum(uint64(17+len(payload)), append(a4.AsSlice(), v4.AsSlice()...))
	binary.BigEndian.PutUint16(payload[6:], ^packet.Fold(packet.Sum(pseudo, payload)))
	for _, order := range [][]int{{0, 1, 2}, {2, 0, 1}, {1, 2, 0}} {
		w := newWorld(t, withRules(natRule(policy.DNAT, b4, 80), natRule(policy.Masquerade, netip.Addr{}, 9000)))
		extents := []extent{{0, 1000, true}, {1000, 1000, true}, {2000, 1000, false}}
		var frames [][]byte
		for _, i := range order {
			frames = append(frames, part(a4, v4, 7, 17, payload, extents[i]))
		}
		out := w.send(0, frames...)[1]
		if len(out) != 3 {
			t.Fatalf("%v: %d fragments left", order, len(out))
		}
		whole := make([]byte, 3000)
		for _, f := range out {
			ip := decode(t, f).NetworkLayer().(*layers.IPv4)
			if !ip.SrcIP.Equal([]byte{10, 2, 2, 1}) || !ip.DstIP.Equal(b4.AsSlice()) {
				t.Errorf("%v: a fragment from %v to %v", order, ip.SrcIP, ip.DstIP)
			}
			copy(whole[8*int(ip.FragOffset):], ip.Payload)
		}
		if got := endsOf(t, back(ip4(netip.MustParseAddr("10.2.2.1"), b4, layers.IPProtocolUDP), gopacket.Payload(whole))); got != "10.2.2.1.9000 > 10.2.2.2.80" {
			t.Errorf("%v: put together: %s", order, got)
		}
		header := packet.Sum(uint64(17+len(whole)), append(netip.MustParseAddr("10.2.2.1").AsSlice(), b4.AsSlice()...))
		if packet.Fold(packet.Sum(header, whole)) != 0xffff {
			t.Errorf("%v: the datagram's checksum is wrong", order)
		}
		w.wantTranslations("fragments", 1)
	}
}

// FF-6, SP-1: what is sent to somebody else and redirected is the kernel's, whose answer
// comes from who was asked. Nothing is left of what it has no room for.
func TestRedirectedToUs(t *testing.T) {
	for _, family := range []struct{ src, dst, ours netip.Addr }{{a4, b4, r4}, {a6, b6, netip.MustParseAddr("fd01:1::1")}} {
		k := &testKernel{room: 1}
		w := newWorld(t, withKernel(k), withRules(natRule(policy.Redirect, netip.Addr{}, 53)))
		got := punted(t, w, k, 0, datagramOf(true, family.src, family.dst, 1000, 2000, 9))
		if len(got) != 1 || endsOf(t, got[0].frame) != fmt.Sprintf("%v.1000 > %v.53", family.src, family.ours) {
			t.Fatalf("the kernel got %+v", got)
		}
		answer := datagramOf(true, family.ours, family.src, 53, 1000, 7)
		k.sending = []puntedFrame{{iface: ifLAN, frame: answer}}
		w.worker.poll(true)
		wantLeft(t, "the kernel's answer", w.send(1)[0], fmt.Sprintf("%v.2000 > %v.1000", family.dst, family.src))
		w.wantTranslations("redirected", 1)

		// An answer in fragments, of which only the first tells what it answers.
		whole := answer[14+20:]
		proto, headers := uint8(17), 14
		if family.src.Is6() {
			whole = answer[14+40:]
		}
		payload := append(bytes.Clone(whole[:8]), make([]byte, 292)...)
		for _, e := range inThree {
			f := part(family.ours, family.src, 99, proto, payload, e)
			k.sending = append(k.sending, puntedFrame{iface: ifLAN, frame: f})
		}
		w.worker.poll(true)
		left := w.send(1)[0]
		if len(left) != len(inThree) {
			t.Errorf("%d fragments left", len(left))
		}
		for i, f := range left {
			from := netip.AddrFrom4([4]byte(f[headers+12:]))
			if family.src.Is6() {
				from = netip.AddrFrom16([16]byte(f[headers+8:]))
			}
			if from != family.dst {
				t.Errorf("fragment %d of the answer comes from %v, want %v", i, from, family.dst)
			}
		}
		punted(t, w, k, 0, datagramOf(true, family.src, family.dst, 1001, 2000), datagramOf(true, family.src, family.dst, 1002, 2000))
		w.wantTranslations("and no room for another", 2)
		if _, flows := w.worker.Counters(); flows.Flows4+flows.Flows6 != 2 || w.drops(packet.PuntFull) != 1 {
			t.Errorf("%d flows, %d had no room", flows.Flows4+flows.Flows6, w.drops(packet.PuntFull))
		}
	}
}

// FF-6, VQ-3, VQ-4: a packet may wait at either hook. It comes back as what was received, is translated
// by what its flow got meanwhile, or by the rules of then.
func TestTranslatedPacketsWait(t *testing.T) {
	for _, family := range []struct{ src, virtual, server, public netip.Addr }{
		{a4, v4, b4, netip.MustParseAddr("10.2.2.1")}, {a6, v6, b6, netip.MustParseAddr("fd01:2::1")}} {
		question := datagramOf(true, family.src, family.virtual, 1000, 2000, 1, 2, 3)
		sent := fmt.Sprintf("%v.9000 > %v.80", family.public, family.server)
		waiting := queueTo(policy.HookOut, policy.QueueTo{})
		waiting.States = policy.States(policy.New)
		// Diverted, so that the rule behind is asked.
		waiting.Queue.Divert = true
		rules := []policy.Rule{natRule(policy.DNAT, family.server, 80), waiting, natRule(policy.Masquerade, netip.Addr{}, 9000)}
		q := newQueueWorld(t, rules...)
		q.send(0, question, question)
		q.wantTranslations("waiting", 2)
		for i, p := range q.receive(2) {
			if got := endsOf(t, append(bytes.Clone(question[:14]), p.Data...)); got != fmt.Sprintf("%v.1000 > %v.80", family.src, family.server) {
				t.Errorf("the listener sees %s", got)
			}
			rewritten := client.Verdict{Action: client.Accept, Packet: bytes.Clone(p.Data)}
			if i == 0 {
				rewritten.Packet = nil
			}
			wantLeft(t, fmt.Sprintf("packet %d", i), q.decide(p, rewritten)[1], sent)
		}
		q.wantTranslations("left", 1)

		// Its flow ends, or the rules change, or it is dropped.
		for name, c := range map[string]struct {
			meanwhile func(q *queueWorld)
			verdict   client.Verdict
			want      []string
			left      uint64
		}{
			"dropped":        {func(*queueWorld) {}, drop, nil, 0},
			"no rules":       {func(q *queueWorld) { q.setRules(2, acceptAll) }, accept, nil, 0}, // no route leads there
			"the rule of in": {func(q *queueWorld) { q.setRules(2, acceptAll, rules[0]) }, accept, []string{fmt.Sprintf("%v.1000 > %v.80", family.src, family.server)}, 1},
			"taken":          {func(*queueWorld) {}, client.Verdict{Action: client.Take}, nil, 0},
		} {
			q := newQueueWorld(t, rules...)
			q.send(0, question)
			p := q.receive(1)[0]
			c.meanwhile(q)
			wantLeft(t, name, q.decide(p, c.verdict)[1], c.want...)
			q.wantTranslations(name, c.left)
		}
		// An established packet whose flow ended while it waited starts another.
		established := queueTo(policy.HookOut, policy.QueueTo{})
		established.States = policy.States(policy.Established)
		q = newQueueWorld(t, rules[0], established)
		q.send(0, question)
		q.send(1, datagramOf(false, family.server, family.src, 80, 1000))
		answers := q.receive(1)
		q.send(0, question)
		last := q.receive(1)[0]
		wantLeft(t, "an answer that waited", q.decide(answers[0], accept)[0], fmt.Sprintf("%v.2000 > %v.1000", family.virtual, family.src))
		q.worker.Table().Delete(onlyFlow(q.world))
		if out := q.decide(last, accept); len(out[1]) != 0 || q.drops(packet.NATNoFlow) != 1 {
			t.Errorf("a packet of no flow any more left as %v", out[1])
		}
		q.wantTranslations("no flow any more", 0)
	}
}

// FF-6, SP-3: a packet waits for its new destination's link address as any other.
func TestTranslatedPacketsWaitForNeighbours(t *testing.T) {
	for _, family := range []struct{ src, virtual, server, public netip.Addr }{
		{a4, v4, s4, netip.MustParseAddr("10.2.2.1")}, {a6, v6, s6, netip.MustParseAddr("fd01:2::1")}} {
		question := datagramOf(true, family.src, family.virtual, 1000, 2000, 1, 2, 3)
		rules := []policy.Rule{natRule(policy.DNAT, family.server, 80), natRule(policy.Masquerade, netip.Addr{}, 9000)}
		w, r := newHoldWorld(t, withRules(rules...))
		w.send(0, question, question)
		if w.held() != 2 || fmt.Sprint(r.asked) != fmt.Sprintf("[2 %v]", family.server) {
			t.Fatalf("%d wait, asked for %v", w.held(), r.asked)
		}
		w.know(ifWAN, family.server, macS)
		sent := fmt.Sprintf("%v.9000 > %v.80", family.public, family.server)
		w.setRules(2, acceptAll, rules...) // asked again, about what was received
		wantLeft(t, "known", w.later(holdNs / 2)[1], sent, sent)
		w.wantTranslations("known", 1)

		w, _ = newHoldWorld(t, withRules(rules...))
		w.send(0, question)
		out := w.later(2 * holdNs)
		if len(out[0]) != 1 {
			t.Fatalf("%d answers when nobody answers", len(out[0]))
		}
		headers := 14 + 20 + 8
		if family.src.Is6() {
			headers += 20
		}
		if quote := out[0][0][headers:]; !bytes.Equal(quote, question[14:14+len(quote)]) {
			t.Errorf("quoted %x of %x", quote, question[14:])
		}
		w.wantTranslations("unknown", 0)

		w, _ = newHoldWorld(t, withRules(rules...))
		w.send(0, question)
		w.worker.dropHeld()
		w.wantTranslations("at the end", 0)
	}
}

// FF-6: a flow keeps its translation when its rule goes, and when another address is given.
func TestTranslationOutlivesItsRule(t *testing.T) {
	w := newWorld(t, withRules(natRule(policy.DNAT, b4, 80)))
	question := datagramOf(true, a4, v4, 1000, 2000)
	w.send(0, question)
	w.setRules(2, acceptAll, natRule(policy.DNAT, netip.MustParseAddr("10.2.2.77"), 81))
	wantLeft(t, "another rule", w.send(0, question)[1], "10.1.1.2.1000 > 10.2.2.2.80")
	w.setRules(3, acceptAll)
	wantLeft(t, "no rule", w.send(0, question)[1], "10.1.1.2.1000 > 10.2.2.2.80")
	wantLeft(t, "its answer", w.send(1, datagramOf(false, b4, a4, 80, 1000))[0], "192.0.2.7.2000 > 10.1.1.2.1000")
	w.setRules(4, acceptAll, policy.Rule{Hook: policy.HookIn, Action: policy.Drop, Protocol: policy.AnyProtocol})
	wantLeft(t, "dropped", w.send(0, question)[1])
	w.wantTranslations("dropped", 1)
}

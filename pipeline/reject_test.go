package pipeline

import (
	"bytes"
	"net/netip"
	"testing"

	"ffwd/packet"
	"ffwd/policy"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// rejecting is a world whose hook in rejects everything in one way.
func rejecting(t *testing.T, with policy.RejectWith) *world {
	w := newWorld(t)
	rule := policy.Rule{Hook: policy.HookIn, Protocol: policy.AnyProtocol, Action: policy.Reject, RejectWith: with}
	if with == policy.TCPReset {
		rule.Protocol = 6
	}
	w.setRules(2, policy.Defaults{In: policy.Accept, Out: policy.Accept}, rule)
	return w
}

// FF-6: a rejected segment is answered as a closed port answers it.
// Source: RFC 9293 3.5.2, groups 1 and 2: the sequence is the acknowledgement of a
// segment that has one; else it is 0, and all that was sent is acknowledged.
func TestRejectReset(t *testing.T) {
	for _, tc := range []struct {
		name     string
		tcp      layers.TCP
		payload  int
		seq, ack uint32
		withAck  bool
	}{
		{"SYN", layers.TCP{SYN: true, Seq: 1000}, 0, 0, 1001, true},
		{"SYN with data", layers.TCP{SYN: true, Seq: 1000}, 5, 0, 1006, true},
		{"SYN at the end of the sequence", layers.TCP{SYN: true, Seq: 0xffffffff}, 0, 0, 0, true},
		{"FIN with data", layers.TCP{FIN: true, Seq: 7}, 3, 0, 11, true},
		{"nothing", layers.TCP{Seq: 7}, 0, 0, 7, true},
		{"ACK", layers.TCP{ACK: true, Seq: 5, Ack: 77}, 100, 77, 0, false},
		{"SYN ACK", layers.TCP{SYN: true, ACK: true, Seq: 5, Ack: 78}, 0, 78, 0, false},
		{"SYN with options", layers.TCP{SYN: true, Seq: 1, Options: []layers.TCPOption{{OptionType: 2, OptionLength: 4, OptionData: []byte{5, 180}}}}, 0, 0, 2, true},
	} {
		for _, v6 := range []bool{false, true} {
			tc.tcp.SrcPort, tc.tcp.DstPort, tc.tcp.Window = 40000, 80, 1000
			f := frame(ip4(a4, b4, layers.IPProtocolTCP), &tc.tcp, data(tc.payload))
			src, dst := b4, a4
			if v6 {
				f = frame(ip6(a6, b6, layers.IPProtocolTCP), &tc.tcp, data(tc.payload))
				src, dst = b6, a6
			}
			w := rejecting(t, policy.RejectDefault)
			out := w.send(0, f)
			if len(out[0]) != 1 || len(out[1]) != 0 || w.drops(packet.PolicyIn) != 1 {
				t.Fatalf("%s, IPv6 %v: %d answers, %d forwarded", tc.name, v6, len(out[0]), len(out[1]))
			}
			p := decode(t, out[0][0])
			if flow := p.NetworkLayer().NetworkFlow(); flow.Src().String() != src.String() || flow.Dst().String() != dst.String() {
				t.Errorf("%s, IPv6 %v: sent %v", tc.name, v6, flow)
			}
			got := p.TransportLayer().(*layers.TCP)
			if got.SrcPort != 80 || got.DstPort != 40000 || !got.RST || got.SYN || got.FIN || got.ACK != tc.withAck || got.Seq != tc.seq || got.Ack != tc.ack {
				t.Errorf("%s, IPv6 %v: %+v", tc.name, v6, got)
			}
			if c, _ := w.worker.Counters(); c.Resets != 1 || c.Errors != 0 || c.FastForwarded != 0 {
				t.Errorf("%s: counted %d resets, %d errors, %d forwarded", tc.name, c.Resets, c.Errors, c.FastForwarded)
			}
		}
	}
}

// FF-6: what no reset answers. Source: RFC 9293 3.5.2; RFC 1812 4.3.2.7 for what is no
// single sender's.
func TestNeverReset(t *testing.T) {
	segment := func(edit func(*layers.TCP)) *layers.TCP {
		l := &layers.TCP{SrcPort: 1, DstPort: 2, SYN: true}
		edit(l)
		return l
	}
	syn := segment(func(*layers.TCP) {})
	whole := frame(ip4(a4, b4, layers.IPProtocolTCP), syn, data(8))
	broken := func(at int, v byte) []byte {
		f := bytes.Clone(whole)
		f[at] = v
		return f
	}
	first := ip4(a4, b4, layers.IPProtocolTCP)
	first.Flags = layers.IPv4MoreFragments
	later := ip4(a4, b4, layers.IPProtocolTCP)
	later.FragOffset = 10
	nobody := ip4(netip.MustParseAddr("10.1.1.255"), b4, layers.IPProtocolTCP)
	group := bytes.Clone(whole)
	copy(group, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	for name, f := range map[string][]byte{
		"a reset":                      frame(ip4(a4, b4, layers.IPProtocolTCP), segment(func(l *layers.TCP) { l.SYN, l.RST = false, true })),
		"a first fragment":             frame(first, syn, data(24)),
		"a later fragment":             frame(later, data(24)),
		"a header cut short":           frame(ip4(a4, b4, layers.IPProtocolTCP), data(19)),
		"a data offset too small":      broken(14+20+12, 4<<4),
		"a data offset behind the end": broken(14+20+12, 8<<4),
		"a broadcast frame":            group,
		"a source that is nobody":      frame(nobody, syn),
	} {
		w := rejecting(t, policy.TCPReset)
		if out := w.send(0, f); len(out[0])+len(out[1]) != 0 {
			t.Errorf("%s: %d frames left", name, len(out[0])+len(out[1]))
		}
	}
}

// FF-6: a rule's choice of answer, in both families. Source: nftables' reject statement;
// RFC 792, RFC 1812 5.2.7.1, RFC 4443 3.1.
func TestRejectWith(t *testing.T) {
	for with, want := range map[policy.RejectWith][4]uint8{ // type and code, IPv4 and IPv6
		policy.RejectDefault:   {3, 3, 1, 4},
		policy.PortUnreachable: {3, 3, 1, 4},
		policy.HostUnreachable: {3, 1, 1, 3},
		policy.NetUnreachable:  {3, 0, 1, 0},
		policy.AdminProhibited: {3, 13, 1, 1},
	} {
		w := rejecting(t, with)
		out := w.send(0, udp4(10), udp6(10))
		if len(out[0]) != 2 || len(out[1]) != 0 {
			t.Fatalf("%v: %d answers", with, len(out[0]))
		}
		v4 := decode(t, out[0][0]).Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4).TypeCode
		v6 := decode(t, out[0][1]).Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6).TypeCode
		if got := [4]uint8{v4.Type(), v4.Code(), v6.Type(), v6.Code()}; got != want {
			t.Errorf("%v: %v, want %v", with, got, want)
		}
	}
}

// FF-6: at the out hook too, and for a flow that was accepted before: the decision is
// remembered with its answer.
func TestRejectEstablished(t *testing.T) {
	w := newWorld(t)
	if out := w.send(0, udp4(1)); len(out[1]) != 1 {
		t.Fatal("the flow did not begin")
	}
	accept := policy.Defaults{In: policy.Accept, Out: policy.Accept}
	w.setRules(2, accept, policy.Rule{Hook: policy.HookOut, OutPorts: []uint16{ifWAN}, Protocol: 17, Action: policy.Reject, RejectWith: policy.AdminProhibited})
	for i := range 3 {
		if out := w.send(0, udp4(1)); len(out[0]) != 1 || len(out[1]) != 0 || out[0][0][14+20+1] != 13 {
			t.Fatalf("packet %d: %d answers", i, len(out[0]))
		}
	}
	if w.drops(packet.PolicyOut) != 3 {
		t.Errorf("%d dropped", w.drops(packet.PolicyOut))
	}
}

// FF-6: resets are limited like errors are.
func TestResetRate(t *testing.T) {
	w := rejecting(t, policy.TCPReset)
	w.snapshot.ErrorRate = 50
	w.publish()
	answers := 0
	for range 100 {
		answers += len(w.send(0, tcpFrame("S"))[0])
	}
	if c, _ := w.worker.Counters(); answers < 5 || answers > 20 || c.ErrorsLimited != uint64(100-answers) {
		t.Fatalf("%d answers, %d limited", answers, c.ErrorsLimited)
	}
}

// FuzzReset feeds arbitrary segments to a rule that rejects: what is answered is a valid
// reset, and no buffer is lost.
func FuzzReset(f *testing.F) {
	f.Add(tcpFrame("S")[34:], false)
	f.Add(tcpFrame("A")[34:], true)
	f.Fuzz(func(t *testing.T, segment []byte, v6 bool) {
		segment = segment[:min(len(segment), 1400)]
		in := frame(ip4(a4, b4, layers.IPProtocolTCP), gopacket.Payload(segment))
		if v6 {
			in = frame(ip6(a6, b6, layers.IPProtocolTCP), gopacket.Payload(segment))
		}
		w := rejecting(t, policy.TCPReset)
		out := w.send(0, in)
		if len(out[1]) != 0 || len(out[0]) > 1 {
			t.Fatalf("%d answers, %d forwarded", len(out[0]), len(out[1]))
		}
		for _, answer := range out[0] {
			if l, ok := decode(t, answer).TransportLayer().(*layers.TCP); !ok || !l.RST || l.ACK == (segment[13]&packet.TCPAck != 0) {
				t.Fatalf("%x answered with %x", segment, answer)
			}
		}
	})
}

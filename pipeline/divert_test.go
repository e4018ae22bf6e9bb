package pipeline

import (
	"net/netip"
	"testing"

	"ffwd/packet"
	"ffwd/policy"

	"github.com/gopacket/gopacket/layers"
)

// discovery is a neighbour solicitation.
func discovery(dst netip.Addr, hopLimit uint8) []byte {
	h := ip6(a6, dst, layers.IPProtocolICMPv6)
	h.HopLimit = hopLimit
	return frame(h, &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborSolicitation, 0)}, data(20))
}

// withOption is a datagram to a port of B with an IPv4 option in it.
func withOption(port uint16) []byte {
	h := ip4(a4, b4, layers.IPProtocolUDP)
	h.Options = []layers.IPv4Option{{OptionType: 7, OptionLength: 7, OptionData: []byte{4, 0, 0, 0, 0}}}
	return frame(h, udp(1, port), data(9))
}

// withHopByHop is its IPv6 twin: hop-by-hop options before UDP.
func withHopByHop(port uint16) []byte {
	plain := frame(ip6(a6, b6, layers.IPProtocolUDP), udp(1, port), data(9))
	const l4 = 14 + 40
	f := append([]byte{}, plain[:l4]...)
	f = append(f, packet.ProtoUDP, 0, 1, 4, 0, 0, 0, 0) // PadN of 6 bytes. Source: RFC 8200 4.2, 4.3
	f = append(f, plain[l4:]...)
	f[14+6] = packet.ProtoHopByHop
	f[14+5] += 8
	return f
}

// What goes to the slow path for what is in its header is judged by the rules as
// if it were not: the kernel forwards what it gets. FF-3, FF-6, FF-14
func TestRulesSeeWhatTheKernelForwards(t *testing.T) {
	r6, ll := netip.MustParseAddr("fd01:1::1"), netip.MustParseAddr("fe80::1")
	toUs := frame(ip6(a6, ll, layers.IPProtocolUDP), udp(1, 2), data(9))
	drop := func(hook policy.Hook, port uint16) []policy.Rule {
		return []policy.Rule{{Hook: hook, Action: policy.Drop, Protocol: packet.ProtoUDP, DstPorts: []policy.PortRange{{First: port, Last: port}}}}
	}
	accept := policy.Defaults{In: policy.Accept, Out: policy.Accept}
	dropAll := policy.Defaults{In: policy.Drop, Out: policy.Drop}
	for _, c := range []struct {
		name     string
		defaults policy.Defaults
		rules    []policy.Rule
		frame    []byte
		punt     packet.Reason // 0: dropped
		drop     packet.Reason
	}{
		{"options, no rules", accept, nil, withOption(2), packet.PuntOptions, 0},
		{"options, another port dropped", accept, drop(policy.HookIn, 3), withOption(2), packet.PuntOptions, 0},
		{"options, in", accept, drop(policy.HookIn, 2), withOption(2), 0, packet.PolicyIn},
		{"options, out", accept, drop(policy.HookOut, 2), withOption(2), 0, packet.PolicyOut},
		{"options, all dropped on the way out", policy.Defaults{In: policy.Accept, Out: policy.Drop}, nil, withOption(2), 0, packet.PolicyOut},
		{"hop-by-hop, no rules", accept, nil, withHopByHop(2), packet.PuntExtension, 0},
		{"hop-by-hop, in", accept, drop(policy.HookIn, 2), withHopByHop(2), 0, packet.PolicyIn},
		{"hop-by-hop, out", accept, drop(policy.HookOut, 2), withHopByHop(2), 0, packet.PolicyOut},
		{"link-local to us, no rules", accept, nil, toUs, packet.PuntLocal, 0},
		{"link-local to us, in", accept, drop(policy.HookIn, 2), toUs, 0, packet.PolicyIn},
		{"link-local to us does not leave", accept, drop(policy.HookOut, 2), toUs, packet.PuntLocal, 0},
		{"discovery to us", dropAll, nil, discovery(r6, 255), packet.PuntDiscovery, 0},
		{"discovery to our link-local", dropAll, nil, discovery(ll, 255), packet.PuntDiscovery, 0},
		{"discovery to a group", dropAll, nil, discovery(netip.MustParseAddr("ff02::1:ff00:1"), 255), packet.PuntDiscovery, 0},
		{"discovery from afar", dropAll, nil, discovery(r6, 254), 0, packet.PolicyIn},
		{"discovery to another link", accept, nil, discovery(b6, 255), 0, packet.Martian},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &testKernel{room: 10}
			w := newWorld(t, withKernel(k))
			w.setRules(2, c.defaults, c.rules...)
			out := w.send(0, c.frame)
			counters, _ := w.worker.Counters()
			if c.punt != 0 {
				if len(k.got) != 1 || counters.Punts[c.punt] != 1 || len(out[1]) != 0 {
					t.Errorf("punts %v, drops %v", counters.Punts, counters.Drops)
				}
			} else if len(k.got) != 0 || counters.Drops[c.drop] != 1 {
				t.Errorf("the kernel got %d frames, drops %v", len(k.got), counters.Drops)
			}
		})
	}
}

// A packet that another worker received is the slow path's there too. FF-3, CT-1
func TestDivertedPacketsAreHandedOver(t *testing.T) {
	w := pair(t, 64)
	const ports = 40
	for i := range ports {
		w[0].rx[0].frames = append(w[0].rx[0].frames, withOption(uint16(i)))
	}
	for range 5 {
		w[0].worker.poll(true)
		w[1].worker.poll(true)
	}
	here, there := w[0].drops(packet.PuntOptions), w[1].drops(packet.PuntOptions)
	if here+there != ports || there == 0 {
		t.Errorf("%d and %d of %d packets were for the slow path", here, there, ports)
	}
}

// What waits for a verdict is not the kernel's, though it is for us. FF-6, VQ-1
func TestLinkLocalPacketsWait(t *testing.T) {
	k := &testKernel{room: 10}
	q := newQueueWorldWith(t, withRules(queueTo(policy.HookIn, policy.QueueTo{})), withKernel(k))
	q.send(0, frame(ip6(a6, netip.MustParseAddr("fe80::1"), layers.IPProtocolUDP), udp(1, 2), data(9)))
	if held := q.queues.Held(); held != 1 || len(k.got) != 0 {
		t.Fatalf("%d packets wait, the kernel got %d", held, len(k.got))
	}
	if q.decide(q.receive(1)[0], accept); len(k.got) != 1 {
		t.Errorf("the kernel got %d packets", len(k.got))
	}
}

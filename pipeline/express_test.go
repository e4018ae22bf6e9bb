package pipeline

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"ffwd/fib"
	"ffwd/packet"
	"ffwd/policy"

	"github.com/gopacket/gopacket/layers"
)

// withDestinationOptions puts an extension header before UDP: nothing plain, but of the same flow.
func withDestinationOptions(f []byte) []byte {
	const l3, l4 = packet.EthernetLen, packet.EthernetLen + packet.IPv6HeaderLen
	f = bytes.Join([][]byte{f[:l4], {packet.ProtoUDP, 0, 1, 4, 0, 0, 0, 0}, f[l4:]}, nil)
	f[l3+6] = packet.ProtoDstOpts
	binary.BigEndian.PutUint16(f[l3+4:], binary.BigEndian.Uint16(f[l3+4:])+8)
	return f
}

// withPriority puts a priority tag into a frame: nothing plain, but of the same network.
func withPriority(f []byte) []byte {
	return bytes.Join([][]byte{f[:12], {0x81, 0, 3 << 5, 0}, f[12:]}, nil)
}

// What Express leaves goes behind what it takes, but never behind a packet of its own flow.
// Frames are told apart by their lengths. FF-1
func TestExpressKeepsTheOrderOfAFlow(t *testing.T) {
	other4, other6 := fixed(udp4(60), 26, 10, 1, 1, 9), edit(udp6(60), 22+15, 9)
	tcp := func(size int, fin bool) []byte {
		return frame(ip4(a4, b4, layers.IPProtocolTCP), &layers.TCP{SrcPort: 1000, DstPort: 80, ACK: true, FIN: fin, Window: 1000}, data(size))
	}
	for name, c := range map[string]struct {
		odd, same, other []byte
		left             int
	}{
		"IPv4":               {withOption(2000)[:59], fixed(udp4(20), 34, 0, 1), other4, 4},
		"IPv6":               {withDestinationOptions(udp6(18)), udp6(20), other6, 4},
		"in the run":         {tcp(30, true), tcp(20, false), other4, 4},
		"IPv4, priority tag": {withPriority(udp4(18)), udp4(20), other4, 4},
		"IPv6, priority tag": {withPriority(udp6(18)), udp6(20), other6, 4},
		"last hop":           {fixed(udp4(18), 22, 1), udp4(20), other4, 3},
	} {
		w := newWorld(t, func(_ *Config, w *world) {
			w.snapshot.Interfaces[ifLAN].Options = OptionsForward
			w.publish()
		})
		for range 3 { // the flows are known
			w.send(0, c.same, c.other)
		}
		var sizes []int
		for _, f := range w.send(0, c.other, c.odd, c.same, c.other)[1] {
			sizes = append(sizes, len(f))
		}
		odd, same := slices.Index(sizes, len(c.odd)), slices.Index(sizes, len(c.same))
		if c.odd[12] == packet.EtherVLAN>>8 { // it left its tag here
			odd = slices.Index(sizes, len(c.odd)-packet.VLANTagLen)
		}
		if len(sizes) != c.left || c.left == 4 && odd < 0 || same < odd || sizes[0] != len(c.other) || sizes[1] != len(c.other) {
			t.Errorf("%s: frames of %d bytes left", name, sizes)
		}
	}
}

// Full bursts of which Express could take nothing are followed by some that it does not look
// at; then it takes known flows again. FF-1
func TestExpressIdlesInFloods(t *testing.T) {
	w := newWorld(t)
	e := w.worker.stages[stageExpress].(*Express)
	var flood, known [][]byte
	for i := range fullBurst {
		flood = append(flood, fixed(udp4(18), 34, byte(i), 7))
		known = append(known, udp4(18))
	}
	w.send(0, known[0])
	if w.send(0, known...); e.idle != 0 {
		t.Fatal("idles although it took all")
	}
	if out := w.send(0, flood...); len(out[1]) != fullBurst || e.idle != idleBursts {
		t.Fatalf("%d frames left; %d bursts to let go by", len(out[1]), e.idle)
	}
	for left := idleBursts - 1; left >= 0; left-- {
		if out := w.send(0, known...); len(out[1]) != fullBurst || e.idle != left || e.left != fullBurst {
			t.Fatalf("%d frames left; %d bursts to let go by, want %d", len(out[1]), e.idle, left)
		}
	}
	if w.send(0, known...); e.left != 0 {
		t.Errorf("%d of %d packets of a known flow are left", e.left, fullBurst)
	}
}

// Rules at hook out have judged a flow by the interface that it left by. One that another route
// takes elsewhere is judged again. FF-6
func TestExpressAsksAgainWhereTheWayChanges(t *testing.T) {
	w := newWorld(t, withRules(policy.Rule{Hook: policy.HookOut, Protocol: policy.AnyProtocol, OutPorts: []uint16{ifLAN}, Action: policy.Drop}))
	to := netip.PrefixFrom(far4, 32)
	w.route(fib.Route{Prefix: to, Hops: []fib.Hop{{Via: b4}}})
	f := frame(ip4(a4, far4, layers.IPProtocolUDP), udp(1000, 53), data(18))
	for range 3 {
		if out := w.send(0, f); len(out[1]) != 1 {
			t.Fatalf("%d frames left", len(out[1]))
		}
	}
	if e := w.worker.stages[stageExpress].(*Express); e.left != 0 {
		t.Fatal("Express does not take the flow")
	}
	w.route(fib.Route{Prefix: to, Hops: []fib.Hop{{Via: a4}}})
	if out := w.send(0, f, f); len(out[0])+len(out[1]) != 0 || w.drops(packet.PolicyOut) != 2 {
		t.Errorf("%d frames left, %d were dropped", len(out[0])+len(out[1]), w.drops(packet.PolicyOut))
	}
	w.route(fib.Route{Prefix: to, Hops: []fib.Hop{{Via: b4}}})
	if out := w.send(0, f, f); len(out[1]) != 2 {
		t.Errorf("%d of 2 frames left by the way it had before", len(out[1]))
	}
}

// What rules at hook out have decided holds for the mark that hook in gives, and until there
// are other rules. FF-6
func TestExpressAsksAgainWhereTheMarkChanges(t *testing.T) {
	marks := func(mark uint32) policy.Rule {
		return policy.Rule{Hook: policy.HookIn, Protocol: 17, Action: policy.Continue, SetMark: policy.Bits{Value: mark, Mask: 3}}
	}
	drops := policy.Rule{Hook: policy.HookOut, Protocol: 17, Mark: policy.Bits{Value: 2, Mask: 3}, Action: policy.Drop}
	accept := policy.Defaults{In: policy.Accept, Out: policy.Accept}
	w := newWorld(t, withRules(marks(1), drops))
	f := frame(ip4(a4, b4, layers.IPProtocolUDP), udp(1000, 53), data(18))
	for generation, tc := range []struct {
		rules []policy.Rule
		leave int
	}{{[]policy.Rule{marks(1), drops}, 2}, {[]policy.Rule{marks(2), drops}, 0}, {[]policy.Rule{drops}, 2}, {[]policy.Rule{marks(3), drops}, 2}} {
		w.setRules(uint32(generation+1), accept, tc.rules...)
		for range 3 {
			if out := w.send(0, f, f); len(out[1]) != tc.leave {
				t.Fatalf("rules %d: %d frames left, want %d", generation, len(out[1]), tc.leave)
			}
		}
		if e := w.worker.stages[stageExpress].(*Express); e.left != 2-tc.leave {
			t.Errorf("rules %d: Express left %d", generation, e.left)
		}
	}
}

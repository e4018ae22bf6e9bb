package pipeline

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"ffwd/packet"
	"ffwd/policy"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// testKernel is the slow path's end of a worker's rings.
type testKernel struct {
	room    int // frames it takes
	got     []puntedFrame
	sending []puntedFrame
}

type puntedFrame struct {
	iface   uint16
	control bool
	frame   []byte
}

func (k *testKernel) Punt(iface uint16, control bool, first, second []byte) bool {
	if len(k.got) >= k.room {
		return false
	}
	k.got = append(k.got, puntedFrame{iface, control, bytes.Join([][]byte{first, second}, nil)})
	return true
}

func (k *testKernel) Peek() (uint16, []byte) {
	if len(k.sending) == 0 {
		return 0, nil
	}
	return k.sending[0].iface, k.sending[0].frame
}

func (k *testKernel) Pop() { k.sending = k.sending[1:] }

// allPunts is a rate that limits nothing.
var allPunts = func() (r PuntRates) {
	for i := range r {
		r[i] = 1_000_000
	}
	return r
}()

func withKernel(k *testKernel) option {
	return func(c *Config, w *world) {
		c.Punts, c.Kernel = k, k
		w.snapshot.PuntRates = allPunts
		w.publish()
	}
}

// punted sends frames and returns what the kernel got.
func punted(t *testing.T, w *world, k *testKernel, port int, frames ...[]byte) []puntedFrame {
	t.Helper()
	k.got = nil
	w.send(port, frames...)
	return k.got
}

var r4 = netip.MustParseAddr("10.1.1.1")

// A frame for the kernel arrives there as it came, with what stands behind the
// network packet. FF-13, SP-1
func TestPuntedByteForByte(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	trailer := make([]byte, 200)
	for i := range trailer {
		trailer[i] = byte(random.Uint32())
	}
	arp := &layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
		Operation: layers.ARPRequest, SourceHwAddress: macA[:], SourceProtAddress: a4.AsSlice(), DstHwAddress: make([]byte, 6), DstProtAddress: r4.AsSlice()}
	options := ip4(a4, b4, layers.IPProtocolUDP)
	options.Options = []layers.IPv4Option{{OptionType: 7, OptionLength: 7, OptionData: []byte{4, 0, 0, 0, 0}}}
	tagged := func(id uint16) []byte {
		return frame(&layers.Dot1Q{VLANIdentifier: id, Priority: 5, Type: layers.EthernetTypeIPv4},
			ip4(netip.MustParseAddr("10.7.7.2"), netip.MustParseAddr("10.7.7.1"), layers.IPProtocolUDP), udp(1, 2), data(5))
	}
	untag := func(f []byte) []byte { return append(bytes.Clone(f[:12]), f[16:]...) }
	for _, c := range []struct {
		name  string
		frame []byte
		want  []byte // nil: the frame
		iface uint16
	}{
		{"to our address", frame(ip4(a4, r4, layers.IPProtocolUDP), udp(1, 2), data(40)), nil, ifLAN},
		{"to our address, with a trailer", append(frame(ip4(a4, r4, layers.IPProtocolUDP), udp(1, 2), data(1)), trailer...), nil, ifLAN},
		{"to the far address", frame(ip4(a4, netip.MustParseAddr("10.2.2.1"), layers.IPProtocolTCP), udp(1, 2), data(40)), nil, ifLAN},
		{"ipv6", append(frame(ip6(a6, netip.MustParseAddr("fd01:1::1"), layers.IPProtocolUDP), udp(1, 2), data(3)), trailer[:7]...), nil, ifLAN},
		{"link-local", frame(ip6(a6, netip.MustParseAddr("fe80::1"), layers.IPProtocolUDP), udp(1, 2), data(3)), nil, ifLAN},
		{"arp", append(frame(arp), trailer[:18]...), nil, ifLAN},
		{"options", append(frame(options, udp(1, 2), data(9)), trailer...), nil, ifLAN},
		{"another protocol", append(append(frame(data(0))[:12:12], 0x88, 0x64), trailer...), nil, ifLAN},
		{"fragment", frame(&layers.IPv4{Version: 4, TTL: 64, Flags: layers.IPv4MoreFragments, Protocol: 17, SrcIP: a4.AsSlice(), DstIP: r4.AsSlice()}, data(80)), nil, ifLAN},
		{"vlan", append(tagged(7), trailer...), append(untag(tagged(7)), trailer...), ifTag},
		{"priority tag", frame(&layers.Dot1Q{Priority: 3, Type: layers.EthernetTypeIPv4}, ip4(a4, r4, layers.IPProtocolUDP), udp(1, 2), data(5)), nil, ifLAN},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &testKernel{room: 10}
			w := newWorld(t, withKernel(k))
			want := c.want
			if want == nil {
				want = bytes.Clone(c.frame)
			}
			got := punted(t, w, k, 0, c.frame)
			if len(got) != 1 || got[0].iface != c.iface || !bytes.Equal(got[0].frame, want) {
				t.Fatalf("got %d frames: %+v\nwant %x on %d", len(got), got, want, c.iface)
			}
		})
	}
}

// A tag that the device took out is not there to be taken out again. FF-13
func TestPuntedWithoutItsTag(t *testing.T) {
	k := &testKernel{room: 10}
	w := newWorld(t, withKernel(k))
	w.rx[0].flags, w.rx[0].tci = packet.RxVLANStripped, 7
	f := frame(ip4(netip.MustParseAddr("10.7.7.2"), netip.MustParseAddr("10.7.7.1"), layers.IPProtocolUDP), udp(1, 2), data(5))
	got := punted(t, w, k, 0, f)
	if len(got) != 1 || got[0].iface != ifTag || !bytes.Equal(got[0].frame, f) {
		t.Fatalf("%+v", got)
	}
}

// Every punt reason has its rate and what is above it is counted; a flood of one
// leaves the others theirs, control traffic above all. SP-4
func TestPuntsAreLimitedByReason(t *testing.T) {
	k := &testKernel{room: 100_000}
	w := newWorld(t, withKernel(k))
	w.snapshot.PuntRates[BudgetLocal] = 100 // a tenth of a second's is 10
	w.publish()
	flood := make([][]byte, 1000)
	for i := range flood {
		flood[i] = frame(ip4(a4, r4, layers.IPProtocolUDP), udp(uint16(i), 2), data(4))
	}
	bgp := frame(ip4(a4, r4, layers.IPProtocolTCP), &layers.TCP{SrcPort: 4000, DstPort: 179, SYN: true})
	got := punted(t, w, k, 0, append(flood, bgp)...)
	c, _ := w.worker.Counters()
	local := c.Punts[packet.PuntLocal] - 1
	if local < 10 || local > 30 || c.PuntsLimited[packet.PuntLocal] != 1000-local || c.Drops[packet.PuntLimited] != 1000-local {
		t.Errorf("%d of 1000 passed, %d were limited, %d dropped", local, c.PuntsLimited[packet.PuntLocal], c.Drops[packet.PuntLimited])
	}
	if last := got[len(got)-1]; !bytes.Equal(last.frame, bgp) || !last.control {
		t.Errorf("the routing protocol did not pass: %+v", last)
	}
	w.snapshot.PuntRates[BudgetLocal] = 0
	w.publish()
	if got := punted(t, w, k, 0, flood[:10]...); len(got) != 0 {
		t.Errorf("%d passed at a rate of 0", len(got))
	}
}

// Source: SP-4.
func TestControlTrafficHasItsOwnBudget(t *testing.T) {
	ospf := ip4(a4, netip.MustParseAddr("224.0.0.5"), layers.IPProtocolOSPF)
	link := func(etherType uint16, payload ...byte) []byte {
		f := append(bytes.Clone(frame(data(50))[:12]), byte(etherType>>8), byte(etherType))
		return append(append(f, payload...), make([]byte, 50)...)
	}
	tcp := func(src, dst layers.TCPPort) []byte {
		return frame(ip4(a4, r4, layers.IPProtocolTCP), &layers.TCP{SrcPort: src, DstPort: dst, ACK: true}, data(10))
	}
	to := func(port uint16) []byte { return frame(ip4(a4, r4, layers.IPProtocolUDP), udp(50000, port), data(24)) }
	for _, c := range []struct {
		name   string
		frame  []byte
		budget Budget
	}{
		{"arp", link(0x0806), BudgetNeighbour},
		{"neighbour solicitation", discovery(netip.MustParseAddr("fd01:1::1"), 255), BudgetNeighbour},
		{"one from afar", discovery(netip.MustParseAddr("fd01:1::1"), 254), BudgetLocal}, // RFC 4861 7.1.1
		{"ospf", frame(ospf, data(30)), BudgetRouting},
		{"vrrp", frame(ip4(a4, netip.MustParseAddr("224.0.0.18"), layers.IPProtocolVRRP), data(30)), BudgetRouting},
		{"bgp to us", tcp(4000, 179), BudgetRouting},
		{"bgp from us", tcp(179, 4000), BudgetRouting},
		{"ssh", tcp(4000, 22), BudgetLocal},
		{"bfd", to(3784), BudgetRouting},
		{"bfd multihop", to(4784), BudgetRouting},
		{"ripng", to(521), BudgetRouting},
		{"dns", to(53), BudgetLocal},
		{"a first byte that looks like a port", frame(ip4(a4, r4, layers.IPProtocolGRE), gopacket.Payload{0, 179, 0, 179, 0, 0, 0, 0}), BudgetLocal},
		{"lldp", link(0x88cc), BudgetRouting},
		{"lacp", link(0x8809), BudgetRouting},
		{"is-is", link(50, 0xfe, 0xfe, 3), BudgetRouting},
		{"spanning tree", link(38, 0x42, 0x42, 3), BudgetRouting},
		{"ipx over llc", link(50, 0xe0, 0xe0, 3), BudgetEtherType},
		{"pppoe", link(0x8864), BudgetEtherType},
		{"broadcast", frame(ip4(a4, netip.MustParseAddr("255.255.255.255"), layers.IPProtocolUDP), udp(68, 67), data(30)), BudgetMulticast},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &testKernel{room: 10}
			w := newWorld(t, withKernel(k))
			w.snapshot.PuntRates = PuntRates{}
			w.snapshot.PuntRates[c.budget] = 1000 // and nothing for the others
			w.publish()
			got := punted(t, w, k, 0, c.frame)
			if len(got) != 1 || got[0].control != (c.budget <= BudgetRouting) {
				counters, _ := w.worker.Counters()
				t.Fatalf("got %+v; dropped %v", got, counters.Drops)
			}
		})
	}
}

// A ring that is full is a drop with a name. SP-4
func TestPuntRingFull(t *testing.T) {
	k := &testKernel{room: 3}
	w := newWorld(t, withKernel(k))
	for i := range 5 {
		w.send(0, frame(ip4(a4, r4, layers.IPProtocolUDP), udp(uint16(i), 2), data(4)))
	}
	c, flows := w.worker.Counters()
	if c.Punts[packet.PuntLocal] != 3 || c.Drops[packet.PuntFull] != 2 || c.PuntsFull[packet.PuntLocal] != 2 {
		t.Errorf("punted %d, dropped %d, by reason %d", c.Punts[packet.PuntLocal], c.Drops[packet.PuntFull], c.PuntsFull[packet.PuntLocal])
	}
	if flows.Flows4 != 3 { // CT-2: a dropped first packet leaves nothing
		t.Errorf("%d flows", flows.Flows4)
	}
}

// Without a slow path a punt is a drop under its reason. SP-5
func TestPuntWithoutSlowPath(t *testing.T) {
	w := newWorld(t)
	w.send(0, frame(ip4(a4, r4, layers.IPProtocolUDP), udp(1, 2), data(4)))
	c, flows := w.worker.Counters()
	if c.Drops[packet.PuntLocal] != 1 || c.Punted() != 0 || flows.Flows4 != 0 {
		t.Errorf("drops %v, %d flows", c.Drops, flows.Flows4)
	}
}

// What the kernel sends leaves by the port, tagged where it must be and no
// shorter than a frame may be. SP-1
func TestKernelToWire(t *testing.T) {
	short := serialise(ether(macLAN, macA, ip4(r4, a4, 1)), ip4(r4, a4, layers.IPProtocolUDP), udp(1, 2), data(1))
	long := serialise(ether(macLAN, macA, ip4(r4, a4, 1)), ip4(r4, a4, layers.IPProtocolUDP), udp(1, 2), data(1400))
	pad := func(f []byte) []byte { return append(bytes.Clone(f), make([]byte, max(0, 60-len(f)))...) }
	tag := func(f []byte) []byte {
		return append(append(bytes.Clone(f[:12]), 0x81, 0, 0, 7), f[12:]...)
	}
	const room = bufferBytes - headroom
	grown := func(n int) []byte { return append(bytes.Clone(long), make([]byte, n-len(long))...) }
	for _, c := range []struct {
		name  string
		iface uint16
		frame []byte
		port  int
		want  []byte // nil: dropped
		drop  packet.Reason
	}{
		{"short", ifLAN, short, 0, pad(short), 0},
		{"long", ifWAN, long, 1, long, 0},
		{"tagged", ifTag, long, 0, tag(long), 0},
		{"tagged and short", ifTag, short, 0, pad(tag(short)), 0},
		{"no frame", ifLAN, short[:13], 0, nil, packet.FrameTooShort},
		{"fills a buffer", ifLAN, grown(room), 0, grown(room), 0},
		{"larger than a buffer", ifLAN, grown(room + 1), 0, nil, packet.TxOversized},
		{"fills a buffer with its tag", ifTag, grown(room - packet.VLANTagLen), 0, tag(grown(room - packet.VLANTagLen)), 0},
		{"larger than a buffer with its tag", ifTag, grown(room - packet.VLANTagLen + 1), 0, nil, packet.TxOversized},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &testKernel{sending: []puntedFrame{{iface: c.iface, frame: c.frame}}}
			w := newWorld(t, withKernel(k))
			w.worker.poll(true)
			counters, _ := w.worker.Counters()
			if counters.Created != 1 || counters.FromKernel != 1 || len(k.sending) != 0 {
				t.Errorf("created %d, from the kernel %d, %d wait", counters.Created, counters.FromKernel, len(k.sending))
			}
			got := w.tx[c.port].frames
			if c.want == nil {
				if len(got) != 0 || counters.Drops[c.drop] != 1 {
					t.Fatalf("%d left, drops %v", len(got), counters.Drops)
				}
				return
			}
			if len(got) != 1 || !bytes.Equal(got[0], c.want) {
				t.Fatalf("got %x\nwant %x", got, c.want)
			}
			if bytes := counters.Ports[c.port].TxBytes; bytes != uint64(len(c.want)) {
				t.Errorf("%d bytes counted of %d", bytes, len(c.want))
			}
		})
	}
}

// An empty pool costs the kernel's packets, not the others'. SP-1, FF-12
func TestKernelToWireWithoutBuffers(t *testing.T) {
	f := serialise(ether(macLAN, macA, ip4(r4, a4, 1)), ip4(r4, a4, layers.IPProtocolUDP), udp(1, 2), data(1))
	k := &testKernel{}
	w := newWorld(t, withKernel(k))
	for range 200 {
		k.sending = append(k.sending, puntedFrame{iface: ifLAN, frame: f})
	}
	w.pool.limit = 100
	for len(k.sending) > 0 {
		before := len(k.sending)
		w.worker.poll(true)
		if took := before - len(k.sending); took > 64 {
			t.Fatalf("a poll took %d frames", took)
		}
	}
	w.pool.limit = 0
	k.sending = append(k.sending, puntedFrame{iface: ifLAN, frame: f})
	w.worker.poll(true)
	c, _ := w.worker.Counters()
	if c.Drops[packet.NoBuffers] != 1 || c.Transmitted != 200 {
		t.Errorf("transmitted %d, without a buffer %d", c.Transmitted, c.Drops[packet.NoBuffers])
	}
}

// A router that lets the LAN begin conversations and nobody else is reached from
// the LAN, reaches out itself, and gets answers. CT-2, SP-1
func TestRouterTalksThroughItsRules(t *testing.T) {
	begin := policy.Rule{Hook: policy.HookIn, Action: policy.Accept, Protocol: policy.AnyProtocol, InPorts: []uint16{ifLAN}, States: policy.States(policy.New)}
	goOn := policy.Rule{Hook: policy.HookIn, Action: policy.Accept, Protocol: policy.AnyProtocol, States: policy.States(policy.Established)}
	k := &testKernel{room: 100}
	w := newWorld(t, withKernel(k))
	w.setRules(2, policy.Defaults{In: policy.Drop, Out: policy.Accept}, begin, goOn)
	w.snapshot.PuntRates = allPunts
	w.publish()
	wanAddr := netip.MustParseAddr("10.2.2.1")
	kernel := func(iface uint16, f []byte) {
		k.sending = append(k.sending, puntedFrame{iface: iface, frame: f})
		w.worker.poll(true)
	}
	expect := func(what string, want int, got []puntedFrame) {
		t.Helper()
		if len(got) != want {
			t.Errorf("%s: the kernel got %d frames, want %d", what, len(got), want)
		}
	}
	tcp := func(src, dst layers.TCPPort, set func(*layers.TCP)) *layers.TCP {
		s := &layers.TCP{SrcPort: src, DstPort: dst, Window: 1000}
		set(s)
		return s
	}
	syn := func(s *layers.TCP) { s.SYN, s.Seq = true, 100 }
	synAck := func(s *layers.TCP) { s.SYN, s.ACK, s.Seq, s.Ack = true, true, 500, 101 }
	ack := func(s *layers.TCP) { s.ACK, s.Seq, s.Ack = true, 101, 501 }

	// The LAN to the router.
	expect("SYN from the LAN", 1, punted(t, w, k, 0, frame(ip4(a4, r4, layers.IPProtocolTCP), tcp(1, 22, syn))))
	kernel(ifLAN, serialise(ether(macLAN, macA, ip4(r4, a4, 6)), ip4(r4, a4, layers.IPProtocolTCP), tcp(22, 1, synAck)))
	expect("ACK from the LAN", 1, punted(t, w, k, 0, frame(ip4(a4, r4, layers.IPProtocolTCP), tcp(1, 22, ack))))
	// The WAN to the router, uninvited.
	expect("SYN from the WAN", 0, punted(t, w, k, 1, back(ip4(b4, wanAddr, layers.IPProtocolTCP), tcp(1, 22, syn))))
	expect("answer to nothing", 0, punted(t, w, k, 1, back(ip4(b4, wanAddr, layers.IPProtocolTCP), tcp(179, 5000, synAck))))
	// The router to the WAN.
	kernel(ifWAN, serialise(ether(macWAN, macB, ip4(wanAddr, b4, 6)), ip4(wanAddr, b4, layers.IPProtocolTCP), tcp(5000, 179, syn)))
	expect("answer from the WAN", 1, punted(t, w, k, 1, back(ip4(b4, wanAddr, layers.IPProtocolTCP), tcp(179, 5000, synAck))))

	if n := len(w.tx[0].frames) + len(w.tx[1].frames); n != 0 { // send took them away
		t.Errorf("%d frames", n)
	}
	_, flows := w.worker.Counters()
	if flows.Flows4 != 2 {
		t.Errorf("%d flows, want one from the LAN and one of ours", flows.Flows4)
	}
}

// The worker that a frame from the kernel is for is the one that owns its flow.
// CT-1
func TestDispatchFindsTheOwner(t *testing.T) {
	w := pair(t, 1024)
	d := &Dispatch{Snapshot: &w[0].current, Secret: w[0].worker.config.Secret, Workers: 2}
	owners := map[int]int{}
	for i := range 100 {
		out := serialise(ether(macLAN, macA, ip4(r4, a4, 1)), ip4(r4, a4, layers.IPProtocolUDP), udp(53, uint16(i)), data(4))
		owner := d.Owner(ifLAN, out)
		owners[owner]++
		in := frame(ip4(a4, r4, layers.IPProtocolUDP), udp(uint16(i), 53), data(4))
		w[owner].rx[0].frames = append(w[owner].rx[0].frames, in)
		w[owner].worker.poll(true)
		if c, _ := w[owner].worker.Counters(); c.HandedOver != 0 {
			t.Fatal("the answer is another worker's")
		}
	}
	if owners[0] < 20 || owners[1] < 20 {
		t.Errorf("spread: %v", owners)
	}
	for i := range 100 { // fragments go where their first one goes, though others come in between
		payload := datagram(53, uint16(i), 300)
		first := part(r4, a4, uint32(i), 17, payload, inThree[0])
		owner := d.Owner(ifLAN, first)
		d.Owner(ifLAN, part(r4, a4, uint32(i+1), 17, datagram(53, uint16(i+1), 300), inThree[0]))
		for _, e := range inThree[1:] {
			if got := d.Owner(ifLAN, part(r4, a4, uint32(i), 17, payload, e)); got != owner {
				t.Fatalf("a fragment goes to %d, the first to %d", got, owner)
			}
		}
	}
	for _, junk := range [][]byte{nil, make([]byte, 13), make([]byte, 14), binary.BigEndian.AppendUint16(make([]byte, 12), 0x0800)} {
		if owner := d.Owner(ifLAN, junk); owner != 0 {
			t.Errorf("%x goes to %d", junk, owner)
		}
	}
}

// Nothing that the kernel sends can hurt. SP-1
func FuzzKernelFrame(f *testing.F) {
	f.Add(uint16(ifLAN), udp4(10))
	f.Add(uint16(ifTag), udp6(10))
	f.Add(uint16(ifWAN), make([]byte, 14))
	k := &testKernel{}
	w := newWorld(f, withKernel(k))
	d := &Dispatch{Snapshot: &w.current, Secret: w.worker.config.Secret, Workers: 2}
	f.Fuzz(func(t *testing.T, iface uint16, frame []byte) {
		iface = 1 + iface%3
		if len(frame) > 2000 {
			return
		}
		frame = bytes.Clone(frame)
		if len(frame) == 0 {
			frame = []byte{0}
		}
		_ = d.Owner(iface, frame)
		k.sending = append(k.sending, puntedFrame{iface: iface, frame: frame})
		w.worker.poll(true)
		w.checkConservation()
		for _, q := range w.tx {
			for _, out := range q.frames {
				if len(out) < 60 {
					t.Fatalf("%d bytes left", len(out))
				}
			}
			q.frames = nil
		}
	})
}

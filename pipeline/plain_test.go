package pipeline

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"unsafe"

	"ffwd/ct"
	"ffwd/fib"
	"ffwd/packet"
	"ffwd/policy"

	"github.com/gopacket/gopacket/layers"
)

// plainKinds are frames that the passes for plain ones take, of both families, and some
// that look like them.
func plainKinds() [][]byte {
	tcp := func() *layers.TCP { return &layers.TCP{SrcPort: 1, DstPort: 2, ACK: true} }
	kinds := [][]byte{
		udp4(0), udp4(18), udp6(0), udp6(18), to4("20.1.1.1", 100), udp4(1472), udp4(1473), udp6(1452), udp6(1453),
		to4("10.7.7.2", 100),
		frame(ip4(a4, b4, layers.IPProtocolTCP), tcp()), frame(ip6(a6, b6, layers.IPProtocolTCP), tcp(), data(3)),
	}
	for _, a := range []string{"::", "::1", "::ffff:1.2.3.4", "fe80::2", "febf::2", "ff02::1"} { // these it does not
		b := netip.MustParseAddr(a).As16()
		kinds = append(kinds, edit(udp6(18), 22, b[:]...), edit(udp6(18), 38, b[:]...))
	}
	return kinds
}

// mutated changes octets of a frame's headers at random, and half the time makes the
// IPv4 checksum right again, so that what is behind it is looked at.
func mutated(rng *rand.Rand, f []byte) []byte {
	interesting := []byte{0, 1, 2, 6, 17, 20, 64, 127, 128, 224, 240, 0xfe, 0xff}
	f = append([]byte{}, f...)
	for range rng.IntN(4) {
		at := 12 + rng.IntN(min(len(f), 62)-12)
		if rng.IntN(8) == 0 {
			at = rng.IntN(12)
		}
		f[at] = byte(rng.Uint32())
		if rng.IntN(2) == 0 {
			f[at] = interesting[rng.IntN(len(interesting))]
		}
	}
	if rng.IntN(2) == 0 {
		f = fixed(f, 0, f[0])
	}
	if rng.IntN(4) == 0 {
		f = append(f, make([]byte, rng.IntN(30))...) // padding
	}
	if rng.IntN(8) == 0 {
		f = f[:rng.IntN(len(f)+1)]
	}
	return f
}

// What the passes for plain frames take, the general way takes too, and says the same
// of it. FF-2, FF-3, FF-4, FF-14
func TestPlainFramesAreParsedAlike(t *testing.T) {
	w := newWorld(t)
	s := w.worker.stages[stageParse].(*Parse)
	l := &lane{Worker: w.worker}
	rng := rand.New(rand.NewPCG(1, 2))
	kinds, taken := plainKinds(), [2]int{}
	mbuf := w.pool.all[:1]
	flags := []uint64{0, packet.RxIPCksumGood, packet.RxIPCksumBad, packet.RxIPCksumMask, packet.RxVLANStripped}
	for range 200_000 {
		f := mutated(rng, kinds[rng.IntN(len(kinds))])
		m := mbuf[0]
		m.DataOff, m.DataLen, m.OlFlags = headroom, uint16(len(f)), flags[rng.IntN(len(flags))]
		copy(unsafe.Slice((*byte)(m.Data()), bufferBytes-headroom), f)
		var quick, general packet.Burst
		s.received = mbuf
		quick.N = 1
		ports := &s.snap.Ports[0]
		quick.Load(mbuf, ports.Untagged)
		mac := s.snap.Interfaces[ports.Untagged].MAC
		n4, n6 := parsePlain(quick.Live(), mac), 0
		if n4 == 0 {
			n6 = parsePlain6(quick.Live(), mac)
		}
		express, _, _ := l.run.Plain4(mbuf, 0, packet.MACBytes(mac))
		if express == 0 {
			express, _, _ = l.run.Plain6(mbuf, 0, packet.MACBytes(mac))
		}
		size := l.run.Size[0]
		want := n4 + n6
		if n4 > 0 && f[22] <= 1 || n6 > 0 && f[21] <= 1 || quick.Pkts[0].Is(packet.Broken) { // the last hop is TTL's
			want = 0
		}
		if express != want || express > 0 && int(size) != quick.Pkts[0].L3Len() {
			t.Fatalf("Express takes %d of %d bytes, parse %d of %d\n%x", express, size, n4+n6, quick.Pkts[0].L3Len(), f)
		}
		general.Load(mbuf, ports.Untagged)
		if n4+n6 == 0 {
			if !reflect.DeepEqual(quick.Pkts[0], general.Pkts[0]) {
				t.Fatalf("touched, but not taken: %+v\n%x", quick.Pkts[0], f)
			}
			continue
		}
		s.frame(&general.Pkts[0], ports)
		if !reflect.DeepEqual(quick.Pkts[0], general.Pkts[0]) {
			t.Fatalf("plain:   %+v\ngeneral: %+v\n%x", quick.Pkts[0], general.Pkts[0], f)
		}
		if express == 1 {
			s.secret.Tuples(&quick, s.snap.Zones)
			w.worker.table.SeekPlain(&l.run, 1, n6 > 0, s.snap.Zones[ports.Untagged], 0)
			if l.run.Heads[0].PortsLE = quick.Pkts[0].PortsLE; l.run.Heads[0] != quick.Pkts[0].Head {
				t.Fatalf("Express: %+v\nstages:  %+v\n%x", l.run.Heads[0], quick.Pkts[0].Head, f)
			}
		}
		taken[0] += n4
		taken[1] += n6
	}
	if taken[0] < 10_000 || taken[1] < 10_000 {
		t.Errorf("%v frames of each family were plain", taken)
	}
}

// The short ways do what the long one does, to frames, to their order, to counters and to
// those of routes: Express without conntrack, Depart with it, and the one behind Route for
// what these leave.
// FF-1, FF-2, FF-5, FF-7, FF-9, FF-12, FF-14
func TestShortWaysAreLikeTheLongOne(t *testing.T) {
	for _, tc := range []struct {
		name   string
		mtu    int
		option option
	}{
		{"flows", 1500, func(*Config, *world) {}}, {"flows, narrow", 1280, func(*Config, *world) {}},
		{"rules", 1500, withRules(
			policy.Rule{Hook: policy.HookIn, Protocol: 17, InPorts: []uint16{ifWAN}, Action: policy.Accept},
			policy.Rule{Hook: policy.HookIn, Protocol: policy.AnyProtocol, Action: policy.Continue, SetMark: policy.Bits{Value: 1, Mask: 1}},
			policy.Rule{Hook: policy.HookIn, Protocol: 17, InPorts: []uint16{ifLAN}, States: policy.States(policy.Established), Action: policy.Accept},
			policy.Rule{Hook: policy.HookIn, Protocol: 17, Dst: []netip.Prefix{netip.MustParsePrefix("10.7.7.0/24")}, Action: policy.Drop},
		)},
		{"rules out", 1500, withRules(
			policy.Rule{Hook: policy.HookOut, Protocol: 17, OutPorts: []uint16{ifLAN}, Action: policy.Accept},
			policy.Rule{Hook: policy.HookOut, Protocol: policy.AnyProtocol, Dst: []netip.Prefix{netip.MustParsePrefix("10.7.7.0/24")}, Action: policy.Drop},
			policy.Rule{Hook: policy.HookOut, Protocol: policy.AnyProtocol, Action: policy.Continue, SetMark: policy.Bits{Value: 1, Mask: 1}},
		)},
		{"rules in and out", 1500, withRules(
			policy.Rule{Hook: policy.HookIn, Protocol: 17, Action: policy.Continue, SetMark: policy.Bits{Value: 5, Mask: 5}},
			policy.Rule{Hook: policy.HookOut, Protocol: policy.AnyProtocol, Mark: policy.Bits{Value: 5, Mask: 5}, InPorts: []uint16{ifLAN}, Action: policy.Accept},
			policy.Rule{Hook: policy.HookOut, Protocol: 6, Action: policy.Accept},
		)},
		{"no flows", 1500, stateless}, {"no flows, narrow", 1280, stateless},
	} {
		t.Run(tc.name, func(t *testing.T) { compareWays(t, tc.mtu, tc.option) })
	}
}

func compareWays(t *testing.T, mtu int, o option) {
	w := newWays(t, uint64(mtu), o)
	w.short.setMTU(mtu)
	w.long.setMTU(mtu)
	for i := range 5_000 {
		w.exchange(i)
	}
	w.compare()
	a, _ := w.short.worker.Counters()
	if got := routeCounts(w.short); got[1].Packets == 0 || got[3].Packets == 0 {
		t.Errorf("routes: %v", got)
	}
	if a.Drops[packet.TTLExpired] == 0 || a.Fragmented+a.Drops[packet.CannotFragment] == 0 && mtu < 1500 {
		t.Errorf("nothing expired or was too long: %v", a.Drops)
	}
}

// ways are two worlds alike, but that the short ways are shut in one of them.
type ways struct {
	t           *testing.T
	rng         *rand.Rand
	short, long *world
	kinds       [][]byte
	sent        int // segments
	took        int // packets that Express took
}

func newWays(t *testing.T, seed uint64, options ...option) *ways {
	w := &ways{t: t, rng: rand.New(rand.NewPCG(3, seed)), kinds: plainKinds(), short: newWorld(t, options...)}
	w.long = newWorld(t, append(options, func(_ *Config, w *world) {
		w.snapshot.Interfaces[ifTag].Redirects = true // another interface's, but it rules the short ways out
		w.publish()
	})...)
	if !w.short.current.Load().direct() || w.long.current.Load().direct() {
		t.Fatal("the worlds do not differ")
	}
	return w
}

// exchange sends the i-th burst through both. Some are for the loops that take sixteen at a time,
// and have more breaks than Express goes on behind.
func (w *ways) exchange(i int) {
	rng := w.rng
	mutants := 4 << (4 * rng.IntN(2)) // one in 64 leaves runs of plain ones
	burst := make([][]byte, 1+rng.IntN(12))
	if i%8 == 0 {
		burst = make([][]byte, 16+rng.IntN(48))
	}
	family, port := rng.IntN(3), rng.IntN(2) // family 0 is both
	for i := range burst {
		f := w.kinds[rng.IntN(len(w.kinds))]
		for family == 1 && f[12] != 8 || family == 2 && f[12] != 0x86 {
			f = w.kinds[rng.IntN(len(w.kinds))]
		}
		if f[23] == packet.ProtoTCP && f[12] == 8 && rng.IntN(4) > 0 { // no segment sent again
			binary.BigEndian.PutUint32(f[38:], uint32(w.sent))
			w.sent++
		}
		if burst[i] = bytes.Clone(f); rng.IntN(mutants) == 0 {
			burst[i] = mutated(rng, f)
		}
		if port == 1 {
			turn(burst[i])
		}
		if rng.IntN(16*mutants) == 0 && len(burst[i]) >= 12 {
			burst[i] = withPriority(burst[i])
		}
	}
	e := w.short.worker.stages[stageExpress].(*Express)
	e.left = len(burst) // what it says if it does not look
	a, b := byFlow(w.short.send(port, burst...)), byFlow(w.long.send(port, burst...))
	if !reflect.DeepEqual(a, b) {
		w.t.Fatalf("burst %d: %x\nshort: %x\nlong:  %x", i, burst, a, b)
	}
	w.took += len(burst) - e.left
}

// compare holds what has been counted in one world to what has in the other.
func (w *ways) compare() {
	t, short, long := w.t, w.short, w.long
	t.Helper()
	a, flowsA := short.worker.Counters()
	b, flowsB := long.worker.Counters()
	if a.Drops != b.Drops || a.Punts != b.Punts || a.FastForwarded != b.FastForwarded || !reflect.DeepEqual(a.Ports, b.Ports) {
		t.Errorf("short %v\nlong  %v", a, b)
	}
	flowsA.Joined, flowsB.Joined = [packet.NumWaits]uint64{}, [packet.NumWaits]uint64{} // turns leave less to be joined late
	if flowsA != flowsB {
		t.Errorf("flows: short %+v\nlong  %+v", flowsA, flowsB)
	}
	if got, want := flowsOf(short), flowsOf(long); !slices.Equal(got, want) {
		t.Errorf("flows: short %+v\nlong  %+v", got, want)
	}
	if got, want := short.hits(), long.hits(); !slices.Equal(got, want) {
		t.Errorf("rules: short %v\nlong  %v", got, want)
	}
	if got, want := routeCounts(short), routeCounts(long); !slices.Equal(got, want) {
		t.Errorf("routes: short %v\nlong  %v", got, want)
	}
}

// byFlow parts what left by port and flow: the order is one within each part.
// Errors that the switch makes leave behind what it makes them with.
func byFlow(out [2][][]byte) map[string][][]byte {
	by := map[string][][]byte{}
	for port, frames := range out {
		for _, f := range frames {
			l3 := packet.EthernetLen
			if f[12] == 0x81 {
				l3 += packet.VLANTagLen
			}
			src, dst, proto, l4 := f[l3+12:l3+16], f[l3+16:l3+20], f[l3+9], l3+packet.IPv4HeaderLen
			if f[l3]>>4 == 6 {
				src, dst, proto, l4 = f[l3+8:l3+24], f[l3+24:l3+40], f[l3+6], l3+packet.IPv6HeaderLen
			}
			part := fmt.Sprintf("%d %x %x %d", port, src, dst, proto)
			if proto == packet.ProtoTCP || proto == packet.ProtoUDP {
				part += fmt.Sprintf(" %x", f[l4:l4+4])
			}
			by[part] = append(by[part], f)
		}
	}
	return by
}

// turn makes a frame of TCP or UDP from A the answer to it.
func turn(f []byte) {
	copy(f, macWAN[:])
	at, n, l4 := 26, 4, 34
	if len(f) > 13 && f[12] != 8 {
		at, n, l4 = 22, 16, 54
	}
	for _, half := range [...][2]int{{at, n}, {l4, 2}} {
		if at, n := half[0], half[1]; at+2*n <= len(f) {
			low := bytes.Clone(f[at : at+n])
			copy(f[at:], f[at+n:at+2*n])
			copy(f[at+n:], low)
		}
	}
}

// flowsOf are a worker's flows, but for times.
func flowsOf(w *world) (list []ct.Info) {
	if w.worker.table == nil {
		return nil
	}
	w.worker.table.Walk(0, 1<<20, func(i uint32) bool {
		info := w.worker.table.Info(i, testClock.Now())
		info.Age, info.Expires = 0, 0
		list = append(list, info)
		return true
	})
	return list
}

// routeCounts is what a worker has counted for the hosts that most frames are for.
func routeCounts(w *world) (counts []fib.Count) {
	for _, host := range []string{"10.1.1.2", "10.2.2.2", "fd01:1::2", "fd01:2::2"} {
		count, _ := w.countsOf(host)
		counts = append(counts, count)
	}
	return counts
}

// A plain burst meets no stage but Express, once its flows are known and judged.
// FF-1
func TestPlainBurstsTakeTheShortWay(t *testing.T) {
	for _, tc := range []struct {
		name   string
		option option
		stage  int
	}{{"no flows", stateless, stageExpress}, {"flows", func(*Config, *world) {}, stageExpress},
		{"flows and rules", withRules(policy.Rule{Hook: policy.HookIn, Protocol: 17, Action: policy.Accept}), stageExpress},
		{"flows and rules out", withRules(policy.Rule{Hook: policy.HookOut, Protocol: 17, Action: policy.Accept}), stageExpress},
		{"flows and rules on both sides", withRules(
			policy.Rule{Hook: policy.HookIn, Protocol: 17, Action: policy.Accept, SetMark: policy.Bits{Value: 1, Mask: 1}},
			policy.Rule{Hook: policy.HookOut, Protocol: 17, Mark: policy.Bits{Value: 1, Mask: 1}, Action: policy.Accept}), stageExpress},
		{"marks", withRules(policy.Rule{Hook: policy.HookIn, Protocol: 17, Action: policy.Accept, SetMark: policy.Bits{Value: 1, Mask: 1}, Mark: policy.Bits{Value: 0, Mask: 1}}), stageExpress},
	} {
		for _, f := range [][]byte{udp4(18), udp6(18)} {
			w := newWorld(t, tc.option)
			w.send(0, f) // the flow is known now
			w.send(0, f) // and judged
			met := 0
			for i, s := range w.worker.stages {
				if s != nil && i > tc.stage {
					w.worker.stages[i] = counted{s, &met}
				}
			}
			if out := w.send(0, f, f, f)[1]; len(out) != 3 || met > 0 {
				t.Errorf("%s: %d of 3 frames left, and %d stages were met", tc.name, len(out), met)
			}
		}
	}
}

// Where more is asked of a packet than forwarding, Express takes none. FF-6, FF-15, FF-16
func TestExpressKeepsOutOfTheWay(t *testing.T) {
	for name, change := range map[string]func(*Config, *world){
		"reverse path": func(_ *Config, w *world) { w.snapshot.Interfaces[ifLAN].ReversePath = ReversePathStrict },
		"rules": func(_ *Config, w *world) {
			w.setRules(1, policy.Defaults{In: policy.Accept, Out: policy.Accept}, policy.Rule{Hook: policy.HookIn, Protocol: policy.AnyProtocol, Action: policy.Drop})
		},
		"another table": func(_ *Config, w *world) {
			w.snapshot.Interfaces[ifLAN].VRF = 1
			w.snapshot.Tables = append(w.snapshot.Tables, emptyFIB(w.t))
		},
	} {
		w := newWorld(t, stateless, func(c *Config, w *world) { change(c, w); w.publish() })
		from := edit(udp4(18), 26, 20, 1, 1, 1) // no way leads back there
		if out := w.send(0, fixed(from, 0, from[0]))[1]; len(out) != 0 {
			t.Errorf("%s: %d frames left", name, len(out))
		}
	}
}

func emptyFIB(t testing.TB) *fib.Table {
	table, err := fib.New(fib.OptionsFor(10, 10, 64))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return table
}

// counted is a stage that counts its calls.
type counted struct {
	Stage
	calls *int
}

func (s counted) Process(b *packet.Burst) {
	*s.calls++
	s.Stage.Process(b)
}

// The stages that a packet on a short way does not meet: whoever adds one has to say in
// mayShorten, direct or Express when that is wrong, or here that it never is.
func TestShortWaysKnowTheStagesTheyPass(t *testing.T) {
	known := []string{"parse", "reverse_path", "verify", "tuple", "reassembly", "steer", "conntrack", "policy_in", "destination", "depart",
		"route", "policy_out", "divert", "neighbour", "ttl", "mtu", "redirect", "rewrite", "confirm", "source"}
	if got := StageNames[stageExpress+1 : stageOutput]; !slices.Equal(got, known) {
		t.Errorf("passed: %v, known: %v", got, known)
	}
}

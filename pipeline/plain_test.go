package pipeline

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"unsafe"

	"ffwd/packet"

	"github.com/gopacket/gopacket/layers"
)

// plainKinds are frames that the passes for plain ones take, of both families, and some
// that look like them.
func plainKinds() [][]byte {
	tcp := func() *layers.TCP { return &layers.TCP{SrcPort: 1, DstPort: 2, ACK: true} }
	kinds := [][]byte{
		udp4(0), udp4(18), udp6(0), udp6(18), to4("20.1.1.1", 100), udp4(1472), udp4(1473), udp6(1452), udp6(1453),
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
		taken[0] += n4
		taken[1] += n6
	}
	if taken[0] < 10_000 || taken[1] < 10_000 {
		t.Errorf("%v frames of each family were plain", taken)
	}
}

// The short way behind Route does what the long one does, to frames and to counters.
// FF-1, FF-5, FF-7, FF-9, FF-14
func TestShortWayIsLikeTheLongOne(t *testing.T) {
	kinds := plainKinds()
	for _, mtu := range []int{1500, 1280} {
		short, long := newWorld(t), newWorld(t, func(_ *Config, w *world) {
			w.snapshot.Interfaces[ifTag].Redirects = true // another interface's, but it rules the short way out
			w.publish()
		})
		if !short.current.Load().mayShorten() || long.current.Load().mayShorten() {
			t.Fatal("the worlds do not differ")
		}
		short.setMTU(mtu)
		long.setMTU(mtu)
		rng := rand.New(rand.NewPCG(3, uint64(mtu)))
		for i := range 5_000 {
			burst := make([][]byte, 1+rng.IntN(8))
			for i := range burst {
				burst[i] = kinds[rng.IntN(len(kinds))]
				if rng.IntN(3) == 0 {
					burst[i] = mutated(rng, burst[i])
				}
			}
			a, b := short.send(0, burst...), long.send(0, burst...)
			if !reflect.DeepEqual(a, b) {
				t.Fatalf("burst %d: %x\nshort: %x\nlong:  %x", i, burst, a, b)
			}
		}
		a, _ := short.worker.Counters()
		b, _ := long.worker.Counters()
		if a.Drops != b.Drops || a.Punts != b.Punts || a.FastForwarded != b.FastForwarded || !reflect.DeepEqual(a.Ports, b.Ports) {
			t.Errorf("mtu %d:\nshort %v\nlong  %v", mtu, a, b)
		}
		if a.Drops[packet.TTLExpired] == 0 || a.Fragmented+a.Drops[packet.CannotFragment] == 0 && mtu < 1500 {
			t.Errorf("mtu %d: nothing expired or was too long: %v", mtu, a.Drops)
		}
	}
}

// A stage between Route and Confirm is not met on the short way: whoever adds one has to
// say in mayShorten when that is wrong, or here that it never is.
func TestShortWayKnowsTheStagesItPasses(t *testing.T) {
	known := []string{"policy_out", "divert", "neighbour", "ttl", "mtu", "redirect", "rewrite"}
	if got := StageNames[stageRoute+1 : stageConfirm]; !slices.Equal(got, known) {
		t.Errorf("passed: %v, known: %v", got, known)
	}
}

package pipeline

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"testing"
	"unsafe"

	"ffwd/packet"
	"ffwd/policy"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
)

// atTheEdge gives the pool buffers of a page, behind each of which nothing may be read, and
// puts received frames at their ends.
func atTheEdge(_ *Config, w *world) {
	const buffers = 512
	page := os.Getpagesize()
	memory, err := unix.Mmap(-1, 0, 2*page*buffers, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { unix.Munmap(memory) })
	w.pool.all, w.pool.free = w.pool.all[:buffers], w.pool.free[:buffers]
	for i := range buffers {
		at := memory[2*page*i:][:2*page]
		if err := unix.Mprotect(at[page:], unix.PROT_NONE); err != nil {
			w.t.Fatal(err)
		}
		*w.pool.free[i] = packet.Mbuf{BufAddr: unsafe.Pointer(&at[0]), BufLen: uint16(page)}
	}
	for _, rx := range w.rx {
		rx.atEnd = true
	}
}

// oddKinds are frames that the general way takes apart.
func oddKinds() [][]byte {
	icmp := func(t, code uint8) *layers.ICMPv4 {
		return &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(t, code)}
	}
	icmp6 := func(t, code uint8) *layers.ICMPv6 {
		return &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(t, code)}
	}
	quoted4, quoted6 := gopacket.Payload(udp4(30)[14:]), gopacket.Payload(append(make([]byte, 0), udp6(30)[14:]...))
	first, later := ip4(a4, b4, layers.IPProtocolUDP), ip4(a4, b4, layers.IPProtocolUDP)
	first.Flags, later.FragOffset = layers.IPv4MoreFragments, 1
	fragment6 := func(more byte, offset byte) []byte {
		f := udp6(24)
		f = bytes.Join([][]byte{f[:54], {packet.ProtoUDP, 0, 0, offset<<3 | more, 1, 2, 3, 4}, f[54:]}, nil)
		f[20] = packet.ProtoFragment
		f[19] += 8
		return f
	}
	syn := &layers.TCP{SrcPort: 7, DstPort: 8, SYN: true, Window: 1000, Options: []layers.TCPOption{
		{OptionType: layers.TCPOptionKindWindowScale, OptionLength: 3, OptionData: []byte{7}},
		{OptionType: layers.TCPOptionKindSACKPermitted, OptionLength: 2}}}
	ack := &layers.TCP{SrcPort: 7, DstPort: 8, ACK: true, Window: 1000, Options: []layers.TCPOption{
		{OptionType: layers.TCPOptionKindNop}, {OptionType: layers.TCPOptionKindNop},
		{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: make([]byte, 8)}}}
	v6 := ip6(a6, b6, layers.IPProtocolICMPv6)
	return [][]byte{
		withOption(2000), withHopByHop(2000), withDestinationOptions(udp6(18)), withPriority(udp4(18)), withPriority(udp6(18)),
		bytes.Join([][]byte{udp4(18)[:12], {0x81, 0, 0, 7}, udp4(18)[12:]}, nil),
		frame(ip4(a4, b4, layers.IPProtocolICMPv4), icmp(8, 0), data(8)), frame(v6, icmp6(128, 0), data(8)),
		frame(ip4(a4, b4, layers.IPProtocolICMPv4), icmp(3, 3), quoted4), frame(v6, icmp6(1, 4), gopacket.Payload(make([]byte, 4)), quoted6),
		frame(ip4(a4, b4, layers.IPProtocolTCP), syn), frame(ip4(a4, b4, layers.IPProtocolTCP), ack, data(1)),
		frame(ip6(a6, b6, layers.IPProtocolTCP), syn), frame(ip6(a6, b6, layers.IPProtocolTCP), ack, data(1)),
		frame(ip4(a4, b4, layers.IPProtocolSCTP), &layers.SCTP{SrcPort: 1, DstPort: 2}, gopacket.Payload([]byte{1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0})),
		frame(ip4(a4, b4, layers.IPProtocolGRE), data(8)), frame(first, data(16)), frame(later, data(16)),
		fragment6(1, 0), fragment6(0, 3), discovery(b6, 255),
		to4("192.0.2.1", 20), to4("198.51.100.1", 20), to4("203.0.113.1", 20), to4("10.1.1.1", 20), to4("224.0.0.5", 20), to4("10.2.2.77", 20),
	}
}

// Nothing is read behind the end of a frame, however short it is and whatever it says of its
// length, by any stage or assembly: frames end where memory ends.
// FF-2, FF-14, CT-2
func TestNothingIsReadBehindAFrame(t *testing.T) {
	verify := func(_ *Config, w *world) { w.snapshot.Tracking.Checksum = true; w.publish() }
	for name, options := range map[string][]option{
		"flows":    {},
		"no flows": {stateless},
		"verified": {verify},
		"rules": {withRules(
			policy.Rule{Hook: policy.HookIn, Protocol: 6, Action: policy.Reject},
			policy.Rule{Hook: policy.HookOut, Protocol: 17, DstPorts: []policy.PortRange{{First: 3000, Last: 4000}}, Action: policy.Reject})},
		"translated": {withRules(natRule(policy.DNAT, netip.MustParseAddr("10.2.2.2"), 2000), natRule(policy.Masquerade, netip.Addr{}))},
	} {
		t.Run(name, func(t *testing.T) {
			defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
			kernel := &testKernel{room: 1 << 30}
			w := newWorld(t, slices.Concat(options, []option{atTheEdge, func(c *Config, w *world) {
				c.Punts, c.Fragments.Packets = kernel, 100
				w.snapshot.PuntRates = allPunts
				w.snapshot.Interfaces[ifLAN].Options = OptionsForward
				w.publish()
			}})...)
			rng := rand.New(rand.NewPCG(5, 6))
			kinds := slices.Concat(plainKinds(), oddKinds(), oddKinds())
			for range 1500 {
				burst, port := make([][]byte, 1+rng.IntN(40)), rng.IntN(2)
				for i := range burst {
					f := bytes.Clone(kinds[rng.IntN(len(kinds))])
					switch rng.IntN(6) {
					case 0:
						f = mutated(rng, f)
					case 1:
						f = f[:rng.IntN(min(len(f), 120)+1)]
					case 2: // as short as it says it may be
						f = cutTo(rng, f)
					}
					if port == 1 && len(f) >= 6 {
						turn(f)
					}
					burst[i] = f
				}
				w.send(port, burst...)
				kernel.got = nil
			}
		})
	}
}

// A segment of an established connection whose header says that it has options, but which
// ends before them: the short loops, which look for timestamps, do not look there. CT-3
func TestNoOptionsAreReadBehindASegment(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	for name, build := range map[string]func(fromA bool, l *layers.TCP) []byte{
		"IPv4": func(fromA bool, l *layers.TCP) []byte {
			if fromA {
				return frame(ip4(a4, b4, layers.IPProtocolTCP), l)
			}
			return back(ip4(b4, a4, layers.IPProtocolTCP), l)
		},
		"IPv6": func(fromA bool, l *layers.TCP) []byte {
			if fromA {
				return frame(ip6(a6, b6, layers.IPProtocolTCP), l)
			}
			return back(ip6(b6, a6, layers.IPProtocolTCP), l)
		},
	} {
		for _, way := range []option{func(*Config, *world) {}, func(_ *Config, w *world) { // the stages
			w.snapshot.Interfaces[ifTag].Redirects = true
			w.publish()
		}} {
			w := newWorld(t, atTheEdge, way)
			w.send(0, build(true, &layers.TCP{SrcPort: 7, DstPort: 8, Seq: 100, SYN: true, Window: 1000}))
			w.send(1, build(false, &layers.TCP{SrcPort: 8, DstPort: 7, Seq: 500, Ack: 101, SYN: true, ACK: true, Window: 1000}))
			w.send(0, build(true, &layers.TCP{SrcPort: 7, DstPort: 8, Seq: 101, Ack: 501, ACK: true, Window: 1000}))
			for window := range uint16(5) { // other segments each, or they are repeated ones
				f := build(true, &layers.TCP{SrcPort: 7, DstPort: 8, Seq: 101, Ack: 501, ACK: true, Window: 900 - window})
				l4 := 34
				if f[12] != 8 {
					l4 = 54
				}
				f[l4+12] = 8 << 4
				w.send(0, f[:l4+20]) // without the link layer's padding
			}
			if w.worker.table.Created != 1 {
				t.Fatalf("%s: %d flows", name, w.worker.table.Created)
			}
		}
	}
}

// cutTo cuts a frame somewhere in its headers and makes it say that it ends there.
func cutTo(rng *rand.Rand, f []byte) []byte {
	f = f[:min(len(f), 34+rng.IntN(60))]
	switch {
	case len(f) >= 34 && f[12] == 8:
		f = fixed(f, 16, byte((len(f)-14)>>8), byte(len(f)-14))
		if len(f) >= 42 && f[23] == packet.ProtoUDP {
			f[38], f[39] = 0, byte(len(f)-34)
		}
	case len(f) >= 54 && f[12] == 0x86:
		f[18], f[19] = 0, byte(len(f)-54)
	}
	return f
}

package capture

import (
	"io"
	"math/rand/v2"
	"net/netip"

	"ffwd/packet"
)

// Kind names one way in which a frame is broken or out of the ordinary.
type Kind string

// Fate is what a switch does with a frame.
type Fate uint8

const (
	Forwarded Fate = iota // like any packet: what is odd about it is the end hosts' business
	Dropped
	Punted
	Unforeseen // random bytes: anything but a crash
)

// Expectation is the fate of a Kind, and the reason that is counted for it.
type Expectation struct {
	Fate   Fate
	Reason packet.Reason // of Dropped and Punted
}

// Kinds lists every kind, in a fixed order.
func Kinds() []Kind {
	list := make([]Kind, len(kinds))
	for i := range kinds {
		list[i] = kinds[i].name
	}
	return list
}

// Expect returns what is to become of frames of this kind on a port with the
// capture's destination MAC, without VLAN sub-ports, that punts IPv4 options, in a
// switch with routes for every address and an MTU of 1500 or more.
// Source: FF-2 to FF-4, FF-14.
func (k Kind) Expect() Expectation {
	reason := k.row().reason
	switch {
	case reason == forwarded:
		return Expectation{Fate: Forwarded}
	case reason == unforeseen:
		return Expectation{Fate: Unforeseen}
	case reason >= packet.FirstPunt:
		return Expectation{Punted, reason}
	}
	return Expectation{Dropped, reason}
}

func (k Kind) row() *kind {
	for i := range kinds {
		if kinds[i].name == k {
			return &kinds[i]
		}
	}
	panic("capture: no kind " + string(k))
}

// Malformed writes a capture of n frames, every kind in turn in random order, and
// returns how many there are of each. Frames of KindOversize are OversizeBytes long;
// all others fit an MTU of 1500. For a reader that takes no long frames, as net_pcap
// with infinite_rx, leave kinds out by naming them.
func Malformed(w io.Writer, seed uint64, n int, without ...Kind) (map[Kind]int, error) {
	var use []Kind
next:
	for _, k := range Kinds() {
		for _, other := range without {
			if k == other {
				continue next
			}
		}
		use = append(use, k)
	}
	random := rand.New(rand.NewPCG(seed, malformedStream))
	out := newPcapWriter(w)
	counts := make(map[Kind]int, len(use))
	var buf []byte
	if len(use) > 0 {
		for _, i := range order(random, n, len(use)) {
			buf = appendMalformed(buf[:0], use[i], random, DefaultSrcMAC, DefaultDstMAC)
			out.frame(buf)
			counts[use[i]]++
		}
	}
	return counts, out.flush()
}

// appendMalformed appends one frame of a kind to b, which is empty.
func appendMalformed(b []byte, k Kind, random *rand.Rand, src, dst MAC) []byte {
	row := k.row()
	d := datagram{
		srcMAC: src, dstMAC: dst,
		id:      uint16(random.Uint32()),
		payload: make([]byte, 32+random.IntN(64)),
		Tuple: Tuple{
			Protocol: packet.ProtoUDP,
			Src:      netip.AddrPortFrom(malformedSrc4, uint16(firstPort+random.IntN(portRange))),
			Dst:      netip.AddrPortFrom(malformedDst4, services[random.IntN(len(services))]),
		},
	}
	if row.ipv6 {
		d.Src = netip.AddrPortFrom(malformedSrc6, d.Src.Port())
		d.Dst = netip.AddrPortFrom(malformedDst6, d.Dst.Port())
	}
	for i := range d.payload {
		d.payload[i] = byte(random.Uint32())
	}
	if row.prepare != nil {
		row.prepare(&d, random)
	}
	b = d.appendTo(b)
	if row.spoil != nil {
		b = row.spoil(b, random)
	}
	return b
}

// The ends of malformed frames, where their kind does not say otherwise.
var (
	malformedSrc4 = netip.MustParseAddr("10.0.0.1")
	malformedDst4 = netip.MustParseAddr("100.64.0.1")
	malformedSrc6 = netip.MustParseAddr("2001:db8::1")
	malformedDst6 = netip.MustParseAddr("2001:db8:8000::1")
)

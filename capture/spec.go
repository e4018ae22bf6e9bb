package capture

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/netip"

	"ffwd/packet"
)

// Protocol chooses the transport of the flows.
type Protocol uint8

// UDP flows are the default. Mix makes every second flow a TCP flow in mid-stream.
const (
	UDP Protocol = iota
	TCP
	Mix
)

// Spec describes a capture of flows. The zero value of a field stands for the
// default named beside it; Flows has none.
type Spec struct {
	Flows   int    // distinct 5-tuples, both directions of a flow counted once
	Packets int    // frames of all flows together; Flows, or twice as many with Replies
	Seed    uint64 // chooses addresses, ports and order

	IPv6       bool
	Protocol   Protocol
	FrameBytes int // without the frame check sequence; 60, or what the headers need
	VLAN       int // 802.1Q VID of every frame; untagged

	SrcMAC, DstMAC MAC          // DefaultSrcMAC, DefaultDstMAC
	SrcNet, DstNet netip.Prefix // 10.0.0.0/8 and 100.64.0.0/10, or 2001:db8::/36 and 2001:db8:8000::/36

	// Sources and Destinations are the numbers of distinct addresses of the flows'
	// first and second end; as many as flows, at most 65536. As many destinations as
	// flows are one for each flow; fewer are drawn, so that not quite all occur.
	Sources, Destinations int

	// Replies makes every second packet of a flow an answer, so that a tracker sees
	// it established. The first packet of a flow is never an answer.
	Replies bool

	// Hidden, when valid, is where answers go in place of their flow's source: a switch that
	// they go through hides that behind this address, and leaves ports as they are.
	Hidden netip.Addr

	// MalformedShare of the frames, 0 to 1, are of a random Kind instead.
	MalformedShare float64

	// Owner, when not nil, decides flow by flow, by the tuple of its first packet,
	// whether this capture holds the flow. Captures that differ only in Owner
	// partition one capture: for several rx queues.
	Owner func(Tuple) bool
}

// Summary says what a capture holds.
type Summary struct {
	Packets   int // frames in the file
	Flows     int // distinct flows in the file
	Bytes     int // of all frames
	Malformed map[Kind]int
}

// IPv4 and IPv6 networks of flows whose Spec names none.
var (
	defaultSrc4 = netip.MustParsePrefix("10.0.0.0/8")
	defaultDst4 = netip.MustParsePrefix("100.64.0.0/10")
	defaultSrc6 = netip.MustParsePrefix("2001:db8::/36")
	defaultDst6 = netip.MustParsePrefix("2001:db8:8000::/36")
)

const defaultMaxAddresses = 65536

func (s Spec) withDefaults() (Spec, error) {
	if s.Packets == 0 {
		s.Packets = s.Flows
		if s.Replies {
			s.Packets *= 2
		}
	}
	if s.SrcMAC == (MAC{}) {
		s.SrcMAC = DefaultSrcMAC
	}
	if s.DstMAC == (MAC{}) {
		s.DstMAC = DefaultDstMAC
	}
	src, dst := defaultSrc4, defaultDst4
	if s.IPv6 {
		src, dst = defaultSrc6, defaultDst6
	}
	if !s.SrcNet.IsValid() {
		s.SrcNet = src
	}
	if !s.DstNet.IsValid() {
		s.DstNet = dst
	}
	if s.Sources == 0 {
		s.Sources = min(s.Flows, defaultMaxAddresses)
	}
	if s.Destinations == 0 {
		s.Destinations = min(s.Flows, defaultMaxAddresses)
	}
	if s.FrameBytes == 0 {
		s.FrameBytes = max(packet.MinFrameData, s.headerBytes())
	}
	return s, s.validate()
}

// headerBytes is the longest header of any of the flows.
func (s *Spec) headerBytes() int {
	protocol := uint8(packet.ProtoUDP)
	if s.Protocol != UDP {
		protocol = packet.ProtoTCP
	}
	return headerBytes(protocol, s.IPv6, s.VLAN != 0)
}

func (s *Spec) validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf("capture: "+format, args...)) }
	if s.Flows < 1 || s.Packets < s.Flows {
		fault("%d packets of %d flows: want at least one flow, and a packet for each", s.Packets, s.Flows)
	}
	if s.FrameBytes < s.headerBytes() || s.FrameBytes > pcapSnapBytes {
		fault("frames of %d bytes: want %d to %d", s.FrameBytes, s.headerBytes(), pcapSnapBytes)
	}
	if s.Protocol > Mix {
		fault("unknown protocol %d", s.Protocol)
	}
	if s.VLAN < 0 || s.VLAN > 4094 {
		fault("vlan %d is not within 1 and 4094", s.VLAN)
	}
	if s.Hidden.IsValid() && s.Hidden.Is6() != s.IPv6 {
		fault("address %s for answers is of the wrong family", s.Hidden)
	}
	if s.MalformedShare < 0 || s.MalformedShare > 1 {
		fault("malformed share %v is not within 0 and 1", s.MalformedShare)
	}
	for _, net := range []struct {
		name   string
		prefix netip.Prefix
		want   int
	}{{"source", s.SrcNet, s.Sources}, {"destination", s.DstNet, s.Destinations}} {
		switch {
		case net.prefix.Addr().Is6() != s.IPv6:
			fault("%s network %s is of the wrong family", net.name, net.prefix)
		case net.want < 1 || uint64(net.want) > 1<<variableBits(net.prefix):
			fault("%d %s addresses in %s", net.want, net.name, net.prefix)
		}
	}
	if s.Sources > 0 && (s.Flows-1)/s.Sources >= portRange {
		fault("%d flows from %d sources: at most %d each", s.Flows, s.Sources, portRange)
	}
	return errors.Join(errs...)
}

// Write writes the capture to w as a pcap file. It holds about 8 bytes per packet
// in memory. The error is that of the Spec or of w.
func (s Spec) Write(w io.Writer) (Summary, error) {
	s, err := s.withDefaults()
	if err != nil {
		return Summary{}, err
	}
	random := rand.New(rand.NewPCG(s.Seed, orderStream))
	flows := newFlowSet(&s)
	out := newPcapWriter(w)
	sum := Summary{Malformed: map[Kind]int{}}
	seen := make([]uint8, s.Flows) // parity of the packets of each flow so far, and whether it has any
	d := datagram{srcMAC: s.SrcMAC, dstMAC: s.DstMAC, vlan: s.VLAN, tcpFlags: packet.TCPAck | tcpPsh}
	payload := payloadOf(s.Seed, s.FrameBytes)
	buf := make([]byte, 0, s.FrameBytes)
	for i, flow := range order(random, s.Packets, s.Flows) {
		var broken Kind
		if s.MalformedShare > 0 && random.Float64() < s.MalformedShare {
			broken = kinds[random.IntN(len(kinds))].name
		}
		d.Tuple = flows.tuple(int(flow))
		if s.Owner != nil && !s.Owner(d.Tuple) {
			continue
		}
		if broken != "" {
			sum.Malformed[broken]++
			// Randomness of its own: the other packets must not depend on the Owner.
			own := rand.New(rand.NewPCG(s.Seed+uint64(i), malformedStream))
			buf = appendMalformed(buf[:0], broken, own, s.SrcMAC, s.DstMAC)
		} else {
			if seen[flow] == 0 {
				sum.Flows++
			}
			if s.Replies && seen[flow] == 1 {
				d.Tuple = d.Reversed()
				if s.Hidden.IsValid() {
					d.Dst = netip.AddrPortFrom(s.Hidden, d.Dst.Port())
				}
			}
			seen[flow] = seen[flow]%2 + 1 // 0, then 1 and 2 in turn
			d.payload = payload[:s.FrameBytes-headerBytes(d.Protocol, s.IPv6, s.VLAN != 0)]
			d.id = uint16(flow)
			buf = d.appendTo(buf[:0])
		}
		sum.Bytes += len(buf)
		out.frame(buf)
	}
	sum.Packets = out.frames
	return sum, out.flush()
}

// Tuples gives the first direction of each flow that Write would write, in no
// particular order; none if the Spec is not valid.
func (s Spec) Tuples() iter.Seq[Tuple] {
	return func(yield func(Tuple) bool) {
		s, err := s.withDefaults()
		if err != nil {
			return
		}
		flows := newFlowSet(&s)
		for i := range s.Flows {
			if t := flows.tuple(i); (s.Owner == nil || s.Owner(t)) && !yield(t) {
				return
			}
		}
	}
}

// Streams keep apart what is drawn from one seed.
const (
	orderStream = iota + 1
	payloadStream
	addressStream
	malformedStream
	demoStream
)

// order lists each flow as often as any other, give or take one, shuffled.
func order(random *rand.Rand, packets, flows int) []uint32 {
	list := make([]uint32, packets)
	for i := range list {
		list[i] = uint32(i % flows)
	}
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// payloadOf returns n bytes that do not repeat.
func payloadOf(seed uint64, n int) []byte {
	random := rand.New(rand.NewPCG(seed, payloadStream))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

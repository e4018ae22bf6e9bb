package ct

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"testing"
	"unsafe"

	"ffwd/mem"
	"ffwd/packet"
)

// onWire is a whole packet of a tuple with right checksums. Of ICMP the identifier is the
// source port, of an answer the destination port.
func onWire(of tuple, payload []byte) []byte {
	be := binary.BigEndian
	l4 := make([]byte, map[uint8]int{packet.ProtoTCP: 20, packet.ProtoUDP: 8, packet.ProtoICMP: 8, packet.ProtoICMPv6: 8}[of.proto])
	at := none
	switch of.proto {
	case packet.ProtoTCP:
		be.PutUint16(l4, of.sport)
		be.PutUint16(l4[2:], of.dport)
		l4[12], l4[13], at = 5<<4, packet.TCPSyn, 16
		be.PutUint16(l4[14:], 1000)
	case packet.ProtoUDP:
		be.PutUint16(l4, of.sport)
		be.PutUint16(l4[2:], of.dport)
		be.PutUint16(l4[4:], uint16(8+len(payload)))
		at = 6
	case packet.ProtoICMP, packet.ProtoICMPv6:
		request, answer := uint8(8), uint8(0)
		if of.proto == packet.ProtoICMPv6 {
			request, answer = 128, 129
		}
		if l4[0] = request; of.sport == 0 {
			l4[0] = answer
		}
		be.PutUint16(l4[4:], of.sport+of.dport)
		at = 2
	}
	l4 = append(l4, payload...)
	l3 := make([]byte, packet.IPv4HeaderLen)
	l3[0], l3[8], l3[9] = 0x45, 64, of.proto
	if of.src.Is6() {
		l3 = make([]byte, packet.IPv6HeaderLen)
		l3[0], l3[6], l3[7] = 6<<4, of.proto, 64
		be.PutUint16(l3[4:], uint16(len(l4)))
		copy(l3[8:], of.src.AsSlice())
		copy(l3[24:], of.dst.AsSlice())
	} else {
		be.PutUint16(l3[2:], uint16(len(l3)+len(l4)))
		copy(l3[12:], of.src.AsSlice())
		copy(l3[16:], of.dst.AsSlice())
		be.PutUint16(l3[10:], ^onesSum(l3))
	}
	whole := append(l3, l4...)
	if at != none {
		sum := ^onesSum(covered(whole))
		if sum == 0 && of.proto == packet.ProtoUDP {
			sum = 0xffff
		}
		be.PutUint16(whole[len(l3)+at:], sum)
	}
	return whole
}

// onesSum adds 16-bit words the plain way. Source: RFC 1071.
func onesSum(data []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(data); i += 2 {
		word := uint32(data[i]) << 8
		if i+1 < len(data) {
			word |= uint32(data[i+1])
		}
		if sum += word; sum > 0xffff {
			sum -= 0xffff
		}
	}
	return uint16(sum)
}

// covered returns what a packet's transport checksum is over: the pseudo-header too.
func covered(whole []byte) []byte {
	if whole[0]>>4 == 4 {
		l4, pseudo := whole[20:], append([]byte(nil), whole[12:20]...)
		if whole[9] == packet.ProtoICMP {
			return l4
		}
		return append(append(pseudo, 0, whole[9], byte(len(l4)>>8), byte(len(l4))), l4...)
	}
	l4, pseudo := whole[40:], append([]byte(nil), whole[8:40]...)
	return append(append(pseudo, 0, 0, byte(len(l4)>>8), byte(len(l4)), 0, 0, 0, whole[6]), l4...)
}

// faulty returns what is wrong with a packet's checksums, of one that an ICMP error quotes
// too.
func faulty(whole []byte) error {
	if whole[0]>>4 == 4 && onesSum(whole[:20]) != 0xffff {
		return fmt.Errorf("IPv4 header checksum")
	}
	if onesSum(covered(whole)) != 0xffff {
		return fmt.Errorf("transport checksum of %x", whole)
	}
	if l4, proto := whole[20:], whole[9]; whole[0]>>4 == 4 && proto == packet.ProtoICMP && isError(proto, l4[0]) {
		return faulty(l4[8:])
	}
	if whole[0]>>4 == 6 && whole[6] == packet.ProtoICMPv6 && isError(packet.ProtoICMPv6, whole[40]) {
		return faulty(whole[48:])
	}
	return nil
}

// tupleOf reads a packet, as onWire writes it.
func tupleOf(whole []byte) tuple {
	of, l4 := tuple{src: netip.AddrFrom4([4]byte(whole[12:16])), dst: netip.AddrFrom4([4]byte(whole[16:20])), proto: whole[9]}, whole[20:]
	if whole[0]>>4 == 6 {
		of = tuple{src: netip.AddrFrom16([16]byte(whole[8:24])), dst: netip.AddrFrom16([16]byte(whole[24:40])), proto: whole[6]}
		l4 = whole[40:]
	}
	be := binary.BigEndian
	switch of.proto {
	case packet.ProtoTCP, packet.ProtoUDP:
		of.sport, of.dport = be.Uint16(l4), be.Uint16(l4[2:])
	case packet.ProtoICMP, packet.ProtoICMPv6:
		if queryOf(of.proto, l4[0]).answer {
			of.dport = be.Uint16(l4[4:])
		} else {
			of.sport = be.Uint16(l4[4:])
		}
	}
	return of
}

// receive makes p the packet, as Parse and Tuple do.
func receive(p *packet.Packet, secret *Secret, whole []byte) {
	*p = packet.Packet{Head: packet.Head{Verdict: packet.Continue, Proto: whole[9], L4: packet.IPv4HeaderLen, Data: unsafe.Pointer(&whole[0]), Len: uint16(len(whole))}}
	if whole[0]>>4 == 6 {
		p.Proto, p.L4, p.Flags = whole[6], packet.IPv6HeaderLen, packet.IsIPv6
	}
	switch l4 := p.Transport(); p.Proto {
	case packet.ProtoTCP, packet.ProtoUDP:
		p.PortsLE = binary.LittleEndian.Uint32(l4)
		p.Flags |= packet.HasPorts
	case packet.ProtoICMP, packet.ProtoICMPv6:
		if ports, known := QueryPorts(p.Proto, (*[8]byte)(l4)); known {
			p.PortsLE = ports
			p.Flags |= packet.HasPorts
		}
	}
	b := packet.Burst{N: 1, Pkts: [packet.MaxBurst]packet.Packet{*p}}
	secret.Tuples(&b, []uint16{0})
	*p = b.Pkts[0]
}

// natWorld is a table that translates and the map that says what it has to do.
type natWorld struct {
	*testing.T
	table *Table
	rng   *rand.Rand
	now   int64
	flows map[tuple]*natFlow // by both of a flow's tuples, as they come in
}

// natFlow is a flow: what comes in and leaves in the original direction.
type natFlow struct{ in, out tuple }

func newNATWorld(t *testing.T, seed uint64, translations int) *natWorld {
	table, err := New(Options{MaxFlows: 512, MaxFlowsIPv6: 512, Translations: translations, Secret: NewSecret(), Huge: mem.Plain})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return &natWorld{T: t, table: table, rng: rand.New(rand.NewPCG(seed, 2)), flows: map[tuple]*natFlow{}}
}

// pass takes a packet through the table as the pipeline does; decide is asked about a new
// one. It returns the packet, or an empty one if it is dropped.
func (w *natWorld) pass(of tuple, payload []byte, decide func(*packet.Packet) (*Range, bool)) (out []byte, p packet.Packet) {
	whole := onWire(of, payload)
	receive(&p, &w.table.secret, whole)
	b := &packet.Burst{N: 1, NowNs: w.now, Pkts: [packet.MaxBurst]packet.Packet{p}}
	w.table.Lookup(b, DefaultTimeouts())
	q := &b.Pkts[0]
	if b.Translated != (q.Translation != 0) {
		w.Fatalf("%v: burst says %v, translation %d", of, b.Translated, q.Translation)
	}
	var from *Range
	if Translates(q) {
		var ok bool
		if from, ok = decide(q); !ok {
			return nil, *q
		}
	}
	if q.Translation != 0 {
		w.table.Destination(q)
	}
	if q.State == packet.CtNew && q.Flow == 0 {
		var ok bool
		if q.Translation == 0 {
			ok = w.table.Confirm(q, w.now, DefaultTimeouts())
		} else {
			ok = w.table.ConfirmTranslated(q, from, w.now, DefaultTimeouts())
		}
		if !ok {
			if q.Translation != 0 {
				w.table.ReleaseTranslation(q)
			}
			return nil, *q
		}
	}
	if q.Translation != 0 {
		w.table.Source(q)
	}
	if err := faulty(whole); err != nil {
		w.Fatalf("%v: %v", of, err)
	}
	return whole, *q
}

func (w *natWorld) endpoint(ipv6, public bool) netip.Addr {
	n := byte(1 + w.rng.IntN(3))
	switch {
	case ipv6 && public:
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: n})
	case ipv6:
		return netip.AddrFrom16([16]byte{0xfd, 1, 15: n})
	case public:
		return netip.AddrFrom4([4]byte{192, 0, 2, n})
	}
	return netip.AddrFrom4([4]byte{10, 0, 0, n})
}

func rangeOf(first, last netip.Addr, ports ...uint16) *Range {
	r := &Range{}
	copy(r.First[:], first.AsSlice())
	copy(r.Last[:], last.AsSlice())
	if len(ports) == 2 {
		r.FirstPort, r.LastPort = ports[0], ports[1]
	}
	return r
}

// fresh is a tuple of a packet that may start a flow. Few of everything, so that much clashes.
func (w *natWorld) fresh() tuple {
	ipv6 := w.rng.IntN(2) == 0
	of := tuple{src: w.endpoint(ipv6, false), dst: w.endpoint(ipv6, w.rng.IntN(4) > 0), sport: uint16(2000 + w.rng.IntN(4)), dport: uint16(80 + w.rng.IntN(2))}
	switch w.rng.IntN(3) {
	case 0:
		of.proto = packet.ProtoUDP
	case 1:
		of.proto = packet.ProtoTCP
	default:
		of.proto, of.dport = packet.ProtoICMP, 0
		if ipv6 {
			of.proto = packet.ProtoICMPv6
		}
	}
	return of
}

// start sends a first packet with a random decision about it.
func (w *natWorld) start() {
	of := w.fresh()
	if of.src == of.dst {
		return
	}
	to, from := rangeOf(of.dst, of.dst), (*Range)(nil)
	kinds := 1 + w.rng.IntN(3)
	ports := []uint16{}
	if of.proto != packet.ProtoICMP && of.proto != packet.ProtoICMPv6 && w.rng.IntN(2) == 0 {
		ports = []uint16{5000, 5003}
	}
	if kinds&1 != 0 {
		to = rangeOf(w.endpoint(of.src.Is6(), false), w.endpoint(of.src.Is6(), false), ports...)
		to.Last = to.First
	}
	if kinds&2 != 0 {
		a := w.endpoint(of.src.Is6(), true)
		from = rangeOf(a, a.Next(), ports...)
	}
	known := w.flows[of]
	left, p := w.pass(of, nil, func(p *packet.Packet) (*Range, bool) {
		if known != nil {
			w.Fatalf("%v is new, and was known as %v", of, known.out)
		}
		if kinds&1 != 0 && !w.table.SetDestination(p, to) || kinds&2 != 0 && !w.table.SetSource(p, 7) {
			return nil, false
		}
		return from, true
	})
	switch {
	case left == nil || p.State == packet.CtInvalid:
		return
	case known != nil:
		w.judge(of, left)
		return
	}
	out := tupleOf(left)
	reply := w.reply(out)
	if other := w.flows[reply]; other != nil {
		w.Fatalf("%v leaves as %v, whose answers are those of %v", of, out, other.in)
	}
	inside := func(a netip.Addr, r *Range) bool {
		first, last := netip.AddrFrom16(r.First), netip.AddrFrom16(r.Last)
		if a.Is4() {
			first, last = netip.AddrFrom4([4]byte(r.First[:4])), netip.AddrFrom4([4]byte(r.Last[:4]))
		}
		return !a.Less(first) && !last.Less(a)
	}
	portIn := func(port uint16, r *Range) bool { return r.FirstPort == 0 || r.FirstPort <= port && port <= r.LastPort }
	if !inside(out.dst, to) || from != nil && !inside(out.src, from) || from == nil && out.src != of.src ||
		!portIn(out.dport, to) || to.FirstPort == 0 && out.dport != of.dport || from != nil && !portIn(out.sport, from) {
		w.Fatalf("%v leaves as %v; wanted %v from %v", of, out, to, from)
	}
	f := &natFlow{of, out}
	w.flows[of], w.flows[reply] = f, f
}

// reply is what answers a packet.
func (w *natWorld) reply(of tuple) tuple { return of.reversed() }

// judge checks a packet of a flow that left.
func (w *natWorld) judge(in tuple, left []byte) {
	f := w.flows[in]
	want := f.out
	if in != f.in {
		want = f.in.reversed()
	}
	if got := tupleOf(left); got != want {
		w.Fatalf("%v left as %v, want %v: flow %v -> %v", in, got, want, f.in, f.out)
	}
}

// goOn sends a packet of each direction of some flow.
func (w *natWorld) goOn() {
	for in, f := range w.flows {
		left, p := w.pass(in, []byte("and more"), func(*packet.Packet) (*Range, bool) {
			w.Fatalf("%v is not known any more, of %v -> %v", in, f.in, f.out)
			return nil, false
		})
		if p.State == packet.CtInvalid && in.proto == packet.ProtoTCP {
			return // a SYN against the direction of the connection
		}
		if (in != f.in) != p.Is(packet.ReplyDir) {
			w.Fatalf("%v: flags %#x, of %v -> %v", in, p.Flags, f.in, f.out)
		}
		w.judge(in, left)
		info := w.table.Info(p.Flow, w.now)
		if got := (tuple{info.Reply.Src, info.Reply.Dst, info.Reply.SrcPort, info.Reply.DstPort, f.in.proto}); f.in.dport != 0 && got != f.out.reversed() {
			w.Fatalf("listed with the answers %v, want those to %v", got, f.out)
		}
		return
	}
}

// end deletes a flow, or lets the short-lived ones expire.
func (w *natWorld) end() {
	if w.rng.IntN(8) == 0 {
		w.now += 200 * second
		for w.table.Expire(w.now, 1000) > 0 {
		}
		clear(w.flows)
		return
	}
	for in, f := range w.flows {
		var p packet.Packet
		receive(&p, &w.table.secret, onWire(in, nil))
		flow, _, ok := w.table.owner(w.table.find(&p), p.Is(packet.KeySwapped))
		if flow == 0 || !ok {
			w.Fatalf("%v of %v -> %v is not in the index", in, f.in, f.out)
		}
		w.table.Delete(flow)
		maps.DeleteFunc(w.flows, func(_ tuple, other *natFlow) bool { return other == f })
		return
	}
}

// check holds the table against the map: every key is there, and nothing else.
func (w *natWorld) check() {
	entries, distinct, twins := 0, map[*natFlow]bool{}, 0
	for i := range w.table.numBuckets {
		for slot, b := 0, w.table.bucket(i); slot < slots; slot++ {
			if b.match(0)>>slot&1 == 0 {
				entries++
			}
		}
	}
	for _, f := range w.flows {
		distinct[f] = true
	}
	for f := range distinct {
		if f.in != f.out {
			twins++
		}
	}
	t := w.table
	if n := int(t.Flows4 + t.Flows6); n != len(distinct) || int(t.Translations) != twins || entries != n+twins {
		w.Fatalf("%d flows, %d twins, %d entries; want %d flows, %d twins", n, t.Translations, entries, len(distinct), twins)
	}
}

// FF-6: whatever rules decide for whichever flows, in any order with ends and errors: every
// packet leaves as a plain map of addresses has it, with all checksums right; no two flows
// wait for the same answers; both keys of a flow come and go together.
func TestTranslationAsAMapHasIt(t *testing.T) {
	seed := rand.Uint64()
	for round := range 20 {
		t.Run(fmt.Sprintf("%#x", seed+uint64(round)), func(t *testing.T) {
			w := newNATWorld(t, seed+uint64(round), 512)
			for range 1000 {
				switch w.rng.IntN(8) {
				case 0, 1, 2:
					w.start()
				case 3:
					if len(w.flows) > 60 || w.rng.IntN(10) == 0 {
						w.end()
					}
				case 4:
					w.report()
				default:
					w.goOn()
				}
				w.check()
			}
		})
	}
}

// report sends an ICMP error about a packet of some flow that left, from a router that is
// none of its ends, to where that packet came from.
func (w *natWorld) report() {
	for in, f := range w.flows {
		sent, back := f.out, f.in
		if in != f.in {
			sent, back = f.in.reversed(), f.out.reversed()
		}
		quote := onWire(sent, []byte("12345678"))
		var whole []byte
		if sent.src.Is4() {
			whole = onWire(tuple{netip.MustParseAddr("203.0.113.9"), sent.src, 0, 0, packet.ProtoICMP}, quote)
			whole[20], whole[21] = 3, 1
		} else {
			whole = onWire(tuple{netip.MustParseAddr("2001:db8:9::9"), sent.src, 0, 0, packet.ProtoICMPv6}, quote)
			whole[40], whole[41] = 1, 3
		}
		l4 := whole[len(whole)-len(quote)-8:]
		l4[2], l4[3] = 0, 0
		binary.BigEndian.PutUint16(l4[2:], ^onesSum(covered(whole)))
		var p packet.Packet
		receive(&p, &w.table.secret, whole)
		b := &packet.Burst{N: 1, NowNs: w.now, Pkts: [packet.MaxBurst]packet.Packet{p}}
		w.table.Lookup(b, DefaultTimeouts())
		q := &b.Pkts[0]
		if q.State == packet.CtInvalid && sent.proto == packet.ProtoTCP {
			return // about a segment outside the window
		}
		if q.State != packet.CtRelated || (q.Translation != 0) != (f.in != f.out) {
			w.Fatalf("an error about %v of %v -> %v is %v, translation %d", sent, f.in, f.out, q.State, q.Translation)
		}
		if q.Translation != 0 {
			w.table.Destination(q)
			w.table.Destination(q) // as after a wait: nothing changes
			w.table.Source(q)
		}
		if err := faulty(whole); err != nil {
			w.Fatal(err)
		}
		reporter := tupleOf(whole)
		hidden := reporter.src == back.dst && back.dst != sent.dst
		if quoted := tupleOf(l4[8:]); quoted != back || reporter.dst != back.src || hidden != (back.dst != sent.dst) {
			w.Fatalf("an error about %v reports %v to %v from %v, want %v", sent, quoted, reporter.dst, reporter.src, back)
		}
		return
	}
}

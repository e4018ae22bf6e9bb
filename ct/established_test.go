package ct

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"unsafe"

	"ffwd/clock"
	"ffwd/mem"
	"ffwd/packet"
)

// BenchmarkEstablished measures the key, hash and flow of packets of established flows,
// in both directions and random order, burst 64. TCP segments carry 6 bytes each, in
// sequence, and acknowledge what came before.
//
// It reports the median burst, in time-stamp cycles per packet: other work on the machine
// interrupts a few bursts and does not move that. The packets are made between the
// readings of the clock.
func BenchmarkEstablished(b *testing.B) {
	for _, bc := range []struct {
		name  string
		proto uint8
		ipv6  bool
		age   int64 // of the flows: UDP is a stream after 2 s
	}{
		{"udp", packet.ProtoUDP, false, 10 * second},
		{"udp-young", packet.ProtoUDP, false, second},
		{"tcp", packet.ProtoTCP, false, 10 * second},
		{"udp6", packet.ProtoUDP, true, 10 * second},
		{"tcp6", packet.ProtoTCP, true, 10 * second},
	} {
		for _, n := range []int{1000, 64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("%s/flows=%d", bc.name, n), func(b *testing.B) {
				t := newTraffic(b, n, bc.proto, bc.ipv6)
				for range 4 { // both ways, and once more so that the reply has been acknowledged
					t.round(0)
				}
				t.round(bc.age)
				t.round(bc.age)
				t.tuples, t.lookups = nil, nil
				for b.Loop() {
					t.burst(bc.age)
				}
				if t.table.Invalid != 0 || t.table.Created != uint64(n) {
					b.Fatalf("%d invalid, %d created", t.table.Invalid, t.table.Created)
				}
				median := func(cycles []uint64) float64 {
					slices.Sort(cycles)
					return float64(cycles[len(cycles)/2]) / benchBurst
				}
				tuples, lookups := median(t.tuples), median(t.lookups)
				b.ReportMetric(tuples, "tuple-cyc")
				b.ReportMetric(lookups, "lookup-cyc")
				b.ReportMetric(tuples+lookups, "cyc/pkt")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// sender is a flow that sends.
type sender struct {
	number uint32
	dir    int       // of its next packet
	sent   [2]uint32 // sequence numbers of each direction
}

// traffic is flows and the packets that they send in turns.
type traffic struct {
	table    *Table
	timeouts *Timeouts
	proto    uint8
	ipv6     bool
	flows    []sender // as they are met
	at       int
	packets  packet.Burst
	frames   [benchBurst][128]byte // network packets of the burst

	tuples, lookups []uint64 // cycles of each burst
}

func newTraffic(b *testing.B, n int, proto uint8, ipv6 bool) *traffic {
	flows6 := 0
	if ipv6 {
		flows6 = n
	}
	table, err := New(Options{MaxFlows: max(MinFlows, n-flows6), MaxFlowsIPv6: flows6, Secret: NewSecret(), Huge: mem.Hugetlb})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { table.Close() })
	t := &traffic{table: table, timeouts: DefaultTimeouts(), proto: proto, ipv6: ipv6, flows: make([]sender, n)}
	for i := range t.flows {
		t.flows[i] = sender{number: uint32(i), sent: [2]uint32{rand.Uint32(), rand.Uint32()}}
	}
	for at := 0; at < n; at += benchBurst { // the first packets are of the original direction
		t.burst(0)
		for i := range t.packets.Live() {
			table.Confirm(&t.packets.Pkts[i], 0, t.timeouts)
		}
	}
	rand.Shuffle(n, func(i, j int) { t.flows[i], t.flows[j] = t.flows[j], t.flows[i] })
	t.at = 0
	t.round(0) // one of each reply
	for i := range t.flows {
		t.flows[i].dir = rand.IntN(2)
	}
	return t
}

// round takes a packet of each flow through the table.
func (t *traffic) round(nowNs int64) {
	for t.at = 0; t.at < len(t.flows); {
		t.burst(nowNs)
	}
	t.at = 0
}

// burst takes the next packets through the table, of different flows.
func (t *traffic) burst(nowNs int64) {
	if t.at >= len(t.flows) {
		t.at = 0
	}
	t.packets.N, t.packets.NowNs = min(benchBurst, len(t.flows)-t.at), nowNs
	for i := range t.packets.Live() {
		t.load(&t.packets.Pkts[i], &t.frames[i], &t.flows[t.at+i])
	}
	t.at += t.packets.N
	start := clock.Cycles()
	t.table.secret.Tuples(&t.packets, []uint16{0})
	keyed := clock.Cycles()
	t.table.Lookup(&t.packets, t.timeouts)
	end := clock.Cycles()
	if t.packets.N == benchBurst && len(t.tuples) < 1<<20 {
		t.tuples, t.lookups = append(t.tuples, keyed-start), append(t.lookups, end-keyed)
	}
}

// load makes p the next packet of a flow, as the parser leaves it.
func (t *traffic) load(p *packet.Packet, frame *[128]byte, from *sender) {
	const size = 6
	flow, dir, l4, l4Len := from.number, from.dir, 20, 8
	from.dir ^= 1
	client, server := netip.AddrFrom4([4]byte{10, byte(flow >> 16), byte(flow >> 8), byte(flow)}), netip.AddrFrom4([4]byte{192, 0, 2, 1})
	ends := [2]netip.Addr{client, server}
	ports := [2]uint16{uint16(flow), 53}
	be := binary.BigEndian
	*p = packet.Packet{Head: packet.Head{Data: unsafe.Pointer(frame), Proto: t.proto, Flags: packet.HasPorts, Verdict: packet.Continue}}
	if src, dst := ends[dir].As4(), ends[1-dir].As4(); t.ipv6 {
		l4 = 40
		p.Flags |= packet.IsIPv6
		be.PutUint64(frame[8:], 0x20010db8<<32)
		be.PutUint64(frame[24:], 0x20010db8<<32)
		copy(frame[20:], src[:])
		copy(frame[36:], dst[:])
	} else {
		copy(frame[12:], src[:])
		copy(frame[16:], dst[:])
	}
	h := frame[l4:]
	be.PutUint16(h[0:], ports[dir])
	be.PutUint16(h[2:], ports[1-dir])
	if t.proto == packet.ProtoTCP {
		l4Len = 20
		be.PutUint32(h[4:], from.sent[dir])
		be.PutUint32(h[8:], from.sent[1-dir])
		from.sent[dir] += size
		h[12], h[13] = 5<<4, packet.TCPAck
		be.PutUint16(h[14:], 1000)
	}
	p.L4, p.Len = uint8(l4), uint16(l4+l4Len+size)
	p.PortsLE = binary.LittleEndian.Uint32(h)
}

package ct

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"ffwd/mem"
	"ffwd/packet"
)

const benchBurst = 64

// BenchmarkTuple measures key and hash from the header.
func BenchmarkTuple(b *testing.B) {
	for _, of := range []func(int) tuple{udp4, udp6} {
		b.Run("ipv6="+fmt.Sprint(of(0).src.Is6()), func(b *testing.B) {
			s, zones := NewSecret(), []uint16{0}
			burst := &packet.Burst{N: benchBurst}
			for i := range benchBurst {
				load(&burst.Pkts[i], &s, of(i), 0)
			}
			for b.Loop() {
				s.Tuples(burst, zones)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchBurst), "ns/pkt")
		})
	}
}

// BenchmarkNewFlow measures the miss, the confirmation and the expiry of a UDP
// flow in a table of a million.
func BenchmarkNewFlow(b *testing.B) {
	const n = 1 << 20
	table, order := filled(b, n)
	table.Expire(3600*second, 1<<30)
	timeouts := DefaultTimeouts()
	burst := &packet.Burst{N: benchBurst}
	at, now := 0, 3600*second
	b.ResetTimer()
	for b.Loop() {
		for i := range benchBurst {
			burst.Pkts[i] = order[at]
			at = (at + 1) % len(order)
		}
		now += 60 * second * benchBurst / n // each flow meets a table from which it has expired
		burst.NowNs = now
		table.Lookup(burst, timeouts)
		for i := range benchBurst {
			if burst.Pkts[i].Flow == 0 {
				table.Confirm(&burst.Pkts[i], now, timeouts)
			}
		}
		table.Expire(now, 2*benchBurst)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchBurst), "ns/flow")
	b.ReportMetric(float64(table.Created)/float64(b.N*benchBurst+n), "created/pkt")
}

// filled returns a table of n flows and their packets in random order.
func filled(b *testing.B, n int) (*Table, []packet.Packet) {
	table, err := New(Options{MaxFlows: n, Secret: NewSecret(), Huge: mem.Hugetlb})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { table.Close() })
	order := make([]packet.Packet, n)
	var shared packet.Packet
	load(&shared, &table.secret, udp4(0), 0)
	for i := range order {
		p := &order[i]
		*p = shared
		p.Key0, p.Key1 = uint64(0x0a000000+i)<<32|0xc0000201, 1000<<48|53<<32|packet.ProtoUDP<<8|family4
		p.Hash = table.secret.hash(p.Key0, p.Key1)
		if !table.Confirm(p, 0, DefaultTimeouts()) {
			b.Fatal("full")
		}
		p.Flow = 0
	}
	rand.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
	b.Logf("pages: %v, %d MiB", table.region.Pages(), table.Bytes()>>20)
	return table, order
}

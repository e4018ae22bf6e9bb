package pipeline

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"ffwd/clock"
	"ffwd/ct"
	"ffwd/fib"
	"ffwd/mem"
	"ffwd/packet"
	"ffwd/policy"

	"github.com/gopacket/gopacket/layers"
)

// benchQueue gives the same mbufs over and over, their headers written anew each
// time as a device would, for as many flows as wanted; it swallows what is sent.
type benchQueue struct {
	mbufs []*packet.Mbuf
	order []uint32 // flow numbers, in random order
	at    int
	frame [64]byte
	spent uint64    // cycles in Rx: the device's work
	round uint16    // over the flows: TCP windows differ from one to the next, else it would be the same segment again
	odd   int       // one packet in so many is of GRE, which takes the stages; 0: none
	dual  *[64]byte // every other packet is this one of IPv6, of a flow by its source
	back  bool      // answers, as if they came in by the same port
	far   bool      // flows differ in their destinations, each in a /24 of its own; else in their sources
}

func newBenchQueue(flows int) *benchQueue {
	q := &benchQueue{order: make([]uint32, flows)}
	copy(q.frame[:], frame(ip4(a4, far4, layers.IPProtocolUDP), udp(1000, 53), data(18)))
	for i := range q.order {
		q.order[i] = uint32(i)
	}
	rand.Shuffle(flows, func(i, j int) { q.order[i], q.order[j] = q.order[j], q.order[i] })
	// As DPDK lays out a pool of 2 KiB buffers: object header, mbuf, buffer.
	const header, mbuf, object = 64, 128, 64 + 128 + 128 + 2048
	region, err := mem.Map(packet.MaxBurst*object, mem.Hugetlb)
	if err != nil {
		panic(err)
	}
	for i := range packet.MaxBurst {
		m := (*packet.Mbuf)(unsafe.Add(region.Base(), i*object+header))
		m.BufAddr, m.BufLen, m.NbSegs = unsafe.Add(unsafe.Pointer(m), mbuf), 2048+128, 1
		q.mbufs = append(q.mbufs, m)
	}
	return q
}

func (q *benchQueue) Rx(dst unsafe.Pointer, n int) int {
	start := clock.Cycles()
	defer func() { q.spent += clock.Cycles() - start }()
	base := (*packet.IPv4)(q.frame[14:])
	sum := uint32(^binary.BigEndian.Uint16(base[10:]))
	for i, m := range q.mbufs[:n] {
		m.DataOff, m.PktLen, m.DataLen, m.OlFlags = headroom, 60, 60, 0
		f := (*[64]byte)(m.Data())
		*f = q.frame
		// Source 11.x.y.z by flow; its checksum by difference.
		flow := q.order[q.at]
		if q.at++; q.at == len(q.order) {
			q.at = 0
			q.round++
		}
		binary.BigEndian.PutUint16(f[48:], 1000+q.round&1)
		h := (*packet.IPv4)(f[14:])
		was, at, now := base.Src(), 12, 11<<24|flow
		if q.far {
			was, at, now = base.Dst(), 16, farNet(flow)
		}
		if q.dual != nil && i&1 != 0 {
			*f, m.PktLen, m.DataLen = *q.dual, 64, 64
			binary.BigEndian.PutUint32(f[34:], 1<<16|flow)
			if q.back {
				turn(f[:])
				copy(f[:], q.dual[:6])
			}
			unsafe.Slice((**packet.Mbuf)(dst), n)[i] = m
			continue
		}
		sum := sum
		if q.odd != 0 && i%q.odd == 0 {
			sum += packet.ProtoGRE - packet.ProtoUDP
			h[9] = packet.ProtoGRE
		}
		binary.BigEndian.PutUint32(h[at:], now)
		s := sum + uint32(^h0(was)) + uint32(^uint16(was)) + now>>16 + now&0xffff
		s = s>>16 + s&0xffff
		s = s>>16 + s&0xffff
		binary.BigEndian.PutUint16(h[10:], ^uint16(s))
		if q.back {
			turn(f[:])
			copy(f[:], q.frame[:6])
		}
		unsafe.Slice((**packet.Mbuf)(dst), n)[i] = m
	}
	return n
}

func h0(v uint32) uint16 { return uint16(v >> 16) }

func (q *benchQueue) Tx(_ unsafe.Pointer, n int) int { return n }

// nothing is a pool that is never asked for much.
type nothing struct{}

func (nothing) Alloc(unsafe.Pointer, int) bool { return false }
func (nothing) Free(unsafe.Pointer, int)       {}

// BenchmarkPipeline measures polls without the device, in time-stamp cycles per packet: the
// median poll, which other work on the machine does not move.
func BenchmarkPipeline(b *testing.B) {
	for _, bc := range []struct {
		name  string
		flows int
		burst int
		setup option
	}{
		{"stateless", 1000, 64, stateless},
		{"stateless-64-ways", 60_000, 64, stateless},
		{"stateful", 1000, 64, func(*Config, *world) {}},
		{"stateful", 60_000, 64, func(*Config, *world) {}},
		{"stateful", 1_000_000, 64, func(*Config, *world) {}},
		{"stateful-64-ways", 60_000, 64, func(*Config, *world) {}},
		{"stateful-mixed", 1000, 64, func(*Config, *world) {}},
		{"stateful-dual", 1000, 64, func(*Config, *world) {}},
		{"stateful-tcp", 1000, 64, func(*Config, *world) {}},
		{"stateful-tcp", 1_000_000, 64, func(*Config, *world) {}},
		{"stateful+rules", 1000, 64, withRules(policy.Rule{Hook: policy.HookIn, Action: policy.Accept, Protocol: 17})},
		{"stateful+rules-out", 1000, 64, withRules(policy.Rule{Hook: policy.HookOut, Action: policy.Accept, Protocol: 17})},
		{"stateful", 1000, 1, func(*Config, *world) {}},
		{"stateful", 1000, 256, func(*Config, *world) {}},
	} {
		b.Run(fmt.Sprintf("%s/flows=%d/burst=%d", bc.name, bc.flows, bc.burst), func(b *testing.B) {
			q := newBenchQueue(bc.flows)
			w := newWorld(b, func(c *Config, w *world) {
				table, err := ct.New(ct.Options{MaxFlows: max(4096, bc.flows), MaxFlowsIPv6: 4096, Secret: *c.Secret, Huge: mem.Hugetlb})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { table.Close() })
				c.Table, c.Burst = table, bc.burst
				c.Rx, c.Tx, c.Pool = []Receive{{0, q}}, []TxQueue{q, q}, nothing{}
			}, bc.setup)
			w.route(fib.Route{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Hops: []fib.Hop{{Via: b4}}})
			if q.far = strings.HasSuffix(bc.name, "-64-ways"); q.far {
				w.spread(bc.flows, 64)
			}
			if strings.HasSuffix(bc.name, "-mixed") {
				q.odd = 16
			}
			if strings.HasSuffix(bc.name, "-dual") {
				q.dual = new([64]byte)
				w.route(fib.Route{Prefix: netip.MustParsePrefix("::/0"), Hops: []fib.Hop{{Via: b6}}})
				copy(q.dual[:], frame(ip6(a6, netip.MustParseAddr("2001:db8::1"), layers.IPProtocolUDP), udp(1000, 53), data(2)))
			}
			if strings.HasPrefix(bc.name, "stateful-tcp") {
				copy(q.frame[:], frame(ip4(a4, far4, layers.IPProtocolTCP), &layers.TCP{SrcPort: 1000, DstPort: 80, ACK: true, Window: 1000}, data(6)))
			}
			for _, q.back = range [...]bool{false, true, false} { // every flow is known, in both directions
				for range bc.flows/bc.burst + 1 {
					w.worker.poll(true)
				}
			}
			w.worker.counter.Stages = [numStages]StageCost{} // what follows, without the new flows
			b.ReportAllocs()
			polls := make([]uint64, 0, 1<<20)
			for b.Loop() {
				q.spent = 0
				start := clock.Cycles()
				w.worker.poll(true)
				if took := clock.Cycles() - start - q.spent; len(polls) < cap(polls) {
					polls = append(polls, took)
				}
			}
			slices.Sort(polls)
			b.ReportMetric(float64(polls[len(polls)/2])/float64(bc.burst), "cyc/pkt")
			c, _ := w.worker.Counters()
			if c.Dropped() > 0 {
				b.Fatalf("dropped: %v", c.Drops)
			}
			reportStages(b, &c)
		})
	}
}

// farNet is one of the /24s of 64.0.0.0/3, scattered over all of it: their entries in the FIB
// are in as many lines of the cache.
func farNet(i uint32) uint32 { return 64<<24 | i*2654435761>>11<<8 }

// spread routes so many networks over so many next hops in turn.
func (w *world) spread(routes, hops int) {
	for i := range routes {
		hop := netip.AddrFrom4([4]byte{10, 2, 2, byte(10 + i%hops)})
		if i < hops {
			if err := w.table.SetNeighbour(ifWAN, hop, macB); err != nil {
				w.t.Fatal(err)
			}
		}
		var dst [4]byte
		binary.BigEndian.PutUint32(dst[:], farNet(uint32(i)))
		w.route(fib.Route{Prefix: netip.PrefixFrom(netip.AddrFrom4(dst), 24), Hops: []fib.Hop{{Via: hop}}})
	}
}

func reportStages(b *testing.B, c *Counters) {
	for i, s := range c.Stages {
		if s.Packets > 0 {
			b.ReportMetric(float64(s.Cycles)/float64(s.Packets), StageNames[i]+"-cyc")
		}
	}
}

// BenchmarkParse measures the Parse stage alone, on the same frames again and
// again: plain ones, and those that take the long way because of a tag or of
// another family.
func BenchmarkParse(b *testing.B) {
	tagged := append(edit(udp4(18), 12, 0x81, 0)[:14:14], 0, 7, 8, 0)
	tagged = append(tagged, udp4(18)[14:]...)
	for _, bc := range []struct {
		name  string
		frame []byte
	}{{"plain", udp4(18)}, {"tagged", tagged}, {"ipv6", udp6(18)}} {
		for _, burst := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/burst=%d", bc.name, burst), func(b *testing.B) {
				w := newWorld(b)
				for range burst {
					w.rx[0].frames = append(w.rx[0].frames, bc.frame)
				}
				worker := w.worker
				w.rx[0].Rx(unsafe.Pointer(&worker.inbox[0]), burst)
				stage := worker.stages[stageParse]
				for b.Loop() {
					worker.burst.N = burst
					stage.Process(&worker.burst)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*burst), "ns/pkt")
				for i := range worker.burst.Live() {
					if worker.burst.Pkts[i].Verdict != packet.Continue {
						b.Fatal("not parsed")
					}
				}
				w.pool.Free(unsafe.Pointer(&worker.inbox[0]), burst)
			})
		}
	}
}

// pastQueue gives mbufs that a device has filled and no core has touched since:
// far more than the near caches hold, in random order. What is sent comes again
// as it is, so the world must leave frames as they are.
type pastQueue struct {
	mbufs []*packet.Mbuf
	at    int
}

func (q *pastQueue) Rx(dst unsafe.Pointer, n int) int {
	copy(unsafe.Slice((**packet.Mbuf)(dst), n), q.mbufs[q.at:])
	q.at = (q.at + n) % len(q.mbufs)
	return n
}

func (q *pastQueue) Tx(_ unsafe.Pointer, n int) int { return n }

// BenchmarkColdFrames measures a poll whose frames are not in the near caches, as
// with a NIC. (Prefetching mbufs and headers before Load brought 1.5 cycles of 33
// here and cost as much where they are near: the loads of Load wait for nothing,
// so the processor overlaps their misses by itself.) Its neighbour has the switch's own address and its interfaces are
// stealthy, so that a frame leaves as it came.
func BenchmarkColdFrames(b *testing.B) {
	const mbufs, burst = 32 << 10, 64
	from := newBenchQueue(1000)
	q := &pastQueue{}
	const header, mbuf, object = 64, 128, 64 + 128 + 128 + 2048
	region, err := mem.Map(mbufs*object, mem.Transparent)
	if err != nil {
		b.Fatal(err)
	}
	defer region.Close()
	source := make([]*packet.Mbuf, 1)
	for i := range mbufs {
		from.Rx(unsafe.Pointer(&source[0]), 1)
		m := (*packet.Mbuf)(unsafe.Add(region.Base(), i*object+header))
		*m = *source[0]
		m.BufAddr = unsafe.Add(unsafe.Pointer(m), mbuf)
		*(*[64]byte)(m.Data()) = *(*[64]byte)(source[0].Data())
		q.mbufs = append(q.mbufs, m)
	}
	rand.Shuffle(mbufs, func(i, j int) { q.mbufs[i], q.mbufs[j] = q.mbufs[j], q.mbufs[i] })
	w := newWorld(b, func(c *Config, w *world) {
		c.Rx, c.Tx, c.Pool = []Receive{{0, q}}, []TxQueue{q, q}, nothing{}
		w.snapshot.Interfaces[ifLAN].Stealth = true
		w.publish()
		if err := w.table.SetNeighbour(ifWAN, b4, macLAN); err != nil {
			b.Fatal(err)
		}
	})
	w.route(fib.Route{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Hops: []fib.Hop{{Via: b4}}})
	for range mbufs / burst {
		w.worker.poll(true)
	}
	w.worker.counter.Stages = [numStages]StageCost{}
	for b.Loop() {
		w.worker.poll(true)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*burst), "ns/pkt")
	c, _ := w.worker.Counters()
	if c.Dropped() > 0 {
		b.Fatalf("dropped: %v", c.Drops)
	}
	reportStages(b, &c)
}

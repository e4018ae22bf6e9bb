package pipeline

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"unsafe"

	"ffwd/clock"
	"ffwd/ct"
	"ffwd/epoch"
	"ffwd/fib"
	"ffwd/packet"
	"ffwd/policy"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// The world of these tests: a router with two ports, in ordinary memory.
//
//	host A 10.1.1.2, fd01:1::2 --- port 0 [10.1.1.1] lan | wan [10.2.2.1] port 1 --- host B 10.2.2.2, fd01:2::2
const (
	ifLAN = 1
	ifWAN = 2
	ifTag = 3 // VLAN 7 on port 0
)

var (
	macLAN = [6]byte{2, 0, 0, 0, 1, 1}
	macWAN = [6]byte{2, 0, 0, 0, 2, 1}
	macA   = [6]byte{2, 0, 0, 0, 1, 2}
	macB   = [6]byte{2, 0, 0, 0, 2, 2}
	a4, b4 = netip.MustParseAddr("10.1.1.2"), netip.MustParseAddr("10.2.2.2")
	a6, b6 = netip.MustParseAddr("fd01:1::2"), netip.MustParseAddr("fd01:2::2")

	testClock = clock.New()
)

const (
	bufferBytes = 10_000
	headroom    = 128
)

// testPool is a mempool in Go memory. It poisons what is freed and fails on a
// double free.
type testPool struct {
	t     testing.TB
	all   []*packet.Mbuf
	free  []*packet.Mbuf
	isOut map[*packet.Mbuf]bool
	limit int // most mbufs in use, to make Alloc fail
}

func newPool(t testing.TB, n int) *testPool {
	p := &testPool{t: t, isOut: map[*packet.Mbuf]bool{}, limit: n}
	for range n {
		m := &packet.Mbuf{BufAddr: unsafe.Pointer(&make([]byte, bufferBytes)[0]), BufLen: bufferBytes}
		p.all, p.free = append(p.all, m), append(p.free, m)
	}
	return p
}

func (p *testPool) array(at unsafe.Pointer, n int) []*packet.Mbuf {
	return unsafe.Slice((**packet.Mbuf)(at), n)
}

func (p *testPool) Alloc(dst unsafe.Pointer, n int) bool {
	if len(p.free) < n || len(p.isOut)+n > p.limit {
		return false
	}
	for i := range n {
		m := p.free[len(p.free)-1]
		p.free = p.free[:len(p.free)-1]
		p.isOut[m] = true
		m.DataOff, m.NbSegs, m.OlFlags = headroom, 1, 0
		p.array(dst, n)[i] = m
	}
	return true
}

func (p *testPool) Free(src unsafe.Pointer, n int) {
	for _, m := range p.array(src, n) {
		if !p.isOut[m] {
			p.t.Fatal("double free")
		}
		delete(p.isOut, m)
		b := unsafe.Slice((*byte)(m.BufAddr), bufferBytes)
		for i := range 256 {
			b[i] = 0xdb
		}
		p.free = append(p.free, m)
	}
}

// testRx gives the frames that are put into it.
type testRx struct {
	pool   *testPool
	frames [][]byte
	flags  uint64 // OlFlags and VlanTCI of every frame
	tci    uint16
	atEnd  bool // frames lie at the end of their buffers
}

func (q *testRx) Rx(dst unsafe.Pointer, max int) int {
	n := min(max, len(q.frames))
	for i, f := range q.frames[:n] {
		at := unsafe.Add(dst, i*8)
		if !q.pool.Alloc(at, 1) {
			q.pool.t.Fatal("the test's pool is empty")
		}
		m := q.pool.array(at, 1)[0]
		if q.atEnd {
			m.DataOff = m.BufLen - uint16(len(f))
		}
		copy(unsafe.Slice((*byte)(m.Data()), len(f)), f)
		m.PktLen, m.DataLen, m.OlFlags, m.VlanTCI = uint32(len(f)), uint16(len(f)), q.flags, q.tci
	}
	q.frames = q.frames[n:]
	return n
}

// testTx keeps what was sent.
type testTx struct {
	pool   *testPool
	frames [][]byte
	room   int // frames it takes before it is full; -1 is no end
}

func (q *testTx) Tx(src unsafe.Pointer, n int) int {
	if q.room >= 0 {
		n = min(n, q.room)
		q.room -= n
	}
	for _, m := range q.pool.array(src, n) {
		q.frames = append(q.frames, bytes.Clone(unsafe.Slice((*byte)(m.Data()), m.DataLen)))
	}
	if n > 0 {
		q.pool.Free(src, n)
	}
	return n
}

// world is a worker with its surroundings.
type world struct {
	t        testing.TB
	pool     *testPool
	rx       [2]*testRx
	tx       [2]*testTx
	worker   *Worker
	table    *fib.Table
	snapshot Snapshot
	current  atomic.Pointer[Snapshot]
}

type option func(*Config, *world)

func stateless(c *Config, _ *world) { c.Table = nil }

func withRules(rules ...policy.Rule) option {
	return func(_ *Config, w *world) {
		w.setRules(1, policy.Defaults{In: policy.Accept, Out: policy.Accept}, rules...)
	}
}

// Counters returns a copy of the worker's counters, in one expression.
func (w *Worker) Counters() (c Counters, flows ct.Stats) {
	if err := w.Read(&c, &flows); err != nil {
		panic(err)
	}
	return c, flows
}

func newWorld(t testing.TB, options ...option) *world {
	t.Helper()
	w := &world{t: t, pool: newPool(t, 4096), table: newFIB(t)}
	for i := range w.rx {
		w.rx[i], w.tx[i] = &testRx{pool: w.pool}, &testTx{pool: w.pool, room: -1}
	}
	vlans := &[4096]uint16{7: ifTag}
	w.snapshot = Snapshot{
		Interfaces: []Interface{{},
			{Name: "lan", Port: 0, MAC: packet.MAC48(macLAN), MTU: 1500, Addr4: [4]byte{10, 1, 1, 1}, Addr6: netip.MustParseAddr("fd01:1::1").As16()},
			{Name: "wan", Port: 1, MAC: packet.MAC48(macWAN), MTU: 1500, Addr4: [4]byte{10, 2, 2, 1}, Addr6: netip.MustParseAddr("fd01:2::1").As16()},
			{Name: "lan.7", Port: 0, VLAN: 7, MAC: packet.MAC48(macLAN), MTU: 1500, Addr4: [4]byte{10, 7, 7, 1}},
		},
		Zones:            make([]uint16, 4),
		Ports:            []PortMap{{Untagged: ifLAN, VLANs: vlans}, {Untagged: ifWAN}},
		Tables:           []*fib.Table{w.table},
		Timeouts:         ct.DefaultTimeouts(),
		Tracking:         ct.DefaultSettings(),
		FragmentTimeouts: ct.DefaultFragmentTimeouts(),
		ErrorRate:        1_000_000,
	}
	w.setRules(1, policy.Defaults{In: policy.Accept, Out: policy.Accept})
	secret := ct.NewSecret()
	flows, err := ct.New(ct.Options{MaxFlows: 4096, MaxFlowsIPv6: 4096, Translations: 64, Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { flows.Close() })
	c := Config{
		Burst: 64, Snapshot: &w.current, Table: flows, Fragments: ct.DefaultFragmentLimits(), Secret: &secret, Clock: testClock,
		Epoch: new(epoch.Domain).Join(), Pool: w.pool, Group: NewGroup(1, 64),
		Rx: []Receive{{0, w.rx[0]}, {1, w.rx[1]}}, Tx: []TxQueue{w.tx[0], w.tx[1]},
	}
	for _, o := range options {
		o(&c, w)
	}
	if w.worker, err = NewWorker(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.checkConservation(); w.worker.Close() })
	return w
}

func newFIB(t testing.TB) *fib.Table {
	o := fib.DefaultOptions()
	o.Groups4, o.Groups6, o.NextHops, o.MaxRoutes4, o.MaxRoutes6 = 256, 4096, 1024, 100_000, 1000
	table, err := fib.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	p := netip.MustParsePrefix
	for _, in := range []fib.Interface{{Index: ifLAN, MAC: macLAN, MTUBytes: 1500}, {Index: ifWAN, MAC: macWAN, MTUBytes: 1500}, {Index: ifTag, MAC: macLAN, VLAN: 7, MTUBytes: 1500}} {
		must(table.SetInterface(in))
	}
	for address, i := range map[string]uint16{"10.1.1.1/24": ifLAN, "fd01:1::1/64": ifLAN, "10.2.2.1/24": ifWAN, "fd01:2::1/64": ifWAN, "10.7.7.1/24": ifTag} {
		must(table.AddAddress(i, p(address)))
	}
	must(table.SetNeighbour(ifLAN, a4, macA))
	must(table.SetNeighbour(ifLAN, a6, macA))
	must(table.SetNeighbour(ifWAN, b4, macB))
	must(table.SetNeighbour(ifWAN, b6, macB))
	must(table.SetNeighbour(ifTag, netip.MustParseAddr("10.7.7.2"), macA))
	must(table.Add(fib.Route{Prefix: p("192.0.2.0/24"), Type: fib.RouteBlackhole}))
	must(table.Add(fib.Route{Prefix: p("198.51.100.0/24"), Type: fib.RouteUnreachable}))
	must(table.Add(fib.Route{Prefix: p("203.0.113.0/24"), Type: fib.RouteProhibit}))
	return table
}

// setMTU gives the WAN side another MTU.
func (w *world) setMTU(mtu int) {
	if err := w.table.SetInterface(fib.Interface{Index: ifWAN, MAC: macWAN, MTUBytes: mtu}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) setRules(generation uint32, d policy.Defaults, rules ...policy.Rule) {
	w.t.Helper()
	rs, err := policy.Compile(rules, d, generation)
	if err != nil {
		w.t.Fatal(err)
	}
	w.snapshot.Rules = rs
	w.publish()
}

func (w *world) publish() {
	s := w.snapshot
	s.Prepare()
	w.current.Store(&s)
}

// send puts frames on a port's wire and polls until all have been taken. It
// returns what left by each port.
func (w *world) send(port int, frames ...[]byte) (out [2][][]byte) {
	w.t.Helper()
	w.rx[port].frames = append(w.rx[port].frames, frames...)
	for len(w.rx[port].frames) > 0 {
		w.worker.poll(true)
	}
	for i, q := range w.tx {
		out[i], q.frames = q.frames, nil
	}
	return out
}

// checkConservation holds after every test: no packet and no buffer is lost.
// Source: FF-12.
func (w *world) checkConservation() {
	w.checkBalance()
	if w.worker.reassembly != nil && w.worker.counter.Held > 0 {
		w.worker.dropFragments(0) // what waits at the end of a test
		w.checkBalance()
	}
	if n := len(w.pool.isOut); n != 0 {
		w.t.Errorf("%d mbufs did not come back", n)
	}
}

// checkBalance holds between any two polls.
func (w *world) checkBalance() {
	c, _ := w.worker.Counters()
	in, out := c.Received+c.Created+c.TakenOver, c.Transmitted+c.Dropped()+c.Punted()+c.HandedOver+c.Held
	if in != out {
		w.t.Errorf("conservation: received %d + created %d + taken over %d, but transmitted %d + dropped %d + punted %d + handed over %d",
			c.Received, c.Created, c.TakenOver, c.Transmitted, c.Dropped(), c.Punted(), c.HandedOver)
	}
}

// drops returns how many packets were dropped for r so far.
func (w *world) drops(r packet.Reason) uint64 {
	c, _ := w.worker.Counters()
	return c.Drops[r]
}

// frame serialises layers with right lengths and checksums, from A to the router.
func frame(l ...gopacket.SerializableLayer) []byte {
	return serialise(append([]gopacket.SerializableLayer{ether(macA, macLAN, l[0])}, l...)...)
}

// back is a frame from B to the router.
func back(l ...gopacket.SerializableLayer) []byte {
	return serialise(append([]gopacket.SerializableLayer{ether(macB, macWAN, l[0])}, l...)...)
}

func ether(src, dst [6]byte, next gopacket.SerializableLayer) *layers.Ethernet {
	e := &layers.Ethernet{SrcMAC: net.HardwareAddr(src[:]), DstMAC: net.HardwareAddr(dst[:]), EthernetType: layers.EthernetTypeIPv4}
	switch next.LayerType() {
	case layers.LayerTypeIPv6:
		e.EthernetType = layers.EthernetTypeIPv6
	case layers.LayerTypeDot1Q:
		e.EthernetType = layers.EthernetTypeDot1Q
	case layers.LayerTypeARP:
		e.EthernetType = layers.EthernetTypeARP
	}
	return e
}

func serialise(l ...gopacket.SerializableLayer) []byte {
	var network gopacket.NetworkLayer
	for _, layer := range l {
		switch v := layer.(type) {
		case gopacket.NetworkLayer:
			network = v
		case *layers.UDP:
			v.SetNetworkLayerForChecksum(network)
		case *layers.TCP:
			v.SetNetworkLayerForChecksum(network)
		case *layers.ICMPv6:
			v.SetNetworkLayerForChecksum(network)
		}
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, l...); err != nil {
		panic(err)
	}
	return bytes.Clone(buf.Bytes())
}

func ip4(src, dst netip.Addr, proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Id: 4711, Protocol: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
}

func ip6(src, dst netip.Addr, next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: next, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
}

func udp(src, dst uint16) *layers.UDP {
	return &layers.UDP{SrcPort: layers.UDPPort(src), DstPort: layers.UDPPort(dst)}
}

func data(n int) gopacket.Payload {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

// udp4 is a UDP datagram from A to B.
func udp4(size int) []byte {
	return frame(ip4(a4, b4, layers.IPProtocolUDP), udp(1000, 2000), data(size))
}

// udp6 is its IPv6 twin.
func udp6(size int) []byte {
	return frame(ip6(a6, b6, layers.IPProtocolUDP), udp(1000, 2000), data(size))
}

// decode parses a frame with an independent decoder, checksums included.
func decode(t testing.TB, f []byte) gopacket.Packet {
	t.Helper()
	p := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.DecodeOptions{})
	if p.NetworkLayer() == nil { // what is behind the transport header is noise to the decoder
		t.Fatalf("undecodable: %v\n%.100x", p.ErrorLayer(), f)
	}
	if ip, ok := p.NetworkLayer().(*layers.IPv4); ok && packet.Checksum(ip.Contents) != 0 {
		t.Fatalf("wrong header checksum in %x", ip.Contents)
	}
	l3 := len(p.LinkLayer().LayerContents())
	if f[12] == packet.EtherVLAN>>8 {
		l3 += packet.VLANTagLen
	}
	says := packet.IPv6HeaderLen + int(binary.BigEndian.Uint16(f[l3+4:]))
	if f[l3]>>4 == 4 {
		says = int(binary.BigEndian.Uint16(f[l3+2:]))
	}
	if says != len(f)-l3 && len(f) > packet.MinFrameData {
		t.Fatalf("a packet that says it is %d bytes long in a frame with room for %d", says, len(f)-l3)
	}
	if err, mismatches := p.VerifyChecksums(); err == nil && len(mismatches) > 0 {
		t.Fatalf("wrong checksum: %+v", mismatches)
	}
	return p
}

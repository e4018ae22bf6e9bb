package pipeline

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"ffwd/fib"

	"github.com/gopacket/gopacket/layers"
)

var (
	far4 = netip.MustParseAddr("20.1.1.1")
	far6 = netip.MustParseAddr("2001:db8::1")
)

// fork is a world in which far4 and far6 are reached by two ports alike: 0, with a
// tag, and 1.
func fork(t testing.TB, options ...option) *world {
	w := newWorld(t, options...)
	tag6 := netip.MustParseAddr("fd01:7::2")
	if err := w.table.AddAddress(ifTag, netip.MustParsePrefix("fd01:7::1/64")); err != nil {
		t.Fatal(err)
	}
	if err := w.table.SetNeighbour(ifTag, tag6, macA); err != nil {
		t.Fatal(err)
	}
	w.route(fib.Route{Prefix: netip.MustParsePrefix("20.0.0.0/8"), Hops: []fib.Hop{{Via: b4}, {Via: netip.MustParseAddr("10.7.7.2")}}})
	w.route(fib.Route{Prefix: netip.MustParsePrefix("2001:db8::/32"), Hops: []fib.Hop{{Via: b6}, {Via: tag6}}})
	return w
}

// port is the one by which all of the frames leave, -1 if they do not leave by one.
func (w *world) port(frames ...[]byte) int {
	out := w.send(0, frames...)
	switch len(frames) {
	case len(out[0]):
		return 0
	case len(out[1]):
		return 1
	}
	return -1
}

// pieces are the fragments of one UDP datagram of either family, in order.
func pieces(src netip.Addr, id uint16) (all [][]byte) {
	const size = 64
	for i, l4 := range [][]byte{append([]byte{0x30, byte(id), 0, 53, 0, 200, 0, 0}, data(size-8)...), data(size), data(size)} {
		payload := data(0)
		payload = append(payload, l4...)
		more := i < 2
		if src.Is4() {
			h := ip4(src, far4, layers.IPProtocolUDP)
			h.Id, h.FragOffset = id, uint16(i*size/8)
			if more {
				h.Flags = layers.IPv4MoreFragments
			}
			all = append(all, frame(h, payload))
			continue
		}
		header := make([]byte, 8, 8+size) // RFC 8200 4.5
		header[0] = 17
		binary.BigEndian.PutUint16(header[2:], uint16(i*size))
		if more {
			header[3] |= 1
		}
		binary.BigEndian.PutUint32(header[4:], uint32(id))
		all = append(all, frame(ip6(src, far6, layers.IPProtocolIPv6Fragment), append(data(0), append(header, l4...)...)))
	}
	return all
}

// wholeOf is a datagram of the flow that pieces are of.
func wholeOf(src netip.Addr, id uint16) []byte {
	l4 := udp(0x3000|id&0xff, 53)
	if src.Is4() {
		return frame(ip4(src, far4, layers.IPProtocolUDP), l4, data(8))
	}
	return frame(ip6(src, far6, layers.IPProtocolUDP), l4, data(8))
}

// All fragments of a datagram take one path, in whatever order they come and
// whatever ports the first one shows; datagrams of many hosts take all paths. FF-16
func TestFragmentsOfADatagramTakeOnePath(t *testing.T) {
	for _, tc := range []struct {
		name string
		base netip.Addr
		o    option
	}{
		{"ipv4", a4, func(*Config, *world) {}}, {"ipv6", a6, func(*Config, *world) {}},
		{"ipv4, stateless", a4, stateless}, {"ipv6, stateless", a6, stateless},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, base := fork(t, tc.o), tc.base
			var by [2]int
			src := base
			for i := range 100 {
				src = src.Next()
				p := pieces(src, uint16(i))
				if i%2 == 1 {
					p[0], p[2] = p[2], p[0]
				}
				at := w.port(p...)
				if at < 0 {
					t.Fatalf("the fragments from %v took two paths", src)
				}
				if w.worker.table != nil { // and that of the flow
					if whole := w.port(wholeOf(src, uint16(i))); whole != at {
						t.Fatalf("the fragments from %v left by %d, a whole datagram by %d", src, at, whole)
					}
				}
				by[at]++
			}
			if by[0] < 25 || by[1] < 25 {
				t.Errorf("%v datagrams by each port", by)
			}
		})
	}
}

// Flows between two hosts spread over the ports, each stays on its own, and those
// of a port that loses its carrier leave by the other with the next packet, before
// the control side does anything; they come back with it. FF-16
func TestFlowsLeaveADeadPortAtOnce(t *testing.T) {
	for name, o := range map[string]option{"stateful": func(*Config, *world) {}, "stateless": stateless} {
		t.Run(name, func(t *testing.T) {
			w := fork(t, o)
			const flows = 200
			paths := func() (by [flows]int) {
				for i := range by {
					l3 := ip4(a4, far4, layers.IPProtocolUDP)
					f := frame(l3, udp(uint16(5000+i), 53), data(8))
					if i%2 == 1 {
						f = frame(ip6(a6, far6, layers.IPProtocolUDP), udp(uint16(5000+i), 53), data(8))
					}
					by[i] = w.port(f)
				}
				return by
			}
			before := paths()
			n := 0
			for _, port := range before {
				n += port
			}
			if n < flows/4 || n > flows*3/4 {
				t.Errorf("%d of %d flows by port 1", n, flows)
			}
			if again := paths(); again != before {
				t.Error("flows changed their path")
			}
			w.table.SetCarrier(ifWAN, false)
			for i, port := range paths() {
				if port != 0 {
					t.Fatalf("flow %d left by %d, port 1 is dead", i, port)
				}
			}
			w.table.SetCarrier(ifWAN, true)
			if again := paths(); again != before {
				t.Error("flows did not come back")
			}
		})
	}
}

// A packet is routed by the table of the interface it came in by, and by no
// other, within one burst of both. FF-16
func TestTablesAreApart(t *testing.T) {
	w := newWorld(t, func(_ *Config, w *world) {
		second := newFIB(w.t)
		prefix := netip.MustParsePrefix("20.0.0.0/8")
		if err := second.Add(fib.Route{Prefix: prefix, Type: fib.RouteProhibit}); err != nil {
			w.t.Fatal(err)
		}
		w.route(fib.Route{Prefix: prefix, Hops: []fib.Hop{{Via: b4}}})
		w.snapshot.Tables = append(w.snapshot.Tables, second)
		w.snapshot.Interfaces[ifTag].VRF = 1
		w.publish()
	})
	plain := to4("20.1.1.1", 8)
	tagged := append(append(append([]byte{}, plain[:12]...), 0x81, 0, 0, 7), plain[12:]...)
	out := w.send(0, plain, tagged, plain, tagged)
	if len(out[1]) != 2 {
		t.Errorf("%d packets of the first table left, want 2", len(out[1]))
	}
	for _, f := range out[0] { // errors about the others
		if p := decode(t, f); p.Layer(layers.LayerTypeICMPv4) == nil {
			t.Errorf("left by port 0: %v", p)
		}
	}
	if len(out[0]) != 2 {
		t.Errorf("%d errors, want 2", len(out[0]))
	}
	for vrf, table := range w.snapshot.Tables {
		info, _ := table.Route(far4)
		sum := make([]fib.Count, 1)
		if w.worker.AddRouteCounts(vrf, []fib.Counter{info.Counter}, sum); sum[0].Packets != 2 {
			t.Errorf("table %d: counted %d packets, want 2", vrf, sum[0].Packets)
		}
	}
}

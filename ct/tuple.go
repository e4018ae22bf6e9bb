package ct

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"ffwd/packet"
)

// endpoint is one end of a flow: an address, of IPv4 in the first four bytes, and a port as
// it is on the wire, loaded as a little-endian number.
type endpoint struct {
	addr   [16]byte
	portLE uint16
}

// oneWay is what the packets of one direction have.
type oneWay struct{ src, dst endpoint }

func (o oneWay) reversed() oneWay { return oneWay{o.dst, o.src} }

func (o *oneWay) portsLE() uint32 { return uint32(o.src.portLE) | uint32(o.dst.portLE)<<16 }

// oneWayOf returns what packets with a key have that is swapped or not. low and high are
// the addresses of IPv6.
func oneWayOf(k key, a *addresses, swapped bool) oneWay {
	low, high := endpoint{a.low, uint16(k.k1 >> 32)}, endpoint{a.high, uint16(k.k1 >> 48)}
	if k.isIPv4() {
		binary.LittleEndian.PutUint32(low.addr[:], uint32(k.k0))
		binary.LittleEndian.PutUint32(high.addr[:], uint32(k.k0>>32))
	}
	if swapped {
		return oneWay{high, low}
	}
	return oneWay{low, high}
}

// keyOf returns the key of packets of one way, its hash, and whether it is swapped.
func (s *Secret) keyOf(o *oneWay, proto uint8, zone uint16, ipv6 bool) (k key, hash uint64, swapped bool) {
	ports := o.portsLE()
	k.k1 = uint64(zone)<<16 | uint64(proto)<<8
	if ipv6 {
		low, high := &o.src.addr, &o.dst.addr
		if swapped = behind(low, high, ports) != 0; swapped {
			low, high, ports = high, low, bits.RotateLeft32(ports, 16)
		}
		k.k0, k.k1 = s.digest(low, high), k.k1|family6
	} else {
		le := binary.LittleEndian
		ends := uint64(le.Uint32(o.src.addr[:])) | uint64(le.Uint32(o.dst.addr[:]))<<32
		turned := bits.RotateLeft64(ends, 32)
		if swapped = turned < ends || turned == ends && bits.RotateLeft32(ports, 16) < ports; swapped {
			ends, ports = turned, bits.RotateLeft32(ports, 16)
		}
		k.k0, k.k1 = ends, k.k1|family4
	}
	k.k1 |= uint64(ports) << 32
	return k, s.hash(k.k0, k.k1), swapped
}

// foldOf is FlowFold of packets of one way.
func foldOf(o *oneWay, proto uint8) uint16 {
	le := binary.LittleEndian
	x := le.Uint64(o.src.addr[:]) ^ le.Uint64(o.src.addr[8:]) ^ le.Uint64(o.dst.addr[:]) ^ le.Uint64(o.dst.addr[8:])
	if proto == packet.ProtoTCP || proto == packet.ProtoUDP {
		x ^= uint64(o.portsLE())
	}
	x ^= x >> 32
	return bits.ReverseBytes16(uint16(x>>16 ^ x))
}

// way returns what the packets of a flow's direction have as they come in. i is the
// flow's twin.
func (t *Table) way(flow, i uint32, dir int) oneWay {
	if dir == Reply {
		w := t.twin(i)
		return oneWayOf(w.key, &w.ends, w.flags&origSwapped != 0)
	}
	f, a := t.flow(flow), &addresses{}
	if t.isIPv6(flow) {
		a = &t.addresses[flow-t.first6]
	}
	return oneWayOf(f.key, a, f.flags&origSwapped != 0)
}

// replyOf returns the reply tuple of a translated flow.
func (t *Table) replyOf(flow uint32) Tuple {
	o := t.way(flow, t.translation(flow), Reply)
	return Tuple{
		t.addressOf(&o.src, flow), t.addressOf(&o.dst, flow),
		bits.ReverseBytes16(o.src.portLE), bits.ReverseBytes16(o.dst.portLE),
	}
}

func (t *Table) addressOf(e *endpoint, flow uint32) netip.Addr {
	if t.isIPv6(flow) {
		return netip.AddrFrom16(e.addr)
	}
	return netip.AddrFrom4([4]byte(e.addr[:4]))
}

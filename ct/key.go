package ct

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"unsafe"

	"ffwd/packet"
)

// Secret keys the hash of every table in this process, so that nobody outside
// can choose tuples that collide. Source: CT-8.
type Secret [6]uint64

// NewSecret draws a secret from the system's random source.
func NewSecret() Secret {
	var raw [48]byte
	rand.Read(raw[:]) // never fails, by its documentation
	var s Secret
	for i := range s {
		s[i] = binary.LittleEndian.Uint64(raw[8*i:])
	}
	return s
}

// A Key is a flow's tuple in canonical form, the same for both directions: one
// end (address, port), called the low one, comes first. Which it is does not
// matter as long as both directions agree. Addresses and ports are as on the
// wire, loaded as little-endian numbers, so the first is in the lower bits.
//
//	IPv4  k0: high address 32 | low address 32
//	IPv6  k0: keyed digest of the low and high address; the addresses themselves
//	      are compared from a side table
//	both  k1: high port 16 | low port 16 | zone 16 | protocol 8 | family 8
//
// An ICMP query has its identifier for a port at the asking end, and type and code
// at the other. Protocols without ports have zeroes.
type key struct{ k0, k1 uint64 }

const (
	family4 = 4
	family6 = 6
)

func (k key) isIPv4() bool    { return uint8(k.k1) == family4 }
func (k key) proto() uint8    { return uint8(k.k1 >> 8) }
func (k key) zone() uint16    { return uint16(k.k1 >> 16) }
func (k key) lowPort() uint16 { return bits.ReverseBytes16(uint16(k.k1 >> 32)) }
func (k key) hiPort() uint16  { return bits.ReverseBytes16(uint16(k.k1 >> 48)) }

// mum multiplies to 128 bits and folds.
func mum(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// hash mixes a key with the secret. Two folded multiplications; an attacker who
// does not know the secret can neither predict nor align any of the factors.
func (s *Secret) hash(k0, k1 uint64) uint64 {
	return mum(mum(k0^s[0], k1^s[1])^s[2], s[3]|1)
}

// Tuples sets the flow keys and hashes of the packets that can have a flow.
//
// zones gives the conntrack zone of each ingress interface. Any worker may call it.
func (s *Secret) Tuples(b *packet.Burst, zones []uint16) {
	s0, s1, s2, s3 := s[0], s[1], s[2], s[3]|1
	pkts, others := b.Live(), false
	for i := range pkts {
		p := &pkts[i]
		if p.Flags&(packet.HasPorts|packet.IsIPv6|packet.Broken) != packet.HasPorts {
			others = true
			continue
		}
		k0, ports, swapped := canonical(binary.LittleEndian.Uint64(p.IPv4()[12:]), p.PortsLE)
		p.Flags |= uint8(swapped) * packet.KeySwapped
		k1 := uint64(ports)<<32 | uint64(zones[p.Ingress])<<16 | uint64(p.Proto)<<8 | family4
		p.Key0, p.Key1 = k0, k1
		p.Hash = mum(mum(k0^s0, k1^s1)^s2, s3) // as in hash
	}
	if !others {
		return
	}
	for i := range pkts {
		if p := &pkts[i]; p.Verdict == packet.Continue && p.Flags&(packet.HasPorts|packet.IsIPv6|packet.Broken) != packet.HasPorts {
			s.tuple(p, zones[p.Ingress])
			b.Strays = b.Strays || Quotes(p)
		}
	}
}

// canonical puts the low end of an IPv4 tuple first. Directions come in any order: a branch
// would be mispredicted half the time, so all of this is arithmetic. Of a host that talks to
// itself the ports decide.
func canonical(ends uint64, ports uint32) (k0 uint64, sorted uint32, swapped uint64) {
	turned, portsTurned := bits.RotateLeft64(ends, 32), bits.RotateLeft32(ports, 16)
	_, swapped = bits.Sub64(turned, ends, 0)
	if turned == ends {
		_, swapped = bits.Sub64(uint64(portsTurned), uint64(ports), 0)
	}
	if swapped != 0 {
		ports = portsTurned
	}
	return min(ends, turned), ports, swapped
}

// plainKeys4 sets Key0, Key1, Hash and KeySwapped of TCP and UDP packets in untagged frames,
// of IPv4 without options, that came in one zone.
func (s *Secret) plainKeys4(heads []packet.Head, zone uint16) {
	const addresses, ports = packet.EthernetLen + 12, packet.EthernetLen + packet.IPv4HeaderLen
	for i := range heads {
		p := &heads[i]
		f := (*[ports + 4]byte)(p.Data)
		k0, sorted, swapped := canonical(binary.LittleEndian.Uint64(f[addresses:]), binary.LittleEndian.Uint32(f[ports:]))
		p.Flags |= uint8(swapped) * packet.KeySwapped
		p.Key0, p.Key1 = k0, uint64(sorted)<<32|uint64(zone)<<16|uint64(p.Proto)<<8|family4
		p.Hash = s.hash(p.Key0, p.Key1)
	}
}

// plainKeys6 is plainKeys4 for IPv6 without extension headers.
func (s *Secret) plainKeys6(heads []packet.Head, zone uint16) {
	for i := range heads {
		p := &heads[i]
		p.PortsLE = binary.LittleEndian.Uint32((*[4]byte)(unsafe.Add(p.Data, packet.EthernetLen+packet.IPv6HeaderLen))[:])
		s.key6(p, zone)
	}
}

// tuple sets the key of a packet that is not of the common kind: IPv6, without
// ports, or an ICMP error, which has the key of the packet it quotes. Broken packets
// have none, and fragments none yet, see Fragments.
func (s *Secret) tuple(p *packet.Packet, zone uint16) {
	switch {
	case p.Flags&(packet.IsFragment|packet.Broken) != 0:
		return
	case p.Flags&packet.HasPorts == 0 && (p.Proto == packet.ProtoICMP || p.Proto == packet.ProtoICMPv6):
		if isError(p.Proto, p.Transport()[0]) {
			s.quoteKey(p, zone)
		}
		return
	case p.Is(packet.IsIPv6):
		s.key6(&p.Head, zone)
		return
	}
	s.tuple4(p, zone)
}

func (s *Secret) tuple4(p *packet.Packet, zone uint16) {
	ends, ports := binary.LittleEndian.Uint64(p.IPv4()[12:]), p.PortsLE
	turned := bits.RotateLeft64(ends, 32)
	if turned < ends || turned == ends && bits.RotateLeft32(ports, 16) < ports {
		p.Flags |= packet.KeySwapped
		ends, ports = turned, bits.RotateLeft32(ports, 16)
	}
	p.Key0, p.Key1 = ends, uint64(ports)<<32|uint64(zone)<<16|uint64(p.Proto)<<8|family4
	p.Hash = s.hash(p.Key0, p.Key1)
}

func (s *Secret) key6(p *packet.Head, zone uint16) {
	src := unsafe.Pointer(p.IPv6().Src()) // and behind it the destination
	ports := p.PortsLE
	swap := behind((*[16]byte)(src), (*[16]byte)(unsafe.Add(src, 16)), ports)
	low, high := (*[16]byte)(unsafe.Add(src, 16*swap)), (*[16]byte)(unsafe.Add(src, 16-16*swap))
	p.Flags |= uint8(swap) * packet.KeySwapped
	p.Key0 = s.digest(low, high)
	p.Key1 = uint64(bits.RotateLeft32(ports, int(16*swap)))<<32 | uint64(zone)<<16 | uint64(p.Proto)<<8 | family6
	p.Hash = s.hash(p.Key0, p.Key1)
}

// behind returns 1 if end a sorts behind end b, else 0; ports are those of a and b. It is
// the borrow of b - a: as directions come in any order, a branch would be mispredicted.
func behind(a, b *[16]byte, ports uint32) uint64 {
	be := binary.BigEndian
	_, borrow := bits.Sub64(uint64(bits.RotateLeft32(ports, 16)), uint64(ports), 0)
	_, borrow = bits.Sub64(be.Uint64(b[8:]), be.Uint64(a[8:]), borrow)
	_, borrow = bits.Sub64(be.Uint64(b[:]), be.Uint64(a[:]), borrow)
	return borrow
}

// digest is a keyed 64-bit digest of an ordered pair of IPv6 addresses.
func (s *Secret) digest(low, high *[16]byte) uint64 {
	le := binary.LittleEndian
	return mum(le.Uint64(low[:])^s[0], le.Uint64(low[8:])^s[4]) ^
		bits.RotateLeft64(mum(le.Uint64(high[:])^s[1], le.Uint64(high[8:])^s[5]), 32)
}

// Owner returns which of n workers owns flows with this hash. The bits it takes
// are neither those of the bucket nor those of the tag.
func Owner(hash uint64, n int) int {
	return int(uint64(uint32(hash>>24)) * uint64(n) >> 32)
}

// Tuple is one direction of a flow, for listings.
type Tuple struct {
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
}

package capture

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"ffwd/packet"
)

// Source ports come from the whole range above the well-known ones.
const (
	firstPort = 1024
	portRange = 1<<16 - firstPort

	// portStep has no factor in common with portRange, so that the ports of one
	// source are all different until the range is used up.
	portStep = 40507
)

// services are the destination ports of flows: none that a protocol analyser takes
// for a protocol that the payload is not.
var services = [...]uint16{20001, 20011, 20021, 20031, 20041, 20051, 20061, 20071}

// flowSet numbers the flows of a Spec: flow i comes from source i mod Sources, by
// that source's (i / Sources)th port. So no two flows have one tuple, and no table
// of them is needed.
type flowSet struct {
	spec        *Spec
	first       uint32 // shifts every source's ports
	destination uint64 // odd multiplier that spreads flows over destinations
	src, dst    addressSet
}

func newFlowSet(s *Spec) *flowSet {
	random := rand.New(rand.NewPCG(s.Seed, addressStream))
	return &flowSet{
		spec:        s,
		first:       random.Uint32N(portRange),
		destination: random.Uint64() | 1,
		src:         newAddressSet(random, s.SrcNet),
		dst:         newAddressSet(random, s.DstNet),
	}
}

// tuple returns the first direction of a flow.
func (f *flowSet) tuple(flow int) Tuple {
	source, nth := uint32(flow%f.spec.Sources), uint64(flow/f.spec.Sources)
	spread := uint64(flow) * f.destination >> 16
	port := firstPort + (uint64(f.first)+uint64(source)+nth*portStep)%portRange
	destination := uint32(spread % uint64(f.spec.Destinations))
	if f.spec.Destinations >= f.spec.Flows {
		destination = uint32(flow)
	}
	t := Tuple{
		Protocol: packet.ProtoUDP,
		Src:      netip.AddrPortFrom(f.src.address(source), uint16(port)),
		Dst:      netip.AddrPortFrom(f.dst.address(destination), services[spread>>32%uint64(len(services))]),
	}
	if f.spec.Protocol == TCP || f.spec.Protocol == Mix && flow%2 == 1 {
		t.Protocol = packet.ProtoTCP
	}
	return t
}

// addressSet maps small numbers to different addresses all over a network.
type addressSet struct {
	ipv6     bool
	base     [16]byte // IPv4: the first four bytes
	bits     int      // how many bits vary
	mul, add uint32
	at       int // IPv6: bits to the right of the varying ones, in the upper or lower half
}

// variableBits returns how many address bits differ within an addressSet: those
// right behind the prefix, where routing tables look.
func variableBits(net netip.Prefix) int {
	return min(net.Addr().BitLen()-net.Bits(), 32)
}

func newAddressSet(random *rand.Rand, net netip.Prefix) addressSet {
	net = net.Masked()
	a := addressSet{ipv6: net.Addr().Is6(), bits: variableBits(net), mul: random.Uint32() | 1, add: random.Uint32()}
	if a.ipv6 {
		a.base = net.Addr().As16()
		a.at = 128 - net.Bits() - a.bits
		if a.at > 0 {
			a.base[15] |= 1 // an interface, not the subnet's anycast address
		}
		return a
	}
	v4 := net.Addr().As4()
	copy(a.base[:], v4[:])
	return a
}

// address returns the nth address.
func (a *addressSet) address(n uint32) netip.Addr {
	host := a.scatter(n)
	if !a.ipv6 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(a.base[:])|host)
		return netip.AddrFrom4(b)
	}
	b := a.base
	hi, lo := binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])
	if a.at >= 64 {
		hi |= uint64(host) << (a.at - 64)
	} else {
		hi |= uint64(host) >> (64 - a.at) // none when at is 0: a shift by 64
		lo |= uint64(host) << a.at
	}
	binary.BigEndian.PutUint64(b[:], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	return netip.AddrFrom16(b)
}

// scatter permutes the numbers of a.bits bits: odd multiplication, addition and
// xor-shift can all be undone.
func (a *addressSet) scatter(n uint32) uint32 {
	if a.bits == 0 {
		return 0
	}
	mask := uint32(1<<a.bits - 1)
	n = (n*a.mul + a.add) & mask
	n ^= n >> ((a.bits + 1) / 2)
	return n * a.mul & mask
}

package conf

import (
	"net/netip"
	"slices"
)

// Address blocks that are no host's.
var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")   // RFC 791 section 3.2
	classE      = netip.MustParsePrefix("240.0.0.0/4") // RFC 1112 section 4, limited broadcast included
)

// hostFault says why an address cannot be a host's, or "".
// Source: RFC 1812 5.3.7, RFC 4291 section 2.5; FF-4.
func hostFault(a netip.Addr) string {
	switch {
	case a.Is4In6():
		return "is an IPv4-mapped IPv6 address; write the IPv4 address"
	case a.IsUnspecified():
		return "is the unspecified address"
	case a.IsLoopback():
		return "is a loopback address"
	case a.IsMulticast():
		return "is a multicast address"
	case thisNetwork.Contains(a):
		return "is in 0.0.0.0/8 (RFC 791)"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is the limited broadcast address"
	case classE.Contains(a):
		return "is in 240.0.0.0/4, reserved (RFC 1112)"
	}
	return ""
}

// subnetFault says why an address cannot be a host's in its subnet, or "".
func subnetFault(p netip.Prefix) string {
	a := p.Addr()
	hostBits := a.BitLen() - p.Bits()
	if hostBits < 2 {
		return "" // RFC 3021, RFC 6164: a point-to-point link has neither
	}
	switch {
	case a == p.Masked().Addr() && a.Is6():
		return "is the subnet-router anycast address (RFC 4291 section 2.6.1)"
	case a.Is4() && a == lastAddr(p):
		return "is the broadcast address of its subnet"
	}
	return ""
}

// lastAddr is the highest address of an IPv4 prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// connected holds the subnets that ports are on, by VRF. Lookups try each prefix
// length in use, of which there are few.
type connected struct {
	subnets map[subnetKey][]interfaceAddr
	lengths map[familyKey][]int // longest first
	hosts   map[hostKey]interfaceAddr
}

type (
	subnetKey struct {
		vrf    int
		subnet netip.Prefix
	}
	familyKey struct {
		vrf int
		is4 bool
	}
	hostKey struct {
		vrf  int
		addr netip.Addr
	}
	// linkLocalKey: such an address is unique on its port only.
	linkLocalKey struct {
		port int
		addr netip.Addr
	}
	// interfaceAddr is an address of a port: ports[port].addresses[index].
	interfaceAddr struct{ port, index int }
)

func (at interfaceAddr) path() string {
	return element(element("ports", at.port)+".addresses", at.index)
}

// add takes in a valid address; it must not be link-local, which says nothing
// without its port.
func (n *connected) add(vrf int, p netip.Prefix, at interfaceAddr) {
	if n.subnets == nil {
		n.subnets = map[subnetKey][]interfaceAddr{}
		n.lengths = map[familyKey][]int{}
		n.hosts = map[hostKey]interfaceAddr{}
	}
	key := subnetKey{vrf, p.Masked()}
	n.subnets[key] = append(n.subnets[key], at)
	family := familyKey{vrf, p.Addr().Is4()}
	if lengths := n.lengths[family]; !slices.Contains(lengths, p.Bits()) {
		lengths = append(lengths, p.Bits())
		slices.SortFunc(lengths, func(a, b int) int { return b - a })
		n.lengths[family] = lengths
	}
	n.hosts[hostKey{vrf, p.Addr()}] = at
}

// find returns the longest connected subnet of the VRF that holds a and is no
// longer than maxBits, and the addresses on it.
func (n *connected) find(vrf int, a netip.Addr, maxBits int) (netip.Prefix, []interfaceAddr) {
	for _, length := range n.lengths[familyKey{vrf, a.Is4()}] {
		if length > maxBits {
			continue
		}
		subnet, err := a.Prefix(length)
		if err != nil {
			continue
		}
		if on := n.subnets[subnetKey{vrf, subnet}]; len(on) > 0 {
			return subnet, on
		}
	}
	return netip.Prefix{}, nil
}

// addresses checks the ports' addresses and fills nets.
func (v *validator) addresses() {
	linkLocal := map[linkLocalKey]bool{}
	for i := range v.c.Ports {
		p := &v.c.Ports[i]
		for j, prefix := range p.Addresses {
			here := interfaceAddr{i, j}
			if fault := addressFault(prefix); fault != "" {
				v.faults.add(here.path(), "%s %s", prefix, fault)
				continue
			}
			a := prefix.Addr()
			if a.IsLinkLocalUnicast() && a.Is6() {
				if linkLocal[linkLocalKey{i, a}] {
					v.faults.add(here.path(), "%s is listed twice", a)
				}
				linkLocal[linkLocalKey{i, a}] = true
				continue
			}
			if other, taken := v.nets.hosts[hostKey{p.VRF, a}]; taken {
				v.faults.add(here.path(), "%s is %s already", a, other.path())
				continue
			}
			v.nets.add(p.VRF, prefix, here)
		}
	}
	for i := range v.c.Ports {
		for j := range v.c.Ports[i].Addresses {
			v.overlap(interfaceAddr{i, j})
		}
	}
}

func addressFault(p netip.Prefix) string {
	if !p.IsValid() {
		return "is not an address with a prefix length"
	}
	if fault := hostFault(p.Addr()); fault != "" {
		return fault
	}
	if p.Bits() == 0 {
		return "has no subnet; a length of 0 holds every address"
	}
	if p.Addr().Is4() && p.Bits() < 31 && p.Addr() == p.Masked().Addr() {
		// A host may have it, but who writes it here meant the subnet.
		return "is the network's own address, not a host's"
	}
	return subnetFault(p)
}

// overlap notes an address whose subnet is also, or is within, that of another
// port of the VRF: it would be unclear by which port the addresses they share are
// reached. Of two equal subnets the later is at fault, else the longer.
func (v *validator) overlap(here interfaceAddr) {
	p := &v.c.Ports[here.port]
	prefix := p.Addresses[here.index]
	if at, ok := v.nets.hosts[hostKey{p.VRF, prefix.Addr()}]; !ok || at != here {
		return // not taken in, for a fault of its own
	}
	for maxBits := prefix.Bits(); ; {
		subnet, on := v.nets.find(p.VRF, prefix.Addr(), maxBits)
		if len(on) == 0 {
			return
		}
		if on[0].port != here.port {
			v.faults.add(here.path(), "%s overlaps %s of %s", prefix, subnet, on[0].path())
			return
		}
		maxBits = subnet.Bits() - 1
	}
}

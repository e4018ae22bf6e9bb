package slowpath

import (
	"encoding/binary"
	"iter"
	"math"
	"net/netip"

	"golang.org/x/sys/unix"
)

// message is one netlink message; data is what follows its header.
//
//	0 len uint32   4 type uint16   6 flags uint16   8 seq uint32   12 pid uint32
//
// Source: struct nlmsghdr of netlink(7), in host order.
type message struct {
	kind, flags uint16
	seq         uint32
	data        []byte
}

// messages iterates over the messages of a datagram. What is cut short ends it.
func messages(data []byte) iter.Seq[message] {
	return func(yield func(message) bool) {
		for len(data) >= unix.NLMSG_HDRLEN {
			ne := binary.NativeEndian
			n := int(ne.Uint32(data))
			if n < unix.NLMSG_HDRLEN || n > len(data) {
				return
			}
			if !yield(message{ne.Uint16(data[4:]), ne.Uint16(data[6:]), ne.Uint32(data[8:]), data[unix.NLMSG_HDRLEN:n]}) {
				return
			}
			data = data[min(len(data), align4(n)):]
		}
	}
}

func align4(n int) int { return (n + 3) &^ 3 }

// attributes iterates over the attributes behind a message's fixed part. The
// flags in the type's upper bits are left out. Source: struct rtattr of rtnetlink(7).
func attributes(data []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(data) >= unix.SizeofRtAttr {
			n := int(binary.NativeEndian.Uint16(data))
			if n < unix.SizeofRtAttr || n > len(data) {
				return
			}
			kind := binary.NativeEndian.Uint16(data[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if !yield(kind, data[unix.SizeofRtAttr:n]) {
				return
			}
			data = data[min(len(data), align4(n)):]
		}
	}
}

// u32 reads a number; what is too short is 0.
func u32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

// address reads an address of 4 or 16 bytes; anything else is invalid.
func address(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

// prefixOf makes the canonical prefix of a destination, which is left out when
// its length is 0.
func prefixOf(family uint8, dst []byte, bits uint8) (p netip.Prefix, ok bool) {
	a := address(dst)
	switch {
	case family == unix.AF_INET && len(dst) == 0:
		a = netip.IPv4Unspecified()
	case family == unix.AF_INET6 && len(dst) == 0:
		a = netip.IPv6Unspecified()
	case family == unix.AF_INET && !a.Is4(), family == unix.AF_INET6 && !a.Is6():
		return p, false
	}
	p, err := a.Prefix(int(bits))
	return p, err == nil
}

// kernelHop is one way of a kernel route or nexthop object.
type kernelHop struct {
	via     netip.Addr // invalid: on link
	ifIndex uint32
	weight  uint32 // from 1
	dead    bool   // its interface is down
	encap   bool   // into a tunnel or with labels: nothing for us
}

// routeMessage is an RTM_NEWROUTE or RTM_DELROUTE. Source: rtnetlink(7).
type routeMessage struct {
	prefix   netip.Prefix
	table    uint32
	metric   uint32
	nexthop  uint32 // of RTA_NH_ID, 0: the hops are here
	variant  uint32 // a hash of what tells it from another and is nothing to us
	mtuBytes uint16 // 0: none of its own
	tos      uint8
	protocol uint8
	kind     uint8 // RTN_*
	cloned   bool  // of the cache, no route
	hops     []kernelHop
}

const (
	sizeofRtMsg  = 12 // struct rtmsg
	rtaNexthopID = 30 // RTA_NH_ID
)

// parse reads a message into m, whose slice it uses again. It reports whether
// that is an IPv4 or IPv6 route.
func (m *routeMessage) parse(b []byte) bool {
	if len(b) < sizeofRtMsg {
		return false
	}
	family, bits := b[0], b[1]
	*m = routeMessage{tos: b[3], table: uint32(b[4]), protocol: b[5], kind: b[7], hops: m.hops[:0]}
	flags := u32(b[8:])
	m.cloned = flags&unix.RTM_F_CLONED != 0
	single := kernelHop{weight: 1, dead: flags&unix.RTNH_F_DEAD != 0}
	var dst, multipath []byte
	m.variant = mix(fnvOffset, b[6:7]) // scope
	for kind, value := range attributes(b[sizeofRtMsg:]) {
		switch kind {
		case unix.RTA_DST:
			dst = value
		case unix.RTA_TABLE:
			m.table = u32(value)
		case unix.RTA_PRIORITY:
			m.metric = u32(value)
		case rtaNexthopID:
			m.nexthop = u32(value)
		case unix.RTA_MULTIPATH:
			multipath = value
		case unix.RTA_METRICS:
			m.variant = mix(m.variant, value)
			m.mtuBytes = routeMTU(family, value)
		case unix.RTA_PREFSRC, unix.RTA_FLOW:
			m.variant = mix(m.variant, value)
		default:
			single.attribute(kind, value)
		}
	}
	if single.ifIndex != 0 {
		m.hops = append(m.hops, single)
	}
	m.parseMultipath(multipath)
	var ok bool
	m.prefix, ok = prefixOf(family, dst, bits)
	return ok
}

// routeMTU reads the MTU among a route's metrics, 0 if there is none. What is less
// than the family allows counts as the least that it does, as in the kernel for IPv6.
// A locked one (RTAX_LOCK) says the same to packets that are forwarded.
func routeMTU(family uint8, metrics []byte) uint16 {
	for kind, value := range attributes(metrics) {
		if mtu := u32(value); kind == unix.RTAX_MTU && mtu != 0 {
			least := uint32(leastMTU4)
			if family == unix.AF_INET6 {
				least = leastMTU6
			}
			return uint16(min(max(mtu, least), math.MaxUint16))
		}
	}
	return 0
}

// Source: RFC 791, RFC 8200 section 5.
const (
	leastMTU4 = 68
	leastMTU6 = 1280
)

// Source: FNV-1a, 32 bits.
const (
	fnvOffset = 2166136261
	fnvPrime  = 16777619
)

func mix(hash uint32, b []byte) uint32 {
	for _, c := range b {
		hash = (hash ^ uint32(c)) * fnvPrime
	}
	return hash
}

// parseMultipath reads the hops of RTA_MULTIPATH.
//
//	0 len uint16   2 flags uint8   3 weight-1 uint8   4 ifindex uint32   8 attributes
func (m *routeMessage) parseMultipath(b []byte) {
	const header = unix.SizeofRtNexthop
	for len(b) >= header {
		n := int(binary.NativeEndian.Uint16(b))
		if n < header || n > len(b) {
			return
		}
		h := kernelHop{ifIndex: u32(b[4:]), weight: uint32(b[3]) + 1, dead: b[2]&unix.RTNH_F_DEAD != 0}
		for kind, value := range attributes(b[header:n]) {
			h.attribute(kind, value)
		}
		m.hops = append(m.hops, h)
		b = b[min(len(b), align4(n)):]
	}
}

// attribute reads what a route and a member of RTA_MULTIPATH have in common.
func (h *kernelHop) attribute(kind uint16, value []byte) {
	switch kind {
	case unix.RTA_OIF:
		h.ifIndex = u32(value)
	case unix.RTA_GATEWAY:
		h.via = address(value)
	case unix.RTA_VIA: // another family's: struct rtvia. Source: RFC 8950
		if len(value) > 2 {
			h.via = address(value[2:])
		}
	case unix.RTA_ENCAP, unix.RTA_ENCAP_TYPE, unix.RTA_NEWDST:
		h.encap = true
	}
}

// nexthopMessage is an RTM_NEWNEXTHOP or RTM_DELNEXTHOP.
// Source: include/uapi/linux/nexthop.h.
type nexthopMessage struct {
	id        uint32
	hop       kernelHop
	group     []groupMember
	blackhole bool
	fdb       bool // of a bridge, no route's
}

type groupMember struct{ id, weight uint32 }

const (
	sizeofNhMsg      = 8
	nhaFDB           = 11 // NHA_FDB
	sizeofGroupEntry = 8
)

func parseNexthop(b []byte) (m nexthopMessage, ok bool) {
	if len(b) < sizeofNhMsg {
		return m, false
	}
	m.hop = kernelHop{weight: 1, dead: u32(b[4:])&unix.RTNH_F_DEAD != 0}
	for kind, value := range attributes(b[sizeofNhMsg:]) {
		switch kind {
		case unix.NHA_ID:
			m.id = u32(value)
		case unix.NHA_OIF:
			m.hop.ifIndex = u32(value)
		case unix.NHA_GATEWAY:
			m.hop.via = address(value)
		case unix.NHA_BLACKHOLE:
			m.blackhole = true
		case nhaFDB:
			m.fdb = true
		case unix.NHA_ENCAP, unix.NHA_ENCAP_TYPE:
			m.hop.encap = true
		case unix.NHA_GROUP: // id uint32, weight-1 uint8, its high byte, 2 unused
			for ; len(value) >= sizeofGroupEntry; value = value[sizeofGroupEntry:] {
				weight := uint32(value[4]) | uint32(value[5])<<8
				m.group = append(m.group, groupMember{u32(value), weight + 1})
			}
		}
	}
	return m, m.id != 0
}

// addressMessage is an RTM_NEWADDR or RTM_DELADDR.
type addressMessage struct {
	ifIndex uint32
	subnet  netip.Prefix // the address, with the length of its subnet
	routed  netip.Prefix // as subnet; with the length of a host when no route to the subnet comes with it
	pending bool         // its uniqueness is not known yet, or it is taken
}

func parseAddress(b []byte) (m addressMessage, ok bool) {
	if len(b) < unix.SizeofIfAddrmsg {
		return m, false
	}
	bits, flags := int(b[1]), uint32(b[2])
	m.ifIndex = u32(b[4:])
	var local, peer netip.Addr
	for kind, value := range attributes(b[unix.SizeofIfAddrmsg:]) {
		switch kind {
		case unix.IFA_LOCAL:
			local = address(value)
		case unix.IFA_ADDRESS: // the peer's on a link of two; else the same, or the only one
			peer = address(value)
		case unix.IFA_FLAGS:
			flags = u32(value)
		}
	}
	if !local.IsValid() {
		local = peer
	}
	if !local.IsValid() || bits > local.BitLen() {
		return m, false
	}
	m.subnet = netip.PrefixFrom(local, bits)
	m.routed = m.subnet
	if peer.IsValid() && peer != local {
		m.subnet = netip.PrefixFrom(local, local.BitLen()) // the length is the peer's
		m.routed = m.subnet
	} else if flags&unix.IFA_F_NOPREFIXROUTE != 0 {
		m.routed = netip.PrefixFrom(local, local.BitLen()) // the subnet is a route of its own, if any
	}
	m.pending = flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 && flags&unix.IFA_F_OPTIMISTIC == 0
	return m, true
}

// linkMessage is an RTM_NEWLINK or RTM_DELLINK.
type linkMessage struct {
	ifIndex uint32
	name    string
	state   uint32 // up by the administrator, carrier: what makes hops live and die
}

func parseLink(b []byte) (m linkMessage, ok bool) {
	// PF_BRIDGE has messages of the same type about its ports.
	if len(b) < unix.SizeofIfInfomsg || b[0] != unix.AF_UNSPEC {
		return m, false
	}
	m.ifIndex, m.state = u32(b[4:]), u32(b[8:])&(unix.IFF_UP|unix.IFF_RUNNING|unix.IFF_LOWER_UP)
	for kind, value := range attributes(b[unix.SizeofIfInfomsg:]) {
		if kind == unix.IFLA_IFNAME && len(value) > 0 {
			m.name = unix.ByteSliceToString(value)
		}
	}
	return m, m.ifIndex != 0 && m.name != ""
}

// neighbourMessage is an RTM_NEWNEIGH or RTM_DELNEIGH.
type neighbourMessage struct {
	ifIndex uint32
	state   uint16 // NUD_*
	addr    netip.Addr
	mac     [6]byte
	hasMAC  bool
	proxy   bool // no neighbour: whom we answer for
}

const sizeofNdMsg = 12

func parseNeighbour(b []byte) (m neighbourMessage, ok bool) {
	if len(b) < sizeofNdMsg || b[0] != unix.AF_INET && b[0] != unix.AF_INET6 {
		return m, false
	}
	m.ifIndex, m.state = u32(b[4:]), binary.NativeEndian.Uint16(b[8:])
	m.proxy = b[10]&unix.NTF_PROXY != 0
	for kind, value := range attributes(b[sizeofNdMsg:]) {
		switch kind {
		case unix.NDA_DST:
			m.addr = address(value)
		case unix.NDA_LLADDR:
			if len(value) == len(m.mac) {
				m.mac, m.hasMAC = [6]byte(value), true
			}
		}
	}
	return m, m.addr.IsValid()
}

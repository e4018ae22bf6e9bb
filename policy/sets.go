package policy

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// maskedAddr is a prefix as two machine words of value and mask. They are loaded
// in the machine's byte order, which is as good as any for masking and comparing
// and spares the byte swap. IPv4 has 96 leading bits that are zero everywhere.
type maskedAddr struct{ value, mask [2]uint64 }

func newMaskedAddr(p netip.Prefix) maskedAddr {
	addr, mask := prefixBytes(p)
	return maskedAddr{value: nativeWords(&addr), mask: nativeWords(&mask)}
}

// prefixBytes is a prefix as Key has addresses.
func prefixBytes(p netip.Prefix) (addr, mask [16]byte) {
	bits := p.Bits()
	if p.Addr().Is4() {
		a := p.Addr().As4()
		copy(addr[12:], a[:])
		bits += 96
	} else {
		addr = p.Addr().As16()
	}
	for i := range bits {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return addr, mask
}

func nativeWords(b *[16]byte) [2]uint64 {
	return [2]uint64{binary.NativeEndian.Uint64(b[:8]), binary.NativeEndian.Uint64(b[8:])}
}

// fewMembers is how many members of a list are looked at one after the other.
const fewMembers = 8

// addrSet is a list of prefixes: as they are if they are few, else as the ranges that they
// are together, disjoint and ascending. The empty set holds all.
type addrSet struct {
	few   []maskedAddr
	first []wide
	last  []wide
}

func newAddrSet(list []netip.Prefix) (s addrSet) {
	if len(list) <= fewMembers {
		for _, p := range list {
			s.few = append(s.few, newMaskedAddr(p))
		}
		return s
	}
	ranges := addrRanges(list)
	slices.SortFunc(ranges, func(a, b [2]wide) int { return a[0].compare(b[0]) })
	for _, r := range ranges {
		n := len(s.last)
		if n > 0 {
			behind, more := s.last[n-1].next()
			if !more || !behind.less(r[0]) { // it begins within the one before, or right behind
				if s.last[n-1].less(r[1]) {
					s.last[n-1] = r[1]
				}
				continue
			}
		}
		s.first, s.last = append(s.first, r[0]), append(s.last, r[1])
	}
	return s
}

func (s *addrSet) any() bool { return len(s.few)+len(s.first) == 0 }

func (s *addrSet) has(addr *[16]byte) bool {
	if len(s.first) > 0 {
		v := wideOf(addr)
		at := segmentOf(s.first, v)
		return at >= 0 && !s.last[at].less(v)
	}
	if len(s.few) == 0 {
		return true
	}
	words := nativeWords(addr)
	for i := range s.few {
		m := &s.few[i]
		if (words[0]^m.value[0])&m.mask[0]|(words[1]^m.value[1])&m.mask[1] == 0 {
			return true
		}
	}
	return false
}

// anyRangeHas looks in the upper or the lower half of what is left until few are.
func anyRangeHas(list []PortRange, port uint16) bool {
	if len(list) == 0 {
		return true
	}
	for len(list) > fewMembers {
		if half := len(list) / 2; list[half].First <= port {
			list = list[half:]
		} else {
			list = list[:half]
		}
	}
	for _, r := range list {
		if r.First <= port && port <= r.Last {
			return true
		}
	}
	return false
}

// portSet is a set of interface indices, one bit each; nil holds all. An index
// that the set is too short for is not in it.
type portSet []uint64

func (s portSet) has(port uint16) bool {
	if s == nil {
		return true
	}
	word := int(port / 64)
	return word < len(s) && s[word]>>(port%64)&1 != 0
}

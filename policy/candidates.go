package policy

import (
	"encoding/binary"
	"net/netip"
	"sort"
)

// candidates are the rules that can match a packet of one hook, family and
// protocol, in rule order. heads[i] and details[i] are of the same rule; a nil
// detail means that the head says it all. Lists share the details.
type candidates struct {
	heads   []head
	details []*detail
}

func (c *candidates) add(h head, d *detail) {
	c.heads = append(c.heads, h)
	c.details = append(c.details, d)
}

// span is the numbers first..first+width, tested with one comparison: below first
// the difference wraps around. For a list it is the hull, and the list itself is
// in the detail.
type span struct{ first, width uint16 }

var anySpan = span{0, 0xffff}

func newSpan(first, last uint16) span { return span{first, last - first} }

func (s span) has(n uint16) bool { return n-s.first <= s.width }

// extend returns the hull of the span and first..last.
func (s span) extend(first, last uint16) span {
	return newSpan(min(s.first, first), max(s.first+s.width, last))
}

// head is the part of a rule that is read for every candidate: 28 bytes.
type head struct {
	dstPorts, srcPorts span
	inPorts, outPorts  span
	protocol           int16 // or AnyProtocol; tells apart those that share a list
	states             StateSet
	needsPorts         bool
	action             Action
	index              int32 // in the list given to Compile
}

// detail is the part of a rule that is read only when its head matches. An empty
// list matches all.
type detail struct {
	src, dst           []maskedAddr
	srcPorts, dstPorts []PortRange // nil when the head's span is the whole list
	inPorts, outPorts  portSet     // as above
	mark, ctMark       Bits
}

// match returns the first candidate behind the rule with index after that matches, or
// index -1. After -1 is the whole list.
//
// Nearly all candidates of a long list are told by the destination port, so it
// stands alone before the call. Without ports it may be anything: who asks for
// ports is turned away in matches, and who does not has a span that holds all.
func (c *candidates) match(k *Key, after int) (Action, int) {
	dstPort := k.DstPort
	first := 0
	if after >= 0 {
		first = sort.Search(len(c.heads), func(i int) bool { return int(c.heads[i].index) > after })
	}
	for i := first; i < len(c.heads); i++ {
		h := &c.heads[i]
		if !h.dstPorts.has(dstPort) || !h.matches(k) {
			continue
		}
		if d := c.details[i]; d == nil || d.matches(k) {
			return h.action, int(h.index)
		}
	}
	return Drop, -1
}

// matches tests all of the head but the destination port.
func (h *head) matches(k *Key) bool {
	if h.protocol != int16(k.Protocol) && h.protocol != AnyProtocol {
		return false
	}
	if h.needsPorts && !(k.HasPorts && h.srcPorts.has(k.SrcPort)) {
		return false
	}
	return h.states.Has(k.State) && h.inPorts.has(k.InPort) && h.outPorts.has(k.OutPort)
}

// empty tells whether the detail matches all, and need not be kept.
func (d *detail) empty() bool {
	return len(d.src)+len(d.dst)+len(d.srcPorts)+len(d.dstPorts) == 0 &&
		d.inPorts == nil && d.outPorts == nil && d.mark == Bits{} && d.ctMark == Bits{}
}

func (d *detail) matches(k *Key) bool {
	return d.mark.In(k.Mark) && d.ctMark.In(k.CtMark) && anyHolds(d.src, &k.Src) && anyHolds(d.dst, &k.Dst) &&
		anyRangeHas(d.dstPorts, k.DstPort) && anyRangeHas(d.srcPorts, k.SrcPort) &&
		d.inPorts.has(k.InPort) && d.outPorts.has(k.OutPort)
}

// maskedAddr is a prefix as two machine words of value and mask. They are loaded
// in the machine's byte order, which is as good as any for masking and comparing
// and spares the byte swap. IPv4 has 96 leading bits that are zero everywhere.
type maskedAddr struct{ value, mask [2]uint64 }

func newMaskedAddr(p netip.Prefix) maskedAddr {
	var addr, mask [16]byte
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
	return maskedAddr{value: nativeWords(&addr), mask: nativeWords(&mask)}
}

func nativeWords(b *[16]byte) [2]uint64 {
	return [2]uint64{binary.NativeEndian.Uint64(b[:8]), binary.NativeEndian.Uint64(b[8:])}
}

func anyHolds(list []maskedAddr, addr *[16]byte) bool {
	if len(list) == 0 {
		return true
	}
	words := nativeWords(addr)
	for i := range list {
		m := &list[i]
		if (words[0]^m.value[0])&m.mask[0]|(words[1]^m.value[1])&m.mask[1] == 0 {
			return true
		}
	}
	return false
}

func anyRangeHas(list []PortRange, port uint16) bool {
	if len(list) == 0 {
		return true
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

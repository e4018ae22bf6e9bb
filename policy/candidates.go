package policy

import (
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
	src, dst           addrSet
	srcPorts, dstPorts []PortRange // disjoint, ascending; nil when the head's span is the whole list
	inPorts, outPorts  portSet     // nil as above
	mark, ctMark       Bits
}

// match returns the first candidate behind the rule with index after, and before the one
// with index before, that matches; else index before.
//
// Nearly all candidates of a long list are told by the destination port, so it
// stands alone before the call. Without ports it may be anything: who asks for
// ports is turned away in matches, and who does not has a span that holds all.
func (c *candidates) match(k *Key, after, before int32) (Action, int32) {
	dstPort := k.DstPort
	first := 0
	if after >= 0 {
		first = sort.Search(len(c.heads), func(i int) bool { return c.heads[i].index > after })
	}
	for i := first; i < len(c.heads); i++ {
		h := &c.heads[i]
		if h.index >= before {
			break
		}
		if !h.dstPorts.has(dstPort) || !h.matches(k) {
			continue
		}
		if d := c.details[i]; d == nil || d.matches(k) {
			return h.action, h.index
		}
	}
	return Drop, before
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
	return d.src.any() && d.dst.any() && len(d.srcPorts)+len(d.dstPorts) == 0 &&
		d.inPorts == nil && d.outPorts == nil && d.mark == Bits{} && d.ctMark == Bits{}
}

func (d *detail) matches(k *Key) bool {
	return d.mark.In(k.Mark) && d.ctMark.In(k.CtMark) && d.src.has(&k.Src) && d.dst.has(&k.Dst) &&
		anyRangeHas(d.dstPorts, k.DstPort) && anyRangeHas(d.srcPorts, k.SrcPort) &&
		d.inPorts.has(k.InPort) && d.outPorts.has(k.OutPort)
}

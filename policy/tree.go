package policy

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sort"
)

// node is a part of a candidate list, in a form in which a packet is told from most of its
// rules without looking at them. A leaf is a list. Any other node splits its rules by one
// field: those that name a few values are found by the packet's value, the rest is for all.
//
//	          dst port
//	 ..80 ..  443 ..       rest: rules for any port, or for many
//	  |        |             |
//	leaf    dst address    src address
//	          ...            ...
//
// Both sides are asked, the one with the earlier rule first, and the other one not at all
// if its first rule comes behind the one found. Nothing in it is written after Compile.
// Source: cutting by field as in HiCuts (Gupta and McKeown, "Packet classification using
// hierarchical intelligent cuttings", 1999), without copies of rules for any value.
type node struct {
	first, last int32 // least and greatest index of a rule below

	leaf candidates // field noField

	field    field
	starts   []wide  // where segments of values begin, ascending
	segments []*node // nil: no rule names the values
	named    int32   // least index of a rule in segments
	rest     *node   // nil: no rule
}

// wide is a value of a field: an address, or a small number in lo.
type wide struct{ hi, lo uint64 }

func (a wide) less(b wide) bool { return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo }

func (a wide) compare(b wide) int {
	switch {
	case a.less(b):
		return -1
	case b.less(a):
		return 1
	}
	return 0
}

// next is the value behind a; ok is false behind the last.
func (a wide) next() (b wide, ok bool) {
	b = wide{a.hi, a.lo + 1}
	if b.lo == 0 {
		b.hi++
	}
	return b, b != wide{}
}

// field is what a node splits by.
type field uint8

const (
	noField field = iota
	dstPortField
	dstField
	srcField
	srcPortField
	inField
	outField
	fieldCount
)

// of is the packet's value; ok is false when it has none, and so matches no rule with some.
func (f field) of(k *Key) (v wide, ok bool) {
	switch f {
	case dstPortField:
		return wide{lo: uint64(k.DstPort)}, k.HasPorts
	case srcPortField:
		return wide{lo: uint64(k.SrcPort)}, k.HasPorts
	case dstField:
		return wideOf(&k.Dst), true
	case srcField:
		return wideOf(&k.Src), true
	case inField:
		return wide{lo: uint64(k.InPort)}, true
	}
	return wide{lo: uint64(k.OutPort)}, true
}

func wideOf(addr *[16]byte) wide {
	return wide{binary.BigEndian.Uint64(addr[:8]), binary.BigEndian.Uint64(addr[8:])}
}

// ranges are the values that a rule names, as first and last of each range; none: any.
func (f field) ranges(r *Rule) (list [][2]wide) {
	number := func(first, last uint16) { list = append(list, [2]wide{{lo: uint64(first)}, {lo: uint64(last)}}) }
	var ports []PortRange
	var interfaces []uint16
	var prefixes []netip.Prefix
	switch f {
	case dstPortField:
		ports = r.DstPorts
	case srcPortField:
		ports = r.SrcPorts
	case dstField:
		prefixes = r.Dst
	case srcField:
		prefixes = r.Src
	case inField:
		interfaces = r.InPorts
	case outField:
		interfaces = r.OutPorts
	}
	for _, p := range ports {
		number(p.First, p.Last)
	}
	for _, i := range interfaces {
		number(i, i)
	}
	return append(list, addrRanges(prefixes)...)
}

// addrRanges are the first and last addresses of prefixes.
func addrRanges(prefixes []netip.Prefix) (list [][2]wide) {
	for _, p := range prefixes {
		first, mask := prefixBytes(p)
		last := first
		for i := range last {
			last[i] |= ^mask[i]
		}
		list = append(list, [2]wide{wideOf(&first), wideOf(&last)})
	}
	return list
}

// match returns the first rule below n that matches, if its index is above after and below
// before; else index is before.
func (n *node) match(k *Key, after, before int32) (action Action, index int32) {
	if n == nil || n.first >= before || n.last <= after {
		return Drop, before
	}
	if n.field == noField {
		return n.leaf.match(k, after, before)
	}
	index = before
	restFirst := n.rest != nil && n.rest.first < n.named
	if restFirst {
		action, index = n.rest.match(k, after, index)
	}
	if n.named < index {
		if v, ok := n.field.of(k); ok {
			if a, i := n.segment(v).match(k, after, index); i < index {
				action, index = a, i
			}
		}
	}
	if !restFirst {
		if a, i := n.rest.match(k, after, index); i < index {
			action, index = a, i
		}
	}
	return action, index
}

// segment is the node of the rules that name a value, nil when none does.
func (n *node) segment(v wide) *node {
	at := segmentOf(n.starts, v)
	if at < 0 {
		return nil
	}
	return n.segments[at]
}

// segmentOf is the last of ascending starts that is not above v, -1 when all are.
func segmentOf(starts []wide, v wide) int {
	low, high := 0, len(starts) // starts[low-1] <= v < starts[high]
	for low < high {
		middle := int(uint(low+high) / 2)
		if v.less(starts[middle]) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low - 1
}

// Bounds of the trees of one list.
const (
	leafRules = 12 // so few are looked at one by one
	maxSpan   = 8  // segments that one rule is in; one in more is for the rest
	copies    = 16 // of each rule on average, over the tree
)

// buildTree makes the tree of a list of rules.
func buildTree(rules []compiledRule) *node {
	b := builder{room: copies * len(rules)}
	return b.build(rules, 1<<noField)
}

type builder struct{ room int } // rules that may still be put into segments

// build makes a node; used has the fields that it is a segment of.
func (b *builder) build(rules []compiledRule, used uint) *node {
	if len(rules) == 0 {
		return nil
	}
	n := &node{first: rules[0].head.index, last: rules[len(rules)-1].head.index}
	if len(rules) > leafRules {
		if s := bestSplit(rules, used); s != nil && s.placed <= b.room {
			b.room -= s.placed
			n.field, n.starts, n.named, n.segments = s.field, s.starts, s.named, make([]*node, len(s.starts))
			for i, list := range s.segments {
				n.segments[i] = b.build(list, used|1<<s.field)
			}
			n.rest = b.build(s.rest, used) // the wide prefixes among it are narrow beside each other
			return n
		}
	}
	for i := range rules {
		n.leaf.add(rules[i].head, rules[i].detail)
	}
	return n
}

// split is rules by the values of a field.
type split struct {
	field    field
	starts   []wide
	segments [][]compiledRule
	rest     []compiledRule
	named    int32
	placed   int // rules in all segments
	worst    int // rules that a packet may be left with
}

// bestSplit leaves a packet with the fewest rules, and with a quarter less at least; nil when
// no field does.
func bestSplit(rules []compiledRule, used uint) *split {
	var best *split
	for f := noField + 1; f < fieldCount; f++ {
		if used>>f&1 != 0 {
			continue
		}
		if s := splitBy(rules, f); s != nil && s.worst < len(rules)*3/4 && (best == nil || s.worst < best.worst) {
			best = s
		}
	}
	return best
}

// splitBy splits by one field, nil when no rule names a value.
func splitBy(rules []compiledRule, f field) *split {
	ranges := make([][][2]wide, len(rules))
	for i := range rules {
		ranges[i] = f.ranges(rules[i].rule)
	}
	starts := startsOf(ranges)
	for i := range ranges { // those of the others alone are fewer
		if covered(starts, ranges[i]) > maxSpan {
			ranges[i] = nil
		}
	}
	if starts = startsOf(ranges); len(starts) == 0 {
		return nil
	}
	s := &split{field: f, starts: starts, segments: make([][]compiledRule, len(starts)), named: -1}
	for i := range rules {
		if len(ranges[i]) == 0 {
			s.rest = append(s.rest, rules[i])
			continue
		}
		if s.named < 0 {
			s.named = rules[i].head.index
		}
		for _, r := range ranges[i] {
			for at := startAt(starts, r[0]); at < len(starts) && !r[1].less(starts[at]); at++ {
				if list := s.segments[at]; len(list) == 0 || list[len(list)-1].head.index != rules[i].head.index {
					s.segments[at] = append(list, rules[i])
					s.placed++
				}
			}
		}
	}
	for _, list := range s.segments {
		s.worst = max(s.worst, len(list))
	}
	s.worst += len(s.rest)
	return s
}

// startsOf are the values at which some range begins, or the first behind one that ends.
func startsOf(ranges [][][2]wide) (starts []wide) {
	for _, list := range ranges {
		for _, r := range list {
			starts = append(starts, r[0])
			if behind, ok := r[1].next(); ok {
				starts = append(starts, behind)
			}
		}
	}
	slices.SortFunc(starts, wide.compare)
	return slices.Compact(starts)
}

// startAt is the place of a value among the starts.
func startAt(starts []wide, v wide) int {
	return sort.Search(len(starts), func(i int) bool { return !starts[i].less(v) })
}

// covered is how many segments ranges cover, counted by range.
func covered(starts []wide, ranges [][2]wide) (n int) {
	for _, r := range ranges {
		end := len(starts)
		if behind, ok := r[1].next(); ok {
			end = startAt(starts, behind)
		}
		n += end - startAt(starts, r[0])
	}
	return n
}

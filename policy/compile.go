package policy

import (
	"fmt"
	"slices"
)

// MaxRules bounds the list: a worker evaluates it from the top.
const MaxRules = 1 << 16

// Compile builds the ruleset that workers read. It copies what it needs, so the
// caller may change rules afterwards. Control calls it; it is not for a worker.
//
// generation must be 1..MaxGeneration and differ from that of every ruleset a
// living flow can have been judged by; see NextGeneration. The error names the
// first bad rule by its index and wraps ErrRule.
func Compile(rules []Rule, defaults Defaults, generation uint32) (*Ruleset, error) {
	switch {
	case generation == 0 || generation > MaxGeneration:
		return nil, fmt.Errorf("policy: compile: generation %d is not in 1..%d", generation, MaxGeneration)
	case len(rules) > MaxRules:
		return nil, fmt.Errorf("policy: compile: %d rules are more than %d", len(rules), MaxRules)
	case defaults.In > Accept || defaults.Out > Accept: // a default tells nobody, as in nftables
		return nil, fmt.Errorf("policy: compile: defaults %s and %s", defaults.In, defaults.Out)
	}
	s := &Ruleset{rules: make([]Rule, len(rules)), effects: make([]Effect, len(rules)), generation: generation}
	byID := make(map[uint32]int)
	for i := range rules {
		if err := rules[i].check(); err != nil {
			return nil, fmt.Errorf("policy: compile: rule %d: %w", i, err)
		}
		if id := rules[i].ID; id != 0 {
			if other, taken := byID[id]; taken {
				return nil, fmt.Errorf("policy: compile: rule %d: %w: ID %d is that of rule %d", i, ErrRule, id, other)
			}
			byID[id] = i
		}
		s.rules[i], s.effects[i] = rules[i].clone(), rules[i].effect()
	}
	s.hooks[HookIn] = compileHook(s.rules, HookIn, defaults.In)
	s.hooks[HookOut] = compileHook(s.rules, HookOut, defaults.Out)
	return s, nil
}

func (r *Rule) clone() Rule {
	c := *r
	c.InPorts, c.OutPorts = slices.Clone(r.InPorts), slices.Clone(r.OutPorts)
	c.Src, c.Dst = slices.Clone(r.Src), slices.Clone(r.Dst)
	c.SrcPorts, c.DstPorts = slices.Clone(r.SrcPorts), slices.Clone(r.DstPorts)
	return c
}

func compileHook(rules []Rule, hook Hook, fallback Action) hookLists {
	h := hookLists{fallback: fallback, empty: fallback == Accept}
	var compiled []compiledRule
	for i := range rules {
		if rules[i].Hook != hook {
			continue
		}
		compiled = append(compiled, compileRule(&rules[i], i))
		h.empty = false
	}
	h.families[0] = compileFamily(compiled, 4)
	h.families[1] = compileFamily(compiled, 6)
	return h
}

// maxClasses bounds the lists with one protocol, and so how often a rule for any
// protocol is in a list: TCP, UDP, ICMP, ICMPv6, SCTP, GRE, ESP and one more.
const maxClasses = 8

// compileFamily makes the candidate lists of one hook and family. The first is
// for every protocol that has no list of its own.
func compileFamily(rules []compiledRule, family uint8) familyLists {
	var f familyLists
	protocols := commonProtocols(rules)
	classes := make([][]compiledRule, 1+len(protocols))
	for i, p := range protocols {
		f.classOf[p] = uint8(1 + i)
	}
	for i := range rules {
		r := &rules[i]
		if r.family != 0 && r.family != family {
			continue
		}
		if r.head.protocol != AnyProtocol {
			c := f.classOf[uint8(r.head.protocol)]
			classes[c] = append(classes[c], *r)
			continue
		}
		for c := range classes {
			classes[c] = append(classes[c], *r)
		}
	}
	for _, list := range classes {
		f.classes = append(f.classes, buildTree(list))
	}
	return f
}

// commonProtocols returns the maxClasses protocols that most rules name.
func commonProtocols(rules []compiledRule) []uint8 {
	var count [256]int
	var named []uint8
	for i := range rules {
		p := rules[i].head.protocol
		if p == AnyProtocol {
			continue
		}
		if count[p] == 0 {
			named = append(named, uint8(p))
		}
		count[p]++
	}
	slices.SortStableFunc(named, func(a, b uint8) int { return count[b] - count[a] })
	return named[:min(len(named), maxClasses)]
}

// compiledRule is a rule in the form that candidate lists hold.
type compiledRule struct {
	head   head
	detail *detail
	family uint8 // 4, 6, or 0 for both
	rule   *Rule
}

func compileRule(r *Rule, index int) compiledRule {
	var d detail
	h := head{
		protocol:   int16(r.Protocol),
		states:     effectiveStates(r),
		needsPorts: r.namesPorts(),
		action:     r.Action,
		index:      int32(index),
	}
	h.srcPorts, d.srcPorts = compilePorts(r.SrcPorts)
	h.dstPorts, d.dstPorts = compilePorts(r.DstPorts)
	h.inPorts, d.inPorts = compileInterfaces(r.InPorts)
	h.outPorts, d.outPorts = compileInterfaces(r.OutPorts)
	d.src, d.dst = newAddrSet(r.Src), newAddrSet(r.Dst)
	d.mark, d.ctMark = r.Mark, r.CtMark

	c := compiledRule{head: h, rule: r}
	if !d.empty() {
		c.detail = &d
	}
	c.family, _ = r.family() // checked before
	return c
}

// effectiveStates is the rule's set with the empty one spelt out.
func effectiveStates(r *Rule) StateSet {
	if r.States == 0 {
		return anyState
	}
	return r.States
}

// compilePorts returns the hull of the ranges, and what they are together, disjoint and
// ascending, if that is more than one: one is its own hull.
func compilePorts(list []PortRange) (span, []PortRange) {
	if len(list) == 0 {
		return anySpan, nil
	}
	sorted := slices.SortedFunc(slices.Values(list), func(a, b PortRange) int { return int(a.First) - int(b.First) })
	merged := sorted[:1]
	for _, r := range sorted[1:] {
		if end := &merged[len(merged)-1]; int(r.First) <= int(end.Last)+1 {
			end.Last = max(end.Last, r.Last)
		} else {
			merged = append(merged, r)
		}
	}
	hull := newSpan(merged[0].First, merged[len(merged)-1].Last)
	if len(merged) == 1 {
		return hull, nil
	}
	return hull, merged
}

// compileInterfaces returns the hull of the indices, and them as a set if the
// hull holds others too.
func compileInterfaces(list []uint16) (span, portSet) {
	if len(list) == 0 {
		return anySpan, nil
	}
	last := slices.Max(list)
	hull := newSpan(slices.Min(list), last)
	set := make(portSet, int(last)/64+1)
	members := 0
	for _, port := range list {
		if !set.has(port) {
			set[port/64] |= 1 << (port % 64)
			members++
		}
	}
	if members == int(hull.width)+1 {
		return hull, nil
	}
	return hull, set
}

package policy

import "math"

// Defaults decide for packets that no rule of a hook matches.
type Defaults struct{ In, Out Action }

// Key is what Match looks at. The caller keeps one and fills it per packet.
type Key struct {
	// Addresses in wire order. An IPv4 address is in the last four bytes and
	// the others are zero.
	Src, Dst [16]byte

	SrcPort, DstPort uint16 // host order; read only if HasPorts
	InPort, OutPort  uint16 // interface indices; OutPort is read in HookOut only
	Family           uint8  // 4 or 6
	Protocol         uint8  // after any IPv6 extension headers
	HasPorts         bool   // false: the ports are not in this packet
	State            State
	Mark, CtMark     uint32 // of the packet, and of its connection
}

// MaxGeneration is the largest generation: 24 bits, as many as a flow keeps.
const MaxGeneration = 1<<24 - 1

// NextGeneration returns the generation after g, which is never 0: a flow that
// was never judged has 0 and so matches no ruleset.
func NextGeneration(g uint32) uint32 {
	if g >= MaxGeneration {
		return 1
	}
	return g + 1
}

// Ruleset is a compiled rule list. It is never written after Compile.
type Ruleset struct {
	rules      []Rule
	effects    []Effect // by rule
	generation uint32
	hooks      [hookCount]hookLists
}

// hookLists are the candidates of one hook.
type hookLists struct {
	fallback Action
	empty    bool
	families [2]familyLists // IPv4, IPv6
}

// familyLists has one candidate list per protocol that a rule names, and the
// first, for all protocols that none names. classOf maps a protocol to its list.
type familyLists struct {
	classOf [256]uint8
	classes []*node
}

// Generation identifies the ruleset: 1..MaxGeneration.
func (s *Ruleset) Generation() uint32 { return s.generation }

// Len returns the number of rules, and so of hit counters a worker needs.
func (s *Ruleset) Len() int { return len(s.rules) }

// Rule returns a copy of the rule with this index; its lists are shared and not
// to be written.
func (s *Ruleset) Rule(index int) Rule { return s.rules[index] }

// Default returns the action for packets that no rule of the hook matches.
func (s *Ruleset) Default(hook Hook) Action { return s.hooks[hook].fallback }

// Empty tells whether the hook accepts every packet without a rule, so that the
// caller can skip it for the whole burst.
// Source: FF-6.
func (s *Ruleset) Empty(hook Hook) bool { return s.hooks[hook].empty }

// Match returns the action of the first rule of a hook that matches, and the rule's
// index in the list given to Compile, or the hook's default and -1.
//
// After an action that is not Terminal the caller does what the rule's Effect says and
// goes on with MatchAfter. It reads only, allocates nothing, and may be called by any
// worker. A Family that is neither 4 nor 6 is dropped.
func (s *Ruleset) Match(hook Hook, k *Key) (Action, int) { return s.MatchAfter(hook, k, -1) }

// MatchAfter is Match among the rules behind the one with index after.
func (s *Ruleset) MatchAfter(hook Hook, k *Key, after int) (Action, int) {
	h := &s.hooks[hook]
	var f *familyLists
	switch k.Family {
	case 4:
		f = &h.families[0]
	case 6:
		f = &h.families[1]
	default:
		return Drop, -1
	}
	const none = math.MaxInt32
	if action, index := f.classes[f.classOf[k.Protocol]].match(k, int32(after), none); index != none {
		return action, int(index)
	}
	return h.fallback, -1
}

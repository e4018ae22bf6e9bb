package pipeline

import (
	"ffwd/ct"
	"ffwd/packet"
	"ffwd/policy"
)

// RuleHits are the packets that a rule matched, and their L3 bytes.
type RuleHits struct{ Packets, Bytes uint64 }

func (h *RuleHits) add(p *packet.Packet) {
	h.Packets++
	h.Bytes += uint64(p.L3Len())
}

// Bounds of a ledger. Decisions beyond the bound are not remembered: the rules are
// asked again for each packet.
const (
	maxDecisions = 1 << 14
	maxPassed    = 4 // rules that one decision passed and counts for
)

// decided is what the rules of one hook say of packets alike: of the same flow and
// direction, interfaces and mark. Two decisions that are the same are one in the ledger.
type decided struct {
	ingress, egress       uint16 // egress is 0 at hook in
	markBefore, markAfter uint32
	via                   uint32            // next hop, see packet.Packet.Via
	slots                 [maxPassed]uint32 // of the rules passed, in order
	passed                uint8             // may be more than slots has
	action                policy.Action
	answer                packet.Answer
}

func (d *decided) pass(slot int) {
	if d.passed < maxPassed {
		d.slots[d.passed] = uint32(slot)
	}
	d.passed = min(d.passed+1, maxPassed+1)
}

// last returns the slot of the last rule passed, which decided. The decision is one that
// was remembered, so all are known.
func (d *decided) last() int { return int(d.slots[d.passed-1]) }

// decision is one line of the cache.
type decision struct {
	decided
	more bool     // there is more to do than to count and to mark
	hits RuleHits // of packets that did not ask the rules
	_    [8]byte
}

// holdsFor tells whether the decision is one for the packet's interfaces and mark. The
// decision of number 0 holds for none: no packet comes in by interface 0.
func (d *decision) holdsFor(p *packet.Packet) bool {
	return d.ingress == p.Ingress && d.egress == p.Egress && d.markBefore == p.Mark
}

// passes tells whether the decision is to let packets of these interfaces pass that have this
// mark, and no more. egress is 0 at hook in.
func (d *decision) passes(ingress, egress uint16, mark uint32) bool {
	return d.ingress == ingress && d.egress == egress && d.markBefore == mark && !d.more
}

// ledger is a worker's account of one ruleset: what it decided, and how many packets
// each rule matched. Flows name decisions by number; the numbers of a ruleset die with it.
//
// Owner worker only. Source: FF-6; docs/decisions/0005-rule-decisions.md.
type ledger struct {
	generation uint32
	rules      int
	hits       []RuleHits // by slot: of packets that asked. The rules, then the hooks' defaults
	decisions  []decision // by number
	n          int        // numbers given away
	index      []uint16   // open addressing over decisions; 0 is free
}

func newLedger() *ledger {
	return &ledger{
		hits:      make([]RuleHits, policy.MaxRules+2),
		decisions: make([]decision, maxDecisions),
		index:     make([]uint16, 2*maxDecisions),
		n:         1,
	}
}

// slot returns where a rule is counted, -1 standing for the hook's default.
func (l *ledger) slot(rule int, hook ct.Hook) int {
	if rule < 0 {
		return l.rules + int(hook)
	}
	return rule
}

// follow opens a new account when the ruleset is another one.
func (l *ledger) follow(generation uint32, rules int) {
	if generation == l.generation {
		return
	}
	clear(l.hits[:l.rules+2])
	clear(l.decisions[:l.n])
	clear(l.index)
	l.generation, l.rules, l.n = generation, rules, 1
}

// enter returns the number of a decision, 0 when there is no room for another.
func (l *ledger) enter(d *decided) uint16 {
	const odd = 0x9e3779b97f4a7c15 // 2^64 / phi
	h := uint64(d.ingress) | uint64(d.egress)<<16 | uint64(d.markBefore)<<32
	h = h*odd ^ (uint64(d.slots[0]) | uint64(d.slots[1])<<32)
	h = h*odd ^ (uint64(d.slots[2]) | uint64(d.slots[3])<<32)
	h = h*odd ^ (uint64(d.markAfter) | uint64(d.via)<<32)
	for at := h * odd >> 32; ; at++ {
		place := &l.index[at%uint64(len(l.index))]
		if *place != 0 {
			if l.decisions[*place].decided == *d {
				return *place
			}
			continue
		}
		if l.n == len(l.decisions) {
			return 0
		}
		*place = uint16(l.n)
		l.decisions[l.n] = decision{decided: *d, more: d.action != policy.Accept || d.via != 0}
		l.n++
		return *place
	}
}

// hitStep is how many rules and decisions are added up between two polls: two microseconds,
// as long as some dozen packets take (BenchmarkAddRuleHits). Source: CT-9.
const hitStep = 128

// AddRuleHits adds what the worker counted for the ruleset of a generation to hits: one
// element per rule, then those of the defaults of hook in and hook out. A worker that has
// asked no rule of that ruleset yet adds nothing. Any goroutine may call it; the worker
// is asked in short steps between polls. It returns ErrStuck if the worker is.
func (w *Worker) AddRuleHits(generation uint32, hits []RuleHits) error {
	from := -hitStep
	return w.DoInSteps(func() bool {
		from += hitStep
		return w.ledger.add(generation, hits, from)
	})
}

// add does one step of AddRuleHits and tells whether there are more.
func (l *ledger) add(generation uint32, to []RuleHits, from int) (more bool) {
	if generation != l.generation || len(to) != l.rules+2 {
		return false
	}
	sum := func(slot uint32, h RuleHits) {
		to[slot].Packets += h.Packets
		to[slot].Bytes += h.Bytes
	}
	for slot := from; slot < min(from+hitStep, len(to)); slot++ {
		sum(uint32(slot), l.hits[slot])
	}
	for i := from; i < min(from+hitStep, l.n); i++ {
		d := &l.decisions[i]
		for _, slot := range d.slots[:d.passed] {
			sum(slot, d.hits)
		}
	}
	return from+hitStep < max(len(to), l.n)
}

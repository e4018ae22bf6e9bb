package ct

// A flow remembers what the rules of the policy decided for it, per direction and hook,
// so that an established flow costs a compare. What a decision is, and for which
// interfaces it holds, is the policy stage's business: a flow keeps its number, and the
// generation of the ruleset whose numbers they are.
//
//	verdict:   generation 24 | 8 of the time of confirmation, see Flow.age
//	decisions: number by 2*direction + hook; 0: ask the rules

// Hook is a policy hook as the cache counts them.
type Hook int

// The hooks, in the order a packet meets them.
const (
	HookIn Hook = iota
	HookOut
)

// Decision returns the number of what the rules of this generation decided for the
// flow's packets in dir at hook, or 0.
func (f *Flow) Decision(generation uint32, dir int, hook Hook) uint16 {
	if f.verdict>>8 != generation {
		return 0
	}
	return f.decisions[2*dir+int(hook)]
}

// Remember stores a decision for Decision to find. Owner worker only.
func (f *Flow) Remember(generation uint32, dir int, hook Hook, decision uint16) {
	if f.verdict>>8 != generation {
		f.verdict = generation<<8 | f.verdict&0xff
		f.forget()
	}
	f.decisions[2*dir+int(hook)] = decision
}

// Mark returns the connection's mark. Source: CT-10.
func (f *Flow) Mark() uint32 { return f.mark }

// SetMark changes the connection's mark, which rules can see. Owner worker only.
func (f *Flow) SetMark(mark uint32) {
	if mark != f.mark {
		f.mark = mark
		f.forget()
	}
}

// forget empties the cache: the flow changed in a way that rules can see.
func (f *Flow) forget() { f.decisions = [4]uint16{} }

package ct

// The life of a policy object:
//
//	pending -> live -> draining -> dead -> free
//
// A pending one may go free at once, because no worker has seen it.

// make takes a free index for a policy. The caller holds mu.
func (ps *Policies) make(p Policy, row *Timeouts) (uint16, error) {
	for i := 1; i < MaxPolicies; i++ {
		if ps.objects[i] == nil {
			ps.objects[i] = &policyObject{Policy: p, stage: pending}
			ps.kinds[i] = p.Kind
			ps.rows[i].set(row)
			ps.alive[i].Store(true)
			return uint16(i), nil
		}
	}
	return 0, ErrPoliciesFull
}

func (ps *Policies) name(index uint16) {
	o := ps.objects[index]
	o.stage = live
	ps.byName[o.Name] = index
}

func (ps *Policies) drain(index uint16) {
	o := ps.objects[index]
	o.stage = draining
	delete(ps.byName, o.Name)
}

// release makes an index free. Its row takes the defaults again (TO-8).
func (ps *Policies) release(index uint16) {
	ps.objects[index] = nil
	ps.rows[index].set(&ps.rows[0])
}

// HoldRules takes a reference for each rule of a ruleset that is about to be
// published; policies has one index per rule, those of reserved policies too.
func (ps *Policies) HoldRules(policies []uint16) { ps.addRules(policies, 1) }

// ReleaseRules gives them back when no worker can be asking that ruleset any more.
func (ps *Policies) ReleaseRules(policies []uint16) { ps.addRules(policies, -1) }

func (ps *Policies) addRules(policies []uint16, n int) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, index := range policies {
		ps.objects[index].rules += n
	}
}

// PolicySet is a set of policies by index.
type PolicySet [MaxPolicies / 64]uint64

// Has tells whether a policy is in the set.
func (s *PolicySet) Has(index uint16) bool { return s[index/64]>>(index%64)&1 != 0 }

func (s *PolicySet) add(index uint16) { s[index/64] |= 1 << (index % 64) }

// ToDetach returns the policies that flows are to be taken from, by Table.Detach
// on every worker. Those are the deleted ones, once; and again those that flows
// got since, when no rule is left that gives them any.
// Source: TO-5.
func (ps *Policies) ToDetach() (set PolicySet, some bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for i, o := range ps.objects {
		if o == nil || o.stage != draining {
			continue
		}
		if _, flows := ps.count(uint16(i)); flows > 0 && (!o.swept || o.rules == 0) {
			set.add(uint16(i))
			some = true
		}
		o.swept = true
	}
	return set, some
}

// Reclaim lets go of the deleted policies that nothing refers to, and returns how
// many still wait for references to end.
//
// A worker takes references for rules and from packets that hold one. Without
// either none can be taken any more, so a count that is zero then stays zero; the
// row itself is not given to another policy before every worker has passed.
// Source: TO-4, TO-6.
func (ps *Policies) Reclaim() (waiting int) {
	var gone []uint16
	ps.mu.Lock()
	for i, o := range ps.objects {
		if o == nil || o.stage != draining {
			continue
		}
		if queued, flows := ps.count(uint16(i)); o.rules+queued+flows > 0 {
			waiting++
			continue
		}
		o.stage = dead
		ps.alive[i].Store(false)
		gone = append(gone, uint16(i))
	}
	ps.mu.Unlock()
	for _, index := range gone { // not under mu: a retirer may free at once
		ps.retirer.Retire(func() {
			ps.mu.Lock()
			defer ps.mu.Unlock()
			ps.release(index)
		})
	}
	return waiting
}

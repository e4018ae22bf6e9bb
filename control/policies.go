package control

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ffwd/conf"
	"ffwd/ct"
	"ffwd/policy"
)

// Timeout policies: those of the configuration, which a reload brings to what the
// file says, and those made over the control socket, which it leaves alone unless
// the file names them too. docs/decisions/0007-timeout-policies.md.

// trackers are the protocols of ct.Kind by their names.
var trackers = map[conf.Tracker]uint8{
	conf.TrackerTCP: 6, conf.TrackerUDP: 17, conf.TrackerICMP: 1, conf.TrackerICMPv6: 58,
	conf.TrackerSCTP: 132, conf.TrackerGRE: 47, conf.TrackerGeneric: ct.GenericProtocol,
}

func kindOf(p *conf.TimeoutPolicy) ct.Kind {
	k := ct.Kind{Family: 4, Protocol: trackers[p.Protocol]}
	if p.Family == conf.FamilyIPv6 {
		k.Family = 6
	}
	return k
}

// objectOf translates a configured policy.
func objectOf(p *conf.TimeoutPolicy, fromFile bool) ct.Policy {
	out := ct.Policy{Name: p.Name, Kind: kindOf(p), Values: map[string]time.Duration{}, FromFile: fromFile}
	for state, d := range p.Timeouts {
		out.Values[state] = time.Duration(d)
	}
	return out
}

// policyOf undoes objectOf.
func policyOf(p *ct.Policy) conf.TimeoutPolicy {
	out := conf.TimeoutPolicy{Name: p.Name, Family: conf.FamilyIPv4, Timeouts: map[string]conf.Duration{}}
	if p.Kind.Family == 6 {
		out.Family = conf.FamilyIPv6
	}
	for name, number := range trackers {
		if number == p.Kind.Protocol {
			out.Protocol = name
		}
	}
	for state, d := range p.Values {
		out.Timeouts[state] = conf.Duration(d)
	}
	return out
}

// rowOf is what workers see of a policy: its values over the protocols'.
func rowOf(defaults *conf.Timeouts, p *conf.TimeoutPolicy) *ct.Timeouts {
	with := defaults.With(p)
	return timeouts(&with)
}

// buildRules makes the first policies and the first ruleset.
func (s *Switch) buildRules(c *conf.Config, limits *limitPlan) (*policy.Ruleset, error) {
	var err error
	if s.policies, err = ct.NewPolicies(timeouts(&c.CT.Timeouts), s.epoch); err != nil {
		return nil, err
	}
	s.undo(s.policies.Close)
	plan, err := s.planPolicies(c)
	if err != nil {
		return nil, err
	}
	bound, err := plan.bind()
	if err != nil {
		return nil, err
	}
	if plan.hops, err = s.holdHops(c); err != nil {
		return nil, err
	}
	rules, err := s.compileRules(c, bound, limits, plan.hops, 1)
	if err != nil {
		return nil, err
	}
	plan.hold(bound)
	plan.commit()
	s.boundPolicies, s.heldPolicies, s.ruleHops = plan.bound, plan.held, plan.hops
	return rules, nil
}

// knownPolicies are the names that rules may use besides those of their file: of
// what was made at run time.
func (s *Switch) knownPolicies() []string {
	var names []string
	for _, p := range s.policies.List() {
		if !p.Draining && !p.FromFile {
			names = append(names, p.Name)
		}
	}
	return names
}

// policyPlan is what a configuration does to the policies, and what its rules hold: prepared, and then
// committed or abandoned, neither of which can fail. The caller holds Switch.mu
// from the one to the other, and so does whoever changes policies otherwise.
type policyPlan struct {
	s        *Switch
	next     *conf.Config
	reserved []uint16          // new ones
	indices  map[string]uint16 // by name, new and old
	replaced []*conf.TimeoutPolicy
	gone     []string
	bound    []uint16 // of the ruleset that is to be published, by rule; nil: that of before stays
	held     []uint16 // its references
	hops     heldHops // as above
}

// planPolicies prepares what next does to the policies.
func (s *Switch) planPolicies(next *conf.Config) (*policyPlan, error) {
	plan := &policyPlan{s: s, next: next, indices: map[string]uint16{}}
	for i := range next.TimeoutPolicies {
		p := &next.TimeoutPolicies[i]
		now, index, exists := s.policies.Find(p.Name)
		switch {
		case exists && now.Kind == kindOf(p):
			plan.replaced = append(plan.replaced, p)
			plan.indices[p.Name] = index
			continue
		case exists && !now.FromFile:
			plan.abandon()
			made := policyOf(&now)
			return nil, conf.Faults{{
				Path:    fmt.Sprintf("timeout_policies[%d]", i),
				Message: fmt.Sprintf("%q was made at run time for %s: delete it first, or choose another name", p.Name, made.Kind()),
			}}
		}
		index, err := s.policies.Reserve(objectOf(p, true), rowOf(&next.CT.Timeouts, p))
		if err != nil {
			plan.abandon()
			return nil, fmt.Errorf("timeout_policies[%d]: %w", i, err)
		}
		plan.reserved = append(plan.reserved, index)
		plan.indices[p.Name] = index
	}
	for _, p := range s.policies.List() {
		if p.FromFile && !p.Draining && plan.indices[p.Name] == 0 {
			plan.gone = append(plan.gone, p.Name)
		}
	}
	return plan, nil
}

// bind returns the policy of each rule of next, 0 for none. A name that neither the
// file nor the switch knows is a fault.
func (plan *policyPlan) bind() ([]uint16, error) {
	bound := make([]uint16, len(plan.next.Rules))
	var faults conf.Faults
	for i := range plan.next.Rules {
		name := plan.next.Rules[i].Timeout
		if name == "" {
			continue
		}
		index, known := plan.indices[name]
		if !known {
			_, index, known = plan.s.policies.Find(name)
		}
		if !known {
			faults = append(faults, conf.Fault{Path: fmt.Sprintf("rules[%d].timeout", i), Message: fmt.Sprintf("there is no timeout policy %q", name)})
		}
		bound[i] = index
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return bound, nil
}

// hold takes the references of the rules that are about to be published.
func (plan *policyPlan) hold(bound []uint16) {
	plan.bound = bound
	plan.held = slices.DeleteFunc(slices.Clone(bound), func(index uint16) bool { return index == 0 })
	plan.s.policies.HoldRules(plan.held)
}

// abandon undoes what was prepared.
func (plan *policyPlan) abandon() {
	plan.s.policies.ReleaseRules(plan.held)
	plan.hops.release()
	for _, index := range plan.reserved {
		plan.s.policies.Abandon(index)
	}
}

// commit makes the policies those of next.
func (plan *policyPlan) commit() {
	s := plan.s
	s.policies.SetDefaults(timeouts(&plan.next.CT.Timeouts), func(p *ct.Policy) *ct.Timeouts {
		made := policyOf(p)
		return rowOf(&plan.next.CT.Timeouts, &made)
	})
	for _, p := range plan.replaced {
		if err := s.policies.Add(objectOf(p, true), rowOf(&plan.next.CT.Timeouts, p), true); err != nil {
			s.log.Error("timeout policy cannot be replaced", "policy", p.Name, "error", err)
		}
	}
	for _, index := range plan.reserved {
		s.policies.Publish(index)
	}
	for _, name := range plan.gone {
		if err := s.policies.Delete(name); err != nil {
			s.log.Error("timeout policy cannot be deleted", "policy", name, "error", err)
		}
	}
	s.ringDrain()
}

// publishRules remembers the references of the ruleset that workers see from now on, and
// gives those of the one before back when no worker asks it any more.
func (s *Switch) publishRules(plan *policyPlan) {
	if plan.bound == nil {
		return
	}
	before := s.heldPolicies
	s.ruleHops.release()
	s.boundPolicies, s.heldPolicies, s.ruleHops = plan.bound, plan.held, plan.hops
	s.epoch.Retire(func() {
		s.policies.ReleaseRules(before)
		s.ringDrain()
	})
}

// setPolicy creates a policy over the control socket, or changes its values.
// Source: TO-2.
func (s *Switch) setPolicy(p *conf.TimeoutPolicy, replace bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	object := objectOf(p, false)
	if now, _, exists := s.policies.Find(p.Name); exists {
		object.FromFile = now.FromFile // its values are no longer the file's, until the next reload
	}
	return s.policies.Add(object, rowOf(&s.Config().CT.Timeouts, p), replace)
}

// deletePolicy deletes one, whoever made it. Source: TO-5.
func (s *Switch) deletePolicy(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.policies.Delete(name); err != nil {
		return err
	}
	s.ringDrain()
	return nil
}

// deletePolicies deletes all of them.
func (s *Switch) deletePolicies() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := s.policies.DeleteAll()
	s.ringDrain()
	return names
}

// ringDrain tells drainPolicies that there may be something to do.
func (s *Switch) ringDrain() {
	select {
	case s.drainBell <- struct{}{}:
	default: // rung already
	}
}

// Deleted policies are looked after this often at first, and less and less often
// while what refers to them stays.
const (
	drainFirst = 10 * time.Millisecond
	drainLast  = time.Second
)

// drainPolicies takes deleted policies away from flows and lets go of those that
// nothing refers to. It sleeps while none is deleted. Source: TO-5, TO-6.
func (s *Switch) drainPolicies(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.drainBell:
		}
		for pause := drainFirst; ; pause = min(2*pause, drainLast) {
			s.detach(ctx)
			if s.policies.Reclaim() == 0 {
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-s.drainBell:
				pause = drainFirst
			case <-time.After(pause):
			}
		}
	}
}

// detach walks the workers' tables in steps between two polls, as a listing does. A
// worker that is stuck has its turn at a later call: its flows keep what they refer to.
func (s *Switch) detach(ctx context.Context) {
	set, some := s.policies.ToDetach()
	if !some {
		return
	}
	for _, w := range s.workers {
		if w.Table() == nil {
			continue
		}
		from := uint32(0)
		for more := true; more; {
			steps := 0
			err := w.DoInSteps(func() bool {
				from = w.Table().Detach(&set, from, flowStep)
				steps++
				return from != 0 && steps < flowSteps
			})
			more = err == nil && from != 0 && ctx.Err() == nil
		}
	}
}

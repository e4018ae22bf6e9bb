package ct

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"ffwd/mem"
)

// MaxPolicies bounds the timeout policies that exist at one time, draining ones
// included. Index 0 is no policy.
const MaxPolicies = 4096

// What a change of policies is refused with.
var (
	ErrPolicyExists  = errors.New("exists")
	ErrPolicyKind    = errors.New("has another family or protocol")
	ErrPolicyUnknown = errors.New("does not exist")
	ErrPoliciesFull  = fmt.Errorf("more than %d timeout policies, those that are draining included", MaxPolicies-1)
)

// Retirer runs free once no worker can be reading what it frees; epoch.Domain is one.
type Retirer interface{ Retire(free func()) }

// A Policy is what a timeout policy was made of. Source: TO-1.
type Policy struct {
	Name     string
	Kind     Kind
	Values   map[string]time.Duration // as given, by the name of the state
	FromFile bool                     // the configuration's, not made at run time
}

// PolicyStatus is a policy as listings show it. Source: TO-7.
type PolicyStatus struct {
	Policy
	Draining             bool // deleted, but referred to
	Rules, Flows, Queued int
}

// References is the count of all, the name's own included. Source: TO-4.
func (s *PolicyStatus) References() int {
	n := s.Rules + s.Flows + s.Queued
	if !s.Draining {
		n++
	}
	return n
}

// Policies are the timeout policies of a switch: the objects by name, and what
// workers read of them by index.
//
// Workers and control share no counter: each worker counts its own references
// (PolicyRefs) and control adds them up. Methods may be called from any
// goroutine. docs/decisions/0007-timeout-policies.md tells the life of an object.
type Policies struct {
	retirer Retirer

	// Workers read these.
	rows   []Timeouts               // by index; row 0 has the protocols' defaults
	alive  [MaxPolicies]atomic.Bool // a reference may be taken (TO-4)
	kinds  [MaxPolicies]Kind        // written before anybody has the index
	region *mem.Region              // of rows

	mu      sync.Mutex                 // guards what follows
	byName  map[string]uint16          // the live ones
	objects [MaxPolicies]*policyObject // nil is free
	workers []*policyRefs
}

// policyObject is what control knows of a policy.
type policyObject struct {
	Policy
	stage policyStage
	swept bool // flows were detached since it was deleted
	rules int
}

// policyStage is where in its life an object is; it only goes forward.
type policyStage uint8

const (
	pending  policyStage = iota // made, not named yet: part of a reload under way
	live                        // has its name
	draining                    // deleted, but referred to
	dead                        // without references; waits for the workers to pass
)

// NewPolicies returns a registry without policies. defaults are the protocols'
// timeouts, for flows that have no policy.
func NewPolicies(defaults *Timeouts, r Retirer) (*Policies, error) {
	region, err := mem.Map(MaxPolicies*int(unsafe.Sizeof(Timeouts{})), mem.Plain)
	if err != nil {
		return nil, fmt.Errorf("ct: timeout policies: %w", err)
	}
	ps := &Policies{
		retirer: r, region: region, rows: unsafe.Slice((*Timeouts)(region.Base()), MaxPolicies),
		byName: map[string]uint16{},
	}
	ps.SetDefaults(defaults, nil)
	return ps, nil
}

// Close unmaps what workers read. None may use it any more.
func (ps *Policies) Close() error { return ps.region.Close() }

// Timeouts returns what Lookup and Confirm want: the defaults' row, with the
// policies' behind it.
func (ps *Policies) Timeouts() *Timeouts { return &ps.rows[0] }

// SetDefaults changes the protocols' timeouts, and with them the policies': rowOf
// gives the row of each anew. Every flow follows at its next refresh. Rows of no
// policy get the defaults, so that no index is ever without a timeout (TO-8).
func (ps *Policies) SetDefaults(defaults *Timeouts, rowOf func(*Policy) *Timeouts) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for i, o := range ps.objects {
		row := defaults
		if o != nil {
			row = rowOf(&o.Policy)
		}
		ps.rows[i].set(row)
	}
}

// Add creates a policy and names it. With replace, the values of one that exists
// change in place. On error nothing has changed: ErrPolicyExists, ErrPolicyKind
// or ErrPoliciesFull. Source: TO-2.
func (ps *Policies) Add(p Policy, row *Timeouts, replace bool) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	index, exists := ps.byName[p.Name]
	if !exists {
		index, err := ps.make(p, row)
		if err == nil {
			ps.name(index)
		}
		return err
	}
	o := ps.objects[index]
	switch {
	case !replace:
		return fmt.Errorf("timeout policy %q %w: replace it, or delete it first", p.Name, ErrPolicyExists)
	case o.Kind != p.Kind:
		return fmt.Errorf("timeout policy %q %w: delete it first", p.Name, ErrPolicyKind)
	}
	o.Values, o.FromFile = p.Values, p.FromFile
	ps.rows[index].set(row)
	return nil
}

// Reserve makes a policy without a name, which rules may refer to. It becomes
// another policy of the switch by Publish, or goes by Abandon. Its name may be in
// use meanwhile.
func (ps *Policies) Reserve(p Policy, row *Timeouts) (uint16, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.make(p, row)
}

// Publish names a reserved policy. One that has the name is deleted.
func (ps *Policies) Publish(index uint16) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if other, taken := ps.byName[ps.objects[index].Name]; taken {
		ps.drain(other)
	}
	ps.name(index)
}

// Abandon forgets a reserved policy, which no worker has seen and no rule refers to.
func (ps *Policies) Abandon(index uint16) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.alive[index].Store(false)
	ps.release(index)
}

// Delete takes a policy's name away, in use or not. What refers to it may go on
// doing so; Detach takes the flows away from it. Source: TO-5.
func (ps *Policies) Delete(name string) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	index, exists := ps.byName[name]
	if !exists {
		return fmt.Errorf("timeout policy %q %w", name, ErrPolicyUnknown)
	}
	ps.drain(index)
	return nil
}

// DeleteAll deletes every policy and returns their names, in order.
func (ps *Policies) DeleteAll() []string {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	names := slices.Sorted(maps.Keys(ps.byName))
	for _, name := range names {
		ps.drain(ps.byName[name])
	}
	return names
}

// Find returns the policy of a name, and its index for rules.
func (ps *Policies) Find(name string) (Policy, uint16, bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	index, exists := ps.byName[name]
	if !exists {
		return Policy{}, 0, false
	}
	return ps.objects[index].Policy, index, true
}

// NameOf returns the name that the policy at index has or had, "" for none.
func (ps *Policies) NameOf(index uint16) string {
	if index == 0 {
		return ""
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if o := ps.objects[index%MaxPolicies]; o != nil {
		return o.Name
	}
	return ""
}

// List returns every policy, those that are draining last, by name.
func (ps *Policies) List() []PolicyStatus {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var list []PolicyStatus
	for i, o := range ps.objects {
		if o == nil || o.stage != live && o.stage != draining {
			continue
		}
		queued, flows := ps.count(uint16(i))
		s := PolicyStatus{Policy: o.Policy, Draining: o.stage == draining, Rules: o.rules, Flows: flows, Queued: queued}
		s.Values = maps.Clone(o.Values)
		list = append(list, s)
	}
	slices.SortStableFunc(list, func(a, b PolicyStatus) int {
		if a.Draining != b.Draining {
			if b.Draining {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list
}

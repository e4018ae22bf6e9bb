package ct

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ffwd/epoch"
	"ffwd/packet"
)

// The model of timeout policies: objects with sets of what refers to them, and
// no indices, counters or epochs. It is compared with the registry after each step.

const (
	modelWorkers = 2
	modelRules   = 3
	poison       = 1<<31 - 1 // ticks; no policy has it
)

var modelKinds = []Kind{{family4, packet.ProtoUDP}, {family6, packet.ProtoUDP}, {family4, packet.ProtoTCP}}

type modelObject struct {
	name                 string
	kind                 Kind
	seconds              int
	index                uint16
	draining             bool
	rules, queued, flows int
	early                int // flows that have it from before it was deleted
}

func (o *modelObject) referred() bool { return o.rules+o.queued+o.flows > 0 }

type modelRuleset []*modelObject // by rule; nil is a rule without a policy

type modelFlow struct {
	index    uint32
	tuple    tuple
	object   *modelObject
	deadline uint32
}

// modelWorker is a table and what its worker has in hand.
type modelWorker struct {
	table   *Table
	member  *epoch.Member
	polling bool
	rules   modelRuleset // seen in this poll
	hand    []modelPacket
	queue   []modelPacket
	flows   []*modelFlow
}

type modelPacket struct {
	packet packet.Packet
	tuple  tuple
	object *modelObject
}

type policyWorld struct {
	*rapid.T
	ps        *Policies
	domain    epoch.Domain
	workers   []*modelWorker
	objects   map[*modelObject]bool
	published modelRuleset
	defaults  int
	now       int64
	tuples    int
}

// poisoner poisons the rows that are freed, and holds that nobody has them.
type poisoner struct{ w *policyWorld }

func (p poisoner) Retire(free func()) { p.w.domain.Retire(func() { free(); p.w.poisonFree() }) }

// poisonFree writes rows plainly: the model's workers are all of one goroutine, and there are
// thousands of rows.
func (w *policyWorld) poisonFree() {
	poisoned := rowOf(func(State) uint32 { return poison })
	for i, o := range w.ps.objects {
		if o == nil && i > 0 {
			w.ps.rows[i] = *poisoned
		}
	}
	held := func(who string, o *modelObject) {
		if o != nil && w.ps.objects[o.index] == nil {
			w.Fatalf("%s has policy %s, which was freed", who, o.name)
		}
	}
	for _, worker := range w.workers {
		for _, p := range slices.Concat(worker.hand, worker.queue) {
			held("a packet", p.object)
		}
		for _, f := range worker.flows {
			held("a flow", f.object)
		}
		for _, o := range worker.rules {
			held("a ruleset that a worker asks", o)
		}
	}
}

func rowOf(ticks func(State) uint32) *Timeouts {
	var row Timeouts
	for s := range row {
		row[s] = ticks(State(s))
	}
	return &row
}

// modelRow is the row of a policy whose timeouts are so many seconds.
func modelRow(seconds int) *Timeouts {
	return rowOf(func(State) uint32 { return Tick(int64(seconds) * second) })
}

func newPolicyWorld(rt *rapid.T, t *testing.T) *policyWorld {
	w := &policyWorld{T: rt, objects: map[*modelObject]bool{}, defaults: 500, now: second, published: make(modelRuleset, modelRules)}
	var err error
	if w.ps, err = NewPolicies(modelRow(w.defaults), poisoner{w}); err != nil {
		t.Fatal(err)
	}
	secret := NewSecret()
	for range modelWorkers {
		table, err := New(Options{MaxFlows: 256, MaxFlowsIPv6: 256, Secret: secret, Policies: w.ps, StartNs: w.now})
		if err != nil {
			t.Fatal(err)
		}
		w.workers = append(w.workers, &modelWorker{table: table, member: w.domain.Join()})
	}
	return w
}

// find returns the live object of a name.
func (w *policyWorld) find(name string) *modelObject {
	for o := range w.objects {
		if o.name == name && !o.draining {
			return o
		}
	}
	return nil
}

// timeoutOf is how long a flow with this policy lives.
func (w *policyWorld) timeoutOf(o *modelObject) uint32 {
	if o == nil {
		return Tick(int64(w.defaults) * second)
	}
	return Tick(int64(o.seconds) * second)
}

// compare holds the registry against the model, and every flow.
func (w *policyWorld) compare() {
	var want, got []string
	for o := range w.objects {
		want = append(want, fmt.Sprint(o.name, o.kind, o.seconds, o.draining, o.rules, o.queued, o.flows))
	}
	for _, s := range w.ps.List() {
		got = append(got, fmt.Sprint(s.Name, s.Kind, int(s.Values["all"]/time.Second), s.Draining, s.Rules, s.Queued, s.Flows))
		n := s.Rules + s.Queued + s.Flows
		if !s.Draining {
			n++
		}
		if s.References() != n {
			w.Fatalf("%d references of %+v", s.References(), s)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		w.Fatalf("listed\n%q, want\n%q", got, want)
	}
	for _, worker := range w.workers {
		for _, f := range worker.flows {
			flow := worker.table.Flow(f.index)
			if flow.deadline != f.deadline {
				w.Fatalf("flow %v: deadline %d, want %d", f.tuple, flow.deadline, f.deadline)
			}
			index := uint16(0)
			if f.object != nil {
				index = f.object.index
			}
			if flow.policy != index {
				w.Fatalf("flow %v: policy %d, want %d", f.tuple, flow.policy, index)
			}
		}
		if n := worker.table.Flows4 + worker.table.Flows6; int(n) != len(worker.flows) {
			w.Fatalf("%d flows, want %d", n, len(worker.flows))
		}
	}
}

// worker draws one; polling tells in what state it is to be. nil: there is none.
func (w *policyWorld) worker(polling bool) *modelWorker {
	var some []*modelWorker
	for _, worker := range w.workers {
		if worker.polling == polling {
			some = append(some, worker)
		}
	}
	if len(some) == 0 {
		w.Skip("no such worker")
	}
	return rapid.SampledFrom(some).Draw(w.T, "worker")
}

// liveNames lists the policies, for drawing one.
func (w *policyWorld) liveNames() []string {
	names := map[string]bool{}
	for o := range w.objects {
		if !o.draining {
			names[o.name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

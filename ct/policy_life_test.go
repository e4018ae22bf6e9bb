package ct

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ffwd/packet"
)

func (w *policyWorld) draw() (Policy, int) {
	seconds := rapid.IntRange(1, 100).Draw(w.T, "seconds")
	return Policy{
		Name:   rapid.SampledFrom([]string{"a", "b", "c"}).Draw(w.T, "name"),
		Kind:   rapid.SampledFrom(modelKinds).Draw(w.T, "kind"),
		Values: map[string]time.Duration{"all": time.Duration(seconds) * time.Second},
	}, seconds
}

func (w *policyWorld) note(p Policy, seconds int) *modelObject {
	o := &modelObject{name: p.Name, kind: p.Kind, seconds: seconds}
	w.objects[o] = true
	return o
}

func (w *policyWorld) drain(o *modelObject) { o.draining, o.early = true, o.flows }

func (w *policyWorld) Add(*rapid.T) {
	p, seconds := w.draw()
	replace := rapid.Bool().Draw(w.T, "replace")
	err := w.ps.Add(p, modelRow(seconds), replace)
	switch o := w.find(p.Name); {
	case o == nil:
		if err != nil {
			w.Fatal(err)
		}
		o = w.note(p, seconds)
		_, o.index, _ = w.ps.Find(p.Name)
	case !replace:
		if !errors.Is(err, ErrPolicyExists) {
			w.Fatal(err)
		}
	case o.kind != p.Kind:
		if !errors.Is(err, ErrPolicyKind) {
			w.Fatal(err)
		}
	default:
		if err != nil {
			w.Fatal(err)
		}
		o.seconds = seconds
	}
}

func (w *policyWorld) Delete(*rapid.T) {
	name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(w.T, "name")
	o := w.find(name)
	if err := w.ps.Delete(name); (o == nil) != errors.Is(err, ErrPolicyUnknown) || (o != nil) != (err == nil) {
		w.Fatal(err)
	}
	if o != nil {
		w.drain(o)
	}
}

func (w *policyWorld) DeleteAll(*rapid.T) {
	names := w.liveNames()
	if got := w.ps.DeleteAll(); len(got) != len(names) {
		w.Fatalf("deleted %q of %q", got, names)
	}
	for _, name := range names {
		w.drain(w.find(name))
	}
}

// Defaults: what flows without a policy live by changes.
func (w *policyWorld) Defaults(*rapid.T) {
	w.defaults = rapid.IntRange(400, 600).Draw(w.T, "defaults")
	w.ps.SetDefaults(modelRow(w.defaults), func(p *Policy) *Timeouts { return modelRow(int(p.Values["all"] / time.Second)) })
	w.poisonFree()
}

// Reload publishes a ruleset whose rules name policies, and perhaps makes one for it.
func (w *policyWorld) Reload(*rapid.T) {
	var made *modelObject
	if rapid.Bool().Draw(w.T, "with a new policy") {
		p, seconds := w.draw()
		index, err := w.ps.Reserve(p, modelRow(seconds))
		if err != nil {
			w.Fatal(err)
		}
		if rapid.Bool().Draw(w.T, "that fails") {
			w.ps.Abandon(index)
			w.poisonFree()
			return
		}
		made = &modelObject{name: p.Name, kind: p.Kind, seconds: seconds, index: index}
	}
	next, indices := make(modelRuleset, modelRules), []uint16(nil)
	for i := range next {
		if names := w.liveNames(); len(names) > 0 && rapid.Bool().Draw(w.T, "rule has a policy") {
			next[i] = w.find(rapid.SampledFrom(names).Draw(w.T, "policy"))
		} else if made != nil {
			next[i] = made
		}
		if next[i] != nil {
			next[i].rules++
			indices = append(indices, next[i].index)
		}
	}
	w.ps.HoldRules(indices)
	if made != nil {
		if other := w.find(made.name); other != nil {
			w.drain(other)
		}
		w.ps.Publish(made.index)
		w.objects[made] = true
	}
	old := w.published
	w.published = next
	w.domain.Retire(func() {
		var indices []uint16
		for _, o := range old {
			if o != nil {
				o.rules--
				indices = append(indices, o.index)
			}
		}
		for _, worker := range w.workers {
			if worker.polling && len(old) > 0 && &worker.rules[0] == &old[0] {
				w.Fatal("a ruleset is released that a worker asks")
			}
		}
		w.ps.ReleaseRules(indices)
	})
}

// Reclaim is what control does every now and then.
func (w *policyWorld) Reclaim(*rapid.T) {
	waiting := w.ps.Reclaim()
	want := 0
	for o := range w.objects {
		switch {
		case o.draining && o.referred():
			want++
		case o.draining:
			delete(w.objects, o)
		}
	}
	if waiting != want {
		w.Fatalf("%d wait for references, want %d", waiting, want)
	}
	w.domain.Reclaim()
}

// Detach takes deleted policies away from flows, in steps between polls. A worker
// in a poll has not looked at its mail yet.
func (w *policyWorld) Detach(*rapid.T) {
	for _, worker := range w.workers {
		if worker.polling {
			w.Skip("a worker is in a poll")
		}
	}
	set, some := w.ps.ToDetach()
	for _, worker := range w.workers {
		for from := worker.table.Detach(&set, 0, 7); from != 0; {
			from = worker.table.Detach(&set, from, 7)
		}
		for _, f := range worker.flows {
			if o := f.object; o != nil && o.draining && (o.rules == 0 || o.early > 0) && !(some && set.Has(o.index)) {
				w.Fatalf("flows keep policy %s, which is deleted", o.name)
			}
		}
	}
	for _, worker := range w.workers {
		for _, f := range worker.flows {
			if o := f.object; o != nil && set.Has(o.index) {
				if !o.draining {
					w.Fatalf("policy %s is taken away and not deleted", o.name)
				}
				o.flows, f.object, o.early = o.flows-1, nil, 0
			}
		}
	}
}

// Poll begins a worker's poll: it sees what is published.
func (w *policyWorld) Poll(*rapid.T) {
	worker := w.worker(false)
	worker.polling, worker.rules = true, w.published
	worker.member.Online()
}

// EndPoll ends it: what is still in hand is dropped.
func (w *policyWorld) EndPoll(*rapid.T) {
	worker := w.worker(true)
	worker.polling, worker.hand, worker.rules = false, nil, nil
	if rapid.Bool().Draw(w.T, "offline") {
		worker.member.Offline()
		return
	}
	worker.member.Quiescent()
}

// Match: a new packet meets a rule.
func (w *policyWorld) Match(*rapid.T) {
	worker := w.worker(true)
	if len(worker.flows)+len(worker.hand)+len(worker.queue) > 200 {
		w.Skip("full")
	}
	w.tuples++
	p := modelPacket{tuple: udp4(w.tuples)}
	kind := modelKinds[0]
	if rapid.Bool().Draw(w.T, "ipv6") {
		p.tuple, kind = udp6(w.tuples), modelKinds[1]
	}
	load(&p.packet, &worker.table.secret, p.tuple, 0)
	p.packet.State = packet.CtNew
	for range 2 { // the first policy that fits stays
		o := rapid.SampledFrom(worker.rules).Draw(w.T, "rule")
		if o == nil {
			continue
		}
		worker.table.Attach(&p.packet, o.index)
		if p.object == nil && o.kind == kind {
			p.object = o
		}
	}
	worker.hand = append(worker.hand, p)
}

// take removes one element that is drawn.
func take(w *policyWorld, from *[]modelPacket) modelPacket {
	if len(*from) == 0 {
		w.Skip("no packet")
	}
	i := rapid.IntRange(0, len(*from)-1).Draw(w.T, "packet")
	p := (*from)[i]
	*from = append((*from)[:i:i], (*from)[i+1:]...)
	return p
}

// Confirm: a packet in hand leaves, and its flow is entered.
func (w *policyWorld) Confirm(*rapid.T) {
	worker := w.worker(true)
	w.confirm(worker, take(w, &worker.hand))
}

func (w *policyWorld) confirm(worker *modelWorker, p modelPacket) {
	if !worker.table.Confirm(&p.packet, w.now, w.ps.Timeouts()) {
		w.Fatal("refused")
	}
	if p.object != nil {
		p.object.flows++
	}
	worker.flows = append(worker.flows, &modelFlow{p.packet.Flow, p.tuple, p.object, Tick(w.now) + w.timeoutOf(p.object)})
}

// Queue: a packet in hand is to wait for a verdict.
func (w *policyWorld) Queue(*rapid.T) {
	worker := w.worker(true)
	p := take(w, &worker.hand)
	worker.table.HoldPolicy(&p.packet)
	if p.object != nil {
		p.object.queued++
	}
	worker.queue = append(worker.queue, p)
}

// Verdict: a packet that waited goes on, or is dropped.
func (w *policyWorld) Verdict(*rapid.T) {
	worker := w.worker(true)
	p := take(w, &worker.queue)
	if rapid.Bool().Draw(w.T, "accepted") {
		w.confirm(worker, p)
	}
	worker.table.ReleasePolicy(p.packet.Policy)
	if p.object != nil {
		p.object.queued--
	}
}

// Refresh: a packet of a flow comes.
func (w *policyWorld) Refresh(*rapid.T) {
	worker := w.worker(true)
	if len(worker.flows) == 0 {
		w.Skip("no flow")
	}
	f := rapid.SampledFrom(worker.flows).Draw(w.T, "flow")
	if int32(f.deadline-Tick(w.now)) <= 0 {
		w.Skip("it has ended, and the wheel has not come by yet")
	}
	if p := send(worker.table, w.now, w.ps.Timeouts(), f.tuple); p.Flow != f.index {
		w.Fatalf("flow %v is not found", f.tuple)
	}
	f.deadline = Tick(w.now) + w.timeoutOf(f.object)
}

// Expire: time passes, and a worker expires flows.
func (w *policyWorld) Expire(*rapid.T) {
	worker := w.worker(true)
	w.now += rapid.Int64Range(0, 60).Draw(w.T, "seconds") * second
	worker.table.Expire(w.now, 1<<20)
	kept := worker.flows[:0]
	for _, f := range worker.flows {
		gone := worker.table.Flow(f.index).k1 == 0
		over := int32(Tick(w.now) - f.deadline)
		if gone && over < 0 || !gone && over >= 1<<slotTicks {
			w.Fatalf("flow %v: gone %v, %d ticks over its deadline", f.tuple, gone, over)
		}
		if !gone {
			kept = append(kept, f)
		} else if f.object != nil {
			f.object.flows--
		}
	}
	worker.flows = kept
}

func (w *policyWorld) Check(*rapid.T) { w.compare() }

// shutdown is the end of a switch: workers leave, tables go, and nothing is left.
func (w *policyWorld) shutdown(t *testing.T) {
	for _, worker := range w.workers {
		for len(worker.queue) > 0 && rapid.Bool().Draw(w.T, "verdict before the end") {
			worker.table.ReleasePolicy(worker.queue[0].packet.Policy)
			worker.queue = worker.queue[1:]
		}
		worker.member.Offline()
		worker.member.Leave()
	}
	var indices []uint16
	for _, o := range w.published {
		if o != nil {
			indices = append(indices, o.index)
		}
	}
	for _, worker := range w.workers {
		if err := worker.table.Close(); err != nil {
			t.Fatal(err)
		}
	}
	w.workers = nil
	w.domain.Reclaim()
	w.ps.ReleaseRules(indices)
	w.ps.DeleteAll()
	if waiting := w.ps.Reclaim(); waiting != 0 {
		w.Fatalf("%d policies are referred to after the end: %+v", waiting, w.ps.List())
	}
	if _, waiting := w.domain.Reclaim(); waiting != 0 {
		w.Fatalf("%d wait for workers after the end", waiting)
	}
	for i, o := range w.ps.objects {
		if o != nil || w.ps.alive[i].Load() {
			w.Fatalf("policy %d is left: %+v", i, o)
		}
	}
	if err := w.ps.Close(); err != nil {
		t.Fatal(err)
	}
}

// TO-2, TO-3, TO-4, TO-5, TO-6, TO-7, TO-8: whatever order policies are created,
// attached, replaced and deleted in, rules removed, packets queued, flows expired
// and workers stalled: the counts are those of the model after each step, no worker
// ever meets a row that was freed, and nothing is left at the end.
func TestPolicyLife(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newPolicyWorld(rt, t)
		actions := rapid.StateMachineActions(w)
		for name, do := range actions {
			actions[name] = func(step *rapid.T) { w.T = step; do(step) }
		}
		for range 8 { // what is far apart takes longer than the 30 steps of one
			rt.Repeat(actions)
		}
		w.T = rt
		w.shutdown(t)
	})
}

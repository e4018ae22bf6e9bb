package pipeline

import (
	"net/netip"
	"testing"
	"time"

	"ffwd/ct"
	"ffwd/packet"
	"ffwd/policy"
	"ffwd/queue"

	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"
)

var acceptAll = policy.Defaults{In: policy.Accept, Out: policy.Accept}

// hits returns what each rule and each default counted.
func (w *world) hits() []RuleHits {
	rules := w.snapshot.Rules
	hits := make([]RuleHits, rules.Len()+2)
	w.worker.AddRuleHits(rules.Generation(), hits)
	return hits
}

// FF-6: a rule that sets a mark lets the walk go on; rules behind it, at the out hook
// too, see the mark; the decision for the flow remembers it.
func TestMarks(t *testing.T) {
	bits := func(v, mask uint32) policy.Bits { return policy.Bits{Value: v, Mask: mask} }
	any := policy.AnyProtocol
	w := newWorld(t)
	w.setRules(2, acceptAll,
		policy.Rule{Hook: policy.HookIn, Protocol: any, Action: policy.Continue, SetMark: bits(0x10, 0xf0)},
		policy.Rule{Hook: policy.HookIn, Protocol: any, Action: policy.Continue, SetMark: bits(1, 0xf)},
		policy.Rule{Hook: policy.HookIn, Protocol: any, Action: policy.Drop, Mark: bits(0x12, 0xff)},
		policy.Rule{Hook: policy.HookIn, Protocol: any, Action: policy.Accept, Mark: bits(0x11, 0xffffffff), SetMark: bits(0x100, 0x100)},
		policy.Rule{Hook: policy.HookIn, Protocol: any, Action: policy.Drop},
		policy.Rule{Hook: policy.HookOut, Protocol: any, Action: policy.Accept, Mark: bits(0x111, 0xffffffff)},
		policy.Rule{Hook: policy.HookOut, Protocol: any, Action: policy.Drop},
	)
	for i := range 5 { // new, then by asking, then by the flow's decision
		if out := w.send(0, udp4(1)); len(out[1]) != 1 {
			t.Fatalf("packet %d was stopped", i)
		}
	}
	for slot, want := range []uint64{5, 5, 0, 5, 0, 5, 0, 0, 0} {
		if got := w.hits()[slot].Packets; got != want {
			t.Errorf("rule %d counted %d, want %d", slot, got, want)
		}
	}
}

// FF-6, CT-10: the connection's mark is set by its first packet and seen by all others,
// in both directions; one that is set later is seen by the packets after it.
func TestConnectionMark(t *testing.T) {
	mark := func(v uint32) policy.Bits { return policy.Bits{Value: v, Mask: 0xffffffff} }
	any := policy.AnyProtocol
	w := newWorld(t)
	w.setRules(2, denyRest,
		policy.Rule{Hook: policy.HookIn, Protocol: any, InPorts: []uint16{ifLAN}, States: policy.States(policy.New), Action: policy.Accept, SetCtMark: mark(7)},
		policy.Rule{Hook: policy.HookIn, Protocol: any, CtMark: mark(7), Action: policy.Accept},
	)
	reply := back(ip4(b4, a4, layers.IPProtocolUDP), udp(2000, 1000), data(1))
	for i, out := range [][2][][]byte{w.send(0, udp4(1)), w.send(1, reply), w.send(0, udp4(1)), w.send(1, reply)} {
		if len(out[0])+len(out[1]) != 1 {
			t.Fatalf("packet %d was stopped", i)
		}
	}
	w.setRules(3, denyRest,
		policy.Rule{Hook: policy.HookIn, Protocol: any, CtMark: mark(7), Action: policy.Accept, SetCtMark: mark(8)},
		policy.Rule{Hook: policy.HookIn, Protocol: any, CtMark: mark(8), Action: policy.Accept, SetCtMark: mark(9)},
	)
	if n := len(w.send(0, udp4(1))[1]) + len(w.send(0, udp4(1))[1]); n != 2 {
		t.Fatalf("%d of 2 passed", n)
	}
	if out := w.send(1, reply); len(out[0]) != 0 {
		t.Error("a mark that no rule takes passed")
	}
	var got uint32
	w.worker.Table().Walk(0, 1000, func(i uint32) bool { got = w.worker.Table().Info(i, 0).Mark; return true })
	if got != 9 {
		t.Errorf("the flow's mark is %d", got)
	}
}

// FF-6: hits are exact whether a packet asked the rules or its flow remembered, with
// and without flows: what a ruleset without any memory counts.
func TestRuleHitsOracle(t *testing.T) {
	nobodyListens := func(c *Config, w *world) {
		set, err := queue.NewSet([]queue.Options{{MaxPackets: 8, MaxBytes: 1 << 16, Timeout: time.Hour, Stall: time.Hour}}, 1)
		must(w.t, err)
		c.Queues = set.NewWorker(0, [2]uint64{})
	}
	remembering, forgetful := newWorld(t, nobodyListens), newWorld(t, stateless, nobodyListens)
	generation := uint32(1)
	rapid.Check(t, func(rt *rapid.T) {
		any, small := policy.AnyProtocol, rapid.SampledFrom([]policy.Action{policy.Accept, policy.Accept, policy.Continue, policy.Drop, policy.Reject, policy.Queue})
		rules := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) policy.Rule {
			r := policy.Rule{Hook: policy.Hook(rapid.IntRange(0, 1).Draw(t, "hook")), Protocol: any, Action: small.Draw(t, "action")}
			if r.Action == policy.Queue {
				r.Queue = policy.QueueTo{Bypass: true, Divert: rapid.Bool().Draw(t, "divert")}
			}
			if port := uint16(rapid.IntRange(0, 4).Draw(t, "port")); port > 0 {
				r.Protocol, r.DstPorts = 17, []policy.PortRange{{First: port, Last: port + 1}}
			}
			if n := uint32(rapid.IntRange(0, 3).Draw(t, "mark")); n > 0 {
				r.SetMark = policy.Bits{Value: n, Mask: 3}
			}
			if rapid.IntRange(0, 3).Draw(t, "ask for mark") == 0 {
				r.Mark = policy.Bits{Value: 1, Mask: 1}
			}
			return r
		}), 1, 12).Draw(rt, "rules")
		generation++
		for _, w := range []*world{remembering, forgetful} {
			w.snapshot.ErrorRate = 0
			w.setRules(generation, acceptAll, rules...)
		}
		for range 30 {
			f := frame(ip4(a4, b4, layers.IPProtocolUDP), udp(9, uint16(rapid.IntRange(1, 5).Draw(rt, "to"))), data(rapid.IntRange(1, 50).Draw(rt, "size")))
			if a, b := remembering.send(0, f), forgetful.send(0, f); len(a[1]) != len(b[1]) {
				rt.Fatalf("%d left with flows, %d without", len(a[1]), len(b[1]))
			}
		}
		a, b := remembering.hits(), forgetful.hits()
		for i := range a {
			if a[i] != b[i] {
				rt.Fatalf("slot %d of %d rules: %+v with flows, %+v without", i, len(rules), a[i], b[i])
			}
		}
	})
}

// FF-6, VQ-1: a flow remembers that it is queued, by which rule and with which mark, and the
// listener is asked for every packet all the same.
func TestQueueIsRemembered(t *testing.T) {
	mark := policy.Rule{Hook: policy.HookIn, Protocol: policy.AnyProtocol, Action: policy.Continue, SetMark: policy.Bits{Value: 5, Mask: 7}}
	q := newQueueWorld(t, mark, queueTo(policy.HookIn, policy.QueueTo{}), dropRule(policy.HookIn))
	for i := range 5 { // new; asks for its flow; then remembered
		q.send(0, udp4(i))
		p := q.receive(1)[0]
		if out := q.decide(p, accept); len(out[1]) != 1 || p.Mark != 5 {
			t.Fatalf("packet %d: %d frames left, mark %d", i, len(out[1]), p.Mark)
		}
	}
	l := q.worker.ledger
	if l.hits[1].Packets != 2 || q.hits()[1].Packets != 5 || q.hits()[2].Packets != 0 {
		t.Errorf("%d packets asked, %+v counted", l.hits[1].Packets, q.hits())
	}
	q.setRules(7, acceptAll)
	if out := q.send(0, udp4(9)); len(out[1]) != 1 {
		t.Error("queued by rules that are not there any more")
	}
}

// FF-6: a new ruleset begins to count anew, and decisions of the old one are not taken.
func TestRuleHitsOfANewRuleset(t *testing.T) {
	w := newWorld(t)
	all := policy.Rule{Hook: policy.HookIn, Protocol: policy.AnyProtocol, Action: policy.Accept}
	w.setRules(2, acceptAll, all)
	w.send(0, udp4(1), udp4(1))
	w.send(0, udp4(1))
	old := w.snapshot.Rules
	w.setRules(3, acceptAll, all)
	w.send(0, udp4(1))
	if got := w.hits()[0]; got != (RuleHits{1, 29}) {
		t.Errorf("%+v", got)
	}
	stale := make([]RuleHits, 3)
	if w.worker.AddRuleHits(old.Generation(), stale); stale[0].Packets != 0 {
		t.Error("the old ruleset's hits were added")
	}
}

// FF-6: more decisions than the ledger takes are not remembered, and counted all the same.
func TestLedgerBounds(t *testing.T) {
	l := newLedger()
	l.follow(1, 10)
	first := decided{ingress: 1, markBefore: 0}
	if n := l.enter(&first); n != 1 || l.enter(&first) != 1 {
		t.Fatalf("the first decision has number %d", n)
	}
	for i := range uint32(maxDecisions) {
		l.enter(&decided{ingress: 1, markBefore: i + 1})
	}
	if n := l.enter(&decided{ingress: 2}); n != 0 || l.n != maxDecisions {
		t.Errorf("number %d of %d decisions", n, l.n)
	}
	if l.enter(&decided{ingress: 1, markBefore: 5}) != 6 || l.enter(&first) != 1 {
		t.Error("a full ledger does not find its decisions")
	}
	if none := (&packet.Packet{Ingress: 1}); l.decisions[0].holdsFor(none) {
		t.Error("no decision holds for a packet")
	}
	l.follow(2, 3)
	if l.n != 1 || l.enter(&decided{ingress: 2}) != 1 {
		t.Error("a new ruleset's ledger is not empty")
	}
	w := newWorld(t)
	w.setRules(2, acceptAll, policy.Rule{Hook: policy.HookIn, Protocol: policy.AnyProtocol, Action: policy.Accept})
	w.worker.ledger.follow(2, 1)
	w.worker.ledger.n = maxDecisions
	for range 4 {
		w.send(0, udp4(1))
	}
	if got := w.hits()[0].Packets; got != 4 {
		t.Errorf("%d of 4 counted", got)
	}
}

// A rule on an address of both hooks' defaults: packets that no rule takes are counted
// for the default.
func TestDefaultHits(t *testing.T) {
	w := newWorld(t)
	w.setRules(2, policy.Defaults{In: policy.Drop, Out: policy.Accept},
		policy.Rule{Hook: policy.HookIn, Protocol: policy.AnyProtocol, Action: policy.Accept, Src: []netip.Prefix{netip.PrefixFrom(a4, 32)}})
	w.send(0, udp4(1), udp6(1), udp6(1))
	hits := w.hits()
	if hits[0].Packets != 1 || hits[1+int(ct.HookIn)].Packets != 2 || hits[1+int(ct.HookOut)].Packets != 0 {
		t.Errorf("%+v", hits)
	}
}

// FF-6: flows remember by what ruleset they were judged, whatever its generation.
func TestDecisionsOfEveryGeneration(t *testing.T) {
	for _, generation := range []uint32{1, 1 << 16, policy.MaxGeneration} {
		var f ct.Flow
		f.Remember(generation, ct.Original, ct.HookIn, 7)
		if got := f.Decision(generation, ct.Original, ct.HookIn); got != 7 || f.Decision(generation-1, ct.Original, ct.HookIn) != 0 {
			t.Errorf("generation %d: decision %d", generation, got)
		}
	}
}

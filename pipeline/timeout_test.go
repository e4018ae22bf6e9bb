package pipeline

import (
	"testing"
	"time"

	"ffwd/ct"
	"ffwd/epoch"
	"ffwd/packet"
	"ffwd/policy"
	"ffwd/queue/client"

	"github.com/gopacket/gopacket/layers"
)

// withPolicies gives the world's flows timeout policies of these kinds; the one at
// index i lives i hours in every state.
func withPolicies(kinds ...ct.Kind) option { return withRegistry(new(*ct.Policies), kinds...) }

// withRegistry is withPolicies that shows them.
func withRegistry(to **ct.Policies, kinds ...ct.Kind) option {
	return func(c *Config, w *world) {
		ps, err := ct.NewPolicies(ct.DefaultTimeouts(), new(epoch.Domain))
		if err != nil {
			w.t.Fatal(err)
		}
		*to = ps
		for i, k := range kinds {
			row := new(ct.Timeouts)
			for s := range row {
				row[s] = ct.Tick(int64(i+1) * int64(time.Hour))
			}
			if err := ps.Add(ct.Policy{Name: string(rune('a' + i)), Kind: k}, row, false); err != nil {
				w.t.Fatal(err)
			}
		}
		table, err := ct.New(ct.Options{MaxFlows: 4096, MaxFlowsIPv6: 4096, Secret: *c.Secret, StartNs: testClock.Now(), Policies: ps})
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { table.Close(); ps.Close() })
		c.Table, w.snapshot.Timeouts = table, ps.Timeouts()
		w.publish()
	}
}

// hours returns the policy and the hours left of the world's flows, by protocol.
func (w *world) hours() map[uint8][2]int {
	flows := map[uint8][2]int{}
	w.worker.Table().Walk(0, 1<<20, func(i uint32) bool {
		f := w.worker.Table().Info(i, testClock.Now())
		flows[f.Proto] = [2]int{int(f.Policy), int(f.Expires.Round(time.Hour) / time.Hour)}
		return true
	})
	return flows
}

// TO-3: the first rule with a policy that fits gives it to a new flow, in either
// hook, whether the rule decides or not; a flow that is there takes none.
func TestRulesGiveTimeouts(t *testing.T) {
	udp4Kind, udp6Kind := ct.Kind{Family: 4, Protocol: packet.ProtoUDP}, ct.Kind{Family: 6, Protocol: packet.ProtoUDP}
	give := func(hook policy.Hook, action policy.Action, index uint16) policy.Rule {
		return policy.Rule{Hook: hook, Action: action, Protocol: policy.AnyProtocol, Timeout: index}
	}
	for name, tc := range map[string]struct {
		rules []policy.Rule
		want  [2]int // policy and hours of the UDP flow over IPv4
	}{
		"none":                  {nil, [2]int{0, 0}},
		"a rule that decides":   {[]policy.Rule{give(policy.HookIn, policy.Accept, 1)}, [2]int{1, 1}},
		"out hook":              {[]policy.Rule{give(policy.HookOut, policy.Accept, 2)}, [2]int{2, 2}},
		"a rule that continues": {[]policy.Rule{give(policy.HookIn, policy.Continue, 2), give(policy.HookIn, policy.Accept, 1)}, [2]int{2, 2}},
		"the first one stays":   {[]policy.Rule{give(policy.HookIn, policy.Accept, 1), give(policy.HookOut, policy.Accept, 2)}, [2]int{1, 1}},
		"the first that fits":   {[]policy.Rule{give(policy.HookIn, policy.Accept, 3), give(policy.HookOut, policy.Accept, 2)}, [2]int{2, 2}},
	} {
		w := newWorld(t, withPolicies(udp4Kind, udp4Kind, udp6Kind))
		w.setRules(2, policy.Defaults{In: policy.Accept, Out: policy.Accept}, tc.rules...)
		w.send(0, udp4(4), tcpFrame("S"))
		if got := w.hours(); got[packet.ProtoUDP] != tc.want || got[packet.ProtoTCP] != [2]int{0, 0} {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
		// The flow is there: other rules change nothing.
		w.setRules(3, policy.Defaults{In: policy.Accept, Out: policy.Accept}, give(policy.HookIn, policy.Accept, 3-max(1, uint16(tc.want[0]))))
		w.send(0, udp4(4))
		w.send(1, back(ip4(b4, a4, layers.IPProtocolUDP), udp(2000, 1000), data(4)))
		if got := w.hours(); got[packet.ProtoUDP] != tc.want {
			t.Errorf("%s: %v after other rules, want %v", name, got, tc.want)
		}
	}
}

// TO-3: a TCP connection keeps its policy through its states, and all of them live
// by it.
func TestConnectionKeepsItsTimeouts(t *testing.T) {
	w := newWorld(t, withPolicies(ct.Kind{Family: 4, Protocol: packet.ProtoTCP}))
	w.setRules(2, policy.Defaults{In: policy.Accept, Out: policy.Accept}, policy.Rule{Protocol: policy.AnyProtocol, Action: policy.Accept, Timeout: 1})
	for i, s := range []struct {
		port  int
		frame []byte
	}{{0, tcpFrame("S")}, {1, tcpBack("SA")}, {0, tcpFrame("A")}, {1, tcpBack("A")}} {
		w.send(s.port, s.frame)
		if got := w.hours()[packet.ProtoTCP]; got != [2]int{1, 1} {
			t.Errorf("segment %d: policy and hours %v", i, got)
		}
	}
}

// TO-4, TO-5: a packet that waits in a verdict queue refers to its policy until it goes
// on or is dropped; its flow does from then on, also if the policy was deleted.
func TestQueuedPacketsHoldTheirTimeouts(t *testing.T) {
	var ps *ct.Policies
	give := policy.Rule{Hook: policy.HookIn, Action: policy.Continue, Protocol: policy.AnyProtocol, Timeout: 1}
	q := newQueueWorldWith(t, withRegistry(&ps, ct.Kind{Family: 4, Protocol: packet.ProtoUDP}), withRules(give, queueTo(policy.HookIn, policy.QueueTo{})))
	refers := func(when string, queued, flows int) {
		t.Helper()
		if list := ps.List(); len(list) != 1 || list[0].Queued != queued || list[0].Flows != flows {
			t.Errorf("%s: %+v, want %d queued packets and %d flows", when, list, queued, flows)
		}
	}
	other := frame(ip4(a4, b4, layers.IPProtocolUDP), udp(1001, 2000), data(4))
	again := frame(ip4(a4, b4, layers.IPProtocolUDP), udp(1002, 2000), data(4))
	q.send(0, udp4(4), udp4(5), other, again, tcpFrame("S"))
	p := q.receive(5)
	refers("four of five fit", 4, 0)
	if err := ps.Delete("a"); err != nil {
		t.Fatal(err)
	}
	if ps.Reclaim() != 1 {
		t.Error("let go while packets wait")
	}
	q.decide(p[0], accept)
	refers("the first begins a flow", 3, 1)
	q.decide(p[1], accept)
	refers("the second joins it", 2, 1)
	q.decide(p[2], drop)
	refers("the third is dropped", 1, 1)
	q.decide(p[3], client.Verdict{Action: client.Repeat})
	refers("the fourth meets the rules again", 1, 1)
	q.decide(q.receive(1)[0], accept)
	refers("and is accepted", 0, 2)
	if got := q.hours()[packet.ProtoUDP]; got != [2]int{1, 1} {
		t.Errorf("policy and hours %v", got)
	}
	set, _ := ps.ToDetach()
	q.worker.Table().Detach(&set, 0, 1<<20)
	if refers("detached", 0, 0); ps.Reclaim() != 0 {
		t.Errorf("%+v", ps.List())
	}
}

// TO-4: a packet whose flow another one confirmed while it waited refers to its flow, not to
// the policy, when it waits again.
func TestQueuedPacketOfKnownFlowHoldsNoTimeout(t *testing.T) {
	var ps *ct.Policies
	give := policy.Rule{Hook: policy.HookIn, Action: policy.Continue, Protocol: policy.AnyProtocol, Timeout: 1}
	q := newQueueWorldWith(t, withRegistry(&ps, ct.Kind{Family: 4, Protocol: packet.ProtoUDP}),
		withRules(give, queueTo(policy.HookIn, policy.QueueTo{}), queueTo(policy.HookOut, policy.QueueTo{First: 1, Last: 1})))
	in := q.listener
	out, err := client.Open(t.Context(), q.path, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	q.until(func() bool { return q.set.Lookup(1).Listening() })
	q.worker.poll(true)
	refers := func(when string, queued, flows int) {
		t.Helper()
		if list := ps.List(); len(list) != 1 || list[0].Queued != queued || list[0].Flows != flows {
			t.Errorf("%s: %+v, want %d queued packets and %d flows", when, list, queued, flows)
		}
	}
	q.send(0, udp4(4), udp4(5))
	p := q.receive(2)
	refers("both at hook in", 2, 0)
	q.decide(p[0], accept)
	q.listener = out
	first := q.receive(1)[0]
	refers("one at hook out", 2, 0)
	q.decide(first, accept)
	refers("it has begun the flow", 1, 1)
	q.listener = in
	q.decide(p[1], accept)
	q.listener = out
	second := q.receive(1)[0]
	refers("the other joined and waits at hook out", 0, 1)
	if left := q.decide(second, accept)[1]; len(left) != 1 {
		t.Error("it is lost")
	}
	refers("and has left", 0, 1)
	q.listener = in
}

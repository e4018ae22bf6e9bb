package pipeline

import (
	"testing"

	"ffwd/ct"
	"ffwd/packet"
	"ffwd/policy"

	"github.com/gopacket/gopacket/layers"
)

func limitedTo(most uint32, perSource bool) option {
	return func(_ *Config, w *world) {
		w.snapshot.Tracking.Limits = &ct.Limits{1: {Max: most, PerSource: perSource}}
	}
}

// CT-7: a rule with a limit is for the connections above it: the others go on to the next
// rule, those that there are stay, and one that ends makes room for another. Of two
// ports in one poll, and of many packets in one burst, no more pass than may.
func TestConnectionLimit(t *testing.T) {
	over := policy.Rule{Hook: policy.HookIn, Protocol: 17, Action: policy.Reject, Limit: 1}
	rest := policy.Rule{Hook: policy.HookIn, Protocol: policy.AnyProtocol, Action: policy.Accept}
	w := newWorld(t, limitedTo(5, false))
	w.setRules(2, denyRest, over, rest)
	flow := func(i int) []byte {
		return frame(ip4(a4, b4, layers.IPProtocolUDP), udp(uint16(i), 2000), data(4))
	}
	other := back(ip4(b4, a4, layers.IPProtocolUDP), udp(7, 7), data(4))
	w.rx[1].frames = append(w.rx[1].frames, other, other)
	out := w.send(0, flow(1), flow(2), flow(3), flow(4), flow(5), flow(6), flow(1), flow(7))
	if len(out[1]) != 6+2 || len(out[0]) != 0 || w.drops(packet.CtRuleLimit) != 2 || w.drops(packet.PolicyIn) != 2 {
		t.Fatalf("%d and %d left, %d refused, %d rejected", len(out[1]), len(out[0]), w.drops(packet.CtRuleLimit), w.drops(packet.PolicyIn))
	}
	out = w.send(0, flow(6), flow(2))
	if len(out[1]) != 1 || len(out[0]) != 1 || w.drops(packet.PolicyIn) != 3 {
		t.Fatalf("above the limit: %d left, %d answers", len(out[1]), len(out[0]))
	}
	if hits := w.hits(); hits[0].Packets != 3 || hits[1].Packets == 0 {
		t.Errorf("hits %+v: the rule counts what it rejected", hits)
	}
	table := w.worker.Table()
	table.Walk(1, 1000, func(i uint32) bool { table.Delete(i); return false })
	if out := w.send(0, flow(6)); len(out[1]) != 1 {
		t.Error("a connection that ended made no room")
	}
	if out := w.send(0, tcpFrame("S")); len(out[1]) != 1 {
		t.Error("the limit holds for what the rule does not match")
	}
}

// CT-7: a limit per source leaves the other sources theirs.
func TestConnectionLimitPerSource(t *testing.T) {
	over := policy.Rule{Hook: policy.HookIn, Protocol: policy.AnyProtocol, Action: policy.Drop, Limit: 1}
	w := newWorld(t, limitedTo(1, true))
	w.setRules(2, policy.Defaults{In: policy.Accept, Out: policy.Accept}, over)
	w.send(0, udp4(1))
	if out := w.send(0, udp4(1), tcpFrame("S"), udp6(1)); len(out[1]) != 2 || w.drops(packet.PolicyIn) != 1 {
		t.Errorf("%d left, %d dropped", len(out[1]), w.drops(packet.PolicyIn))
	}
	if out := w.send(1, back(ip4(b4, a4, layers.IPProtocolUDP), udp(9, 9), data(4))); len(out[0]) != 1 {
		t.Error("another source has no connection")
	}
}

// CT-7: a rule with priority gives its connections what is kept for them, whether it
// decides itself or a later one does.
func TestPriorityRule(t *testing.T) {
	ssh := policy.Rule{Hook: policy.HookIn, Protocol: 6, Action: policy.Continue, Priority: true}
	w := newWorld(t)
	w.snapshot.Tracking.Reserve = 4096
	w.setRules(2, policy.Defaults{In: policy.Accept, Out: policy.Accept}, ssh)
	if out := w.send(0, udp4(1), tcpFrame("S")); len(out[1]) != 1 || w.drops(packet.CtTableFull) != 1 {
		t.Errorf("%d left, %d refused", len(out[1]), w.drops(packet.CtTableFull))
	}
	if _, flows := w.worker.Counters(); flows.Reserved != 1 || flows.Flows4 != 1 {
		t.Errorf("%+v", flows)
	}
}

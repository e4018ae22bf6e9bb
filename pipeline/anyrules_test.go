package pipeline

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"ffwd/ct"
	"ffwd/fib"
	"ffwd/packet"
	"ffwd/policy"
)

// someRule is one of the rules that can stand on a flow's way without a listener.
func someRule(rng *rand.Rand) policy.Rule {
	bits := func() (b policy.Bits) {
		if rng.IntN(2) == 0 {
			b = policy.Bits{Value: rng.Uint32N(4), Mask: 3}
		}
		return b
	}
	port := func() []uint16 {
		if rng.IntN(3) > 0 {
			return nil
		}
		return []uint16{[...]uint16{ifLAN, ifWAN, ifTag}[rng.IntN(3)]}
	}
	actions := []policy.Action{policy.Accept, policy.Accept, policy.Continue, policy.Continue, policy.Continue,
		policy.Drop, policy.Reject, policy.SNAT, policy.Masquerade, policy.DNAT}
	r := policy.Rule{
		Hook: [...]policy.Hook{policy.HookIn, policy.HookOut}[rng.IntN(2)], Action: actions[rng.IntN(len(actions))],
		Protocol: []int{policy.AnyProtocol, packet.ProtoTCP, packet.ProtoUDP}[rng.IntN(3)], InPorts: port(), Mark: bits(), CtMark: bits(),
	}
	if rng.IntN(3) == 0 {
		r.States = policy.States(policy.Established)
	}
	switch r.Action {
	case policy.Drop, policy.Reject:
		to := []string{"10.7.7.0/24", "20.0.0.0/8", "10.2.2.0/24", "fd01:2::/32"}
		r.Dst = []netip.Prefix{netip.MustParsePrefix(to[rng.IntN(len(to))])}
	case policy.SNAT:
		r.Hook, r.To.First = policy.HookOut, netip.MustParseAddr("10.2.2.50")
	case policy.Masquerade:
		r.Hook = policy.HookOut
	case policy.DNAT:
		r.Hook, r.To.First, r.Dst = policy.HookIn, b4, []netip.Prefix{netip.MustParsePrefix("20.0.0.0/8")}
	}
	if r.Action != policy.Drop && r.Action != policy.Reject {
		r.SetMark, r.SetCtMark = bits(), bits()
	}
	if r.To.Last = r.To.First; r.Action.Translates() {
		r.States, r.Protocol = 0, packet.ProtoUDP
	}
	if r.Hook == policy.HookOut {
		r.OutPorts = port()
	}
	return r
}

// The short ways do what the long one does whatever rules stand at the hooks, while rules and
// routes change: to frames, flows, their marks, and the rules' counters. FF-6, CT-2
func TestShortWaysUnderAnyRules(t *testing.T) {
	const rulesets = 60
	secret, took := ct.NewSecret(), 0 // one for both worlds: it chooses the ports of translated flows
	w := newWays(t, 0, func(c *Config, _ *world) {
		table, err := ct.New(ct.Options{MaxFlows: 4096, MaxFlowsIPv6: 4096, Translations: 4096, Secret: secret})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { table.Close() })
		c.Table, c.Secret = table, &secret
	})
	for generation := range uint32(rulesets) {
		rules := make([]policy.Rule, w.rng.IntN(5))
		for i := range rules {
			rules[i] = someRule(w.rng)
		}
		way := fib.Route{Prefix: netip.MustParsePrefix("20.1.1.0/24"), Hops: []fib.Hop{{Via: [...]netip.Addr{a4, b4}[w.rng.IntN(2)]}}}
		for _, world := range []*world{w.short, w.long} {
			world.setRules(2+generation, policy.Defaults{In: policy.Accept, Out: policy.Accept}, rules...)
		}
		before := w.took
		for i := range 100 {
			if i == 50 {
				w.short.route(way)
				w.long.route(way)
			}
			w.exchange(i)
		}
		if w.compare(); t.Failed() {
			t.Fatalf("rules %+v", rules)
		}
		if w.took > before {
			took++
		}
	}
	if took < rulesets/2 {
		t.Errorf("Express took packets under %d of %d rulesets", took, rulesets)
	}
}

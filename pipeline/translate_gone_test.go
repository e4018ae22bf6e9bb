package pipeline

import (
	"fmt"
	"net/netip"
	"testing"

	"ffwd/ct"
	"ffwd/packet"
	"ffwd/policy"
)

// withTable is a world with a flow table of another size.
func withTable(flows, translations int) option {
	return func(c *Config, w *world) {
		table, err := ct.New(ct.Options{MaxFlows: flows, Translations: translations, Secret: *c.Secret})
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { table.Close() })
		c.Table = table
	}
}

// FF-6, CT-7: a flow that was never answered may give way to another packet of the burst in which it has a packet
// itself, when the rules are asked, where no translation is free, or at the end, where the table is full. That
// packet leaves with nobody else's addresses, but not at all, and is counted.
func TestFlowGivesWayToAnotherPacketOfTheBurst(t *testing.T) {
	const aged, flows = 1000, ct.MinFlows
	other, second := netip.MustParseAddr("192.0.2.8"), netip.MustParseAddr("10.2.2.3")
	to := func(r policy.Rule, dst netip.Addr, sources ...policy.PortRange) policy.Rule {
		r.Dst, r.SrcPorts = []netip.Prefix{netip.PrefixFrom(dst, 32)}, sources
		return r
	}
	rules := withRules(to(natRule(policy.DNAT, b4, 80), v4), to(natRule(policy.DNAT, second, 90), other),
		to(natRule(policy.Masquerade, netip.Addr{}, 9000), b4, policy.PortRange{First: aged, Last: aged}))
	forwarded, hidden := datagramOf(true, a4, v4, aged, 2000), datagramOf(true, a4, b4, aged, 2000)
	for _, c := range []struct {
		name, want string
		old        []byte
	}{{"dnat", "10.2.2.1.9000 > 10.2.2.2.80", forwarded}, {"masquerade", "10.2.2.1.9000 > 10.2.2.2.2000", hidden}} {
		w := newWorld(t, withTable(flows, 1), rules)
		w.know(ifWAN, second, macB)
		wantLeft(t, c.name, w.send(0, c.old)[1], c.want)
		what := c.name + ": no translation is free"
		wantLeft(t, what, w.send(0, c.old, datagramOf(true, a4, other, 1001, 2000))[1], "10.1.1.2.1001 > 10.2.2.3.90")
		w.wantTranslations(what, 1)
		if n := w.drops(packet.NATNoFlow); n != 1 {
			t.Errorf("%s: %d dropped for their flow", what, n)
		}

		w = newWorld(t, withTable(flows, 1), rules)
		for port := range uint16(flows - 1) { // all answered: they stay
			w.send(0, datagramOf(true, a4, b4, 3000+port, 2000))
			w.send(1, datagramOf(false, b4, a4, 2000, 3000+port))
		}
		wantLeft(t, c.name, w.send(0, c.old)[1], c.want)
		what = c.name + ": the table is full"
		fresh := uint16(5000) // the flow that gives way is looked for near the new one's place
		for ; w.drops(packet.NATNoFlow) == 0 && fresh < 5500; fresh++ {
			refused := w.drops(packet.CtTableFull)
			out := w.send(0, c.old, datagramOf(true, a4, b4, fresh, 2000))[1]
			if w.drops(packet.CtTableFull) > refused {
				wantLeft(t, what, out, c.want)
			} else {
				wantLeft(t, what, out, fmt.Sprintf("10.1.1.2.%d > 10.2.2.2.2000", fresh))
			}
		}
		w.wantTranslations(what, 0)
		if n := w.drops(packet.NATNoFlow); n != 1 {
			t.Errorf("%s: %d dropped for their flow after %d tries", what, n, fresh-5000)
		}
	}
}

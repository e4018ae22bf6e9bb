package control

import (
	"fmt"
	"slices"

	"ffwd/conf"
	"ffwd/fib"
)

// heldHops are the next hops that the rules of a configuration choose, by rule.
type heldHops map[int]heldHop

// heldHop is a reference to next hops of a table, and the family of packets that they can
// take: 4, 6, or 0 for both.
type heldHop struct {
	table  *fib.Table
	id     fib.NextHopID
	family uint8
}

// holdHops takes references to the next hops that rules of c choose, all or none.
func (s *Switch) holdHops(c *conf.Config) (heldHops, error) {
	held := heldHops{}
	for i := range c.Rules {
		way, _ := c.RuleRoute(&c.Rules[i])
		if len(way.Hops) == 0 {
			continue
		}
		table := s.tables[slices.Index(s.vrfs, way.VRF)]
		id, err := table.Hold(route(&way, s.hops(&way)))
		if err != nil {
			held.release()
			return nil, fmt.Errorf("rules[%d]: %w", i, err)
		}
		held[i] = heldHop{table, id, gatewayFamily(way.Hops)}
	}
	return held, nil
}

// gatewayFamily is the family of packets that gateways take, 0 without a gateway.
func gatewayFamily(hops []conf.Hop) uint8 {
	for _, h := range hops {
		switch {
		case h.Via.Is4():
			return 4
		case h.Via.Is6():
			return 6
		}
	}
	return 0
}

// release gives the references back.
func (held heldHops) release() {
	for _, h := range held {
		h.table.Release(h.id)
	}
}

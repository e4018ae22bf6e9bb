package conf

import (
	"net/netip"
	"strings"
)

// ruleHops checks the next hops that a rule chooses, as those of a route for everything.
// Source: FF-6.
func (v *validator) ruleHops(at string, r *Rule) {
	key := at + ".hops"
	if r.Via.IsValid() {
		key = at + ".via"
	}
	way, inOne := v.c.RuleRoute(r)
	switch {
	case len(way.Hops) == 0:
	case r.Via.IsValid() && len(r.Hops) > 0:
		v.faults.add(at+".hops", "stands beside via; give one or the other")
	case r.Action == ActionDrop || r.Action == ActionReject:
		v.faults.add(key, "is for packets that go on; this is action %s", r.Action)
	case r.Hook != HookIn:
		v.faults.add(key, "is chosen before the route lookup; want hook in")
	case !inOne:
		v.faults.add(key, "is in one VRF, the packets are of several; want in_ports of one VRF")
	case r.Via.IsValid():
		v.hop(at, &way, way.Hops[0])
	default:
		v.multipath(key, &way)
	}
}

// RuleRoute returns what a rule chooses in place of routes, as a route for everything of
// its family and VRF. It has no hops when the rule leaves packets to their routes. inOne
// is false when they may be of several VRFs.
//
// The family is that of the rule's prefixes, or else of its gateways: IPv4 if there are
// neither.
func (c *Config) RuleRoute(r *Rule) (way Route, inOne bool) {
	way = Route{Type: RouteUnicast, Hops: r.Hops, Prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
	if r.Via.IsValid() {
		way.Hops = []Hop{{Via: r.Via, Weight: 1}}
	}
	if len(way.Hops) == 0 {
		return way, true
	}
	if r.isIPv6(way.Hops) {
		way.Prefix = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	way.VRF, inOne = c.ruleVRF(r)
	return way, inOne
}

func (r *Rule) isIPv6(hops []Hop) bool {
	for _, list := range [...][]netip.Prefix{r.Src, r.Dst} {
		if len(list) > 0 {
			return list[0].Addr().Is6()
		}
	}
	for _, h := range hops {
		if h.Via.IsValid() {
			return h.Via.Is6()
		}
	}
	return false
}

// ruleVRF returns the VRF of the packets that a rule is for, if all are of one.
func (c *Config) ruleVRF(r *Rule) (vrf int, one bool) {
	named := make(map[string]bool, len(r.InPorts))
	for _, name := range r.InPorts {
		named[name] = true
	}
	first := true
	for i := range c.Ports {
		p := &c.Ports[i]
		if len(named) > 0 && !named[p.Name] {
			continue
		}
		if !first && p.VRF != vrf {
			return 0, false
		}
		vrf, first = p.VRF, false
	}
	return vrf, true
}

// portKey says how to name the port of a gateway where there is no key for it beside via.
func portKey(at string) string {
	if strings.HasPrefix(at, "rules[") && !strings.Contains(at, ".hops[") {
		return " in hops, which has a port for each via"
	}
	return ""
}

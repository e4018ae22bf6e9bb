package conf

import (
	"fmt"
	"net/netip"
	"strings"
)

// linkLocalIPv6 is never routed. Source: RFC 4291 section 2.5.6.
var linkLocalIPv6 = netip.MustParsePrefix("fe80::/10")

// routeKey is what a route is told by; a second one would shadow the first.
type routeKey struct {
	vrf    int
	prefix netip.Prefix
}

func (v *validator) routes() {
	file := &v.c.FIB.RoutesFile
	seen := make(map[routeKey]int, len(v.c.Routes)+len(file.routes))
	for i := range v.c.Routes {
		v.route(element("routes", i), i, &v.c.Routes[i], seen)
	}
	before := len(v.faults)
	for i := range file.routes {
		first := len(v.faults)
		v.route("", len(v.c.Routes)+i, &file.routes[i], seen)
		for j := first; j < len(v.faults); j++ {
			f := &v.faults[j]
			f.File, f.Line, f.Path = file.Path, int(file.lines[i]), strings.TrimPrefix(f.Path, ".")
		}
		if len(v.faults)-before >= maxRoutesFaults {
			v.faults = append(v.faults, Fault{File: file.Path, Line: int(file.lines[i]), Message: "more faults may follow; the rest was not looked at"})
			return
		}
	}
}

// route checks the i-th of all routes; at is its path, "" in the routes file.
func (v *validator) route(at string, i int, r *Route, seen map[routeKey]int) {
	v.within(at+".vrf", r.VRF, 0, maxVRF, "")
	if !v.routePrefix(at+".prefix", r) {
		return
	}
	key := routeKey{r.VRF, r.Prefix}
	if other, taken := seen[key]; taken {
		v.faults.add(at+".prefix", "%s is the prefix of %s", r.Prefix, v.routeName(other))
	} else {
		seen[key] = i
	}
	v.nextHops(at, r)
	v.routeMTU(at+".mtu", r)
}

// routeName tells the i-th of all routes.
func (v *validator) routeName(i int) string {
	if i < len(v.c.Routes) {
		return element("routes", i)
	}
	return fmt.Sprintf("line %d", v.c.FIB.RoutesFile.lines[i-len(v.c.Routes)])
}

// routeMTU checks the MTU of a route, which has none when it is 0.
func (v *validator) routeMTU(at string, r *Route) {
	switch {
	case r.MTU == 0:
	case r.Type != RouteUnicast:
		v.faults.add(at, "a %s route has no mtu", r.Type)
	case r.Prefix.Addr().Is6():
		v.within(at, r.MTU, 1280, 65535, "RFC 8200")
	default:
		v.within(at, r.MTU, 68, 65535, "RFC 791")
	}
}

// routePrefix tells whether the prefix is good enough to judge the rest by.
func (v *validator) routePrefix(at string, r *Route) bool {
	p := r.Prefix
	switch {
	case !p.IsValid():
		v.faults.add(at, "is missing")
		return false
	case p.Addr().Is4In6():
		v.faults.add(at, "%s is IPv4-mapped; write the IPv4 prefix", p)
		return false
	case p != p.Masked():
		v.faults.add(at, "%s has host bits set; want %s", p, p.Masked())
	case p.Bits() > 0 && p.Addr().IsMulticast():
		v.faults.add(at, "%s is multicast", p)
	case p.Bits() > 0 && p.Addr().IsLoopback():
		v.faults.add(at, "%s is loopback", p)
	case p.Addr().Is6() && p.Bits() >= linkLocalIPv6.Bits() && linkLocalIPv6.Overlaps(p):
		v.faults.add(at, "%s is link-local and never routed (RFC 4291)", p)
	default:
		v.connectedRoute(at, r)
	}
	return true
}

// connectedRoute refuses a route for what a port's addresses decide already (FF-5).
func (v *validator) connectedRoute(at string, r *Route) {
	if on := v.nets.subnets[subnetKey{r.VRF, r.Prefix}]; len(on) > 0 {
		v.faults.add(at, "%s is connected by %s", r.Prefix, on[0].path())
		return
	}
	if own, taken := v.nets.hosts[hostKey{r.VRF, r.Prefix.Addr()}]; taken && r.Prefix.IsSingleIP() {
		v.faults.add(at, "%s is our own address, %s", r.Prefix, own.path())
	}
}

// nextHops checks that a unicast route has next hops in one form, and that no
// other route has any.
func (v *validator) nextHops(at string, r *Route) {
	single := r.Via.IsValid() || r.Port != ""
	switch {
	case r.Type != RouteUnicast:
		if single || len(r.Hops) > 0 {
			v.faults.add(at+".type", "a %s route has no via, port or hops", r.Type)
		}
	case single && len(r.Hops) > 0:
		v.faults.add(at+".hops", "stands beside via or port; give one or the other")
	case single:
		v.hop(at, r, Hop{Via: r.Via, Port: r.Port, Weight: 1})
	case len(r.Hops) == 0:
		v.faults.add(at+".hops", "is missing; a unicast route needs via, port or hops")
	default:
		v.multipath(at+".hops", r)
	}
}

func (v *validator) multipath(at string, r *Route) {
	if len(r.Hops) > maxHops {
		v.faults.add(at, "has %d next hops, more than %d", len(r.Hops), maxHops)
		return
	}
	type target struct {
		via  netip.Addr
		port string
	}
	seen := map[target]bool{}
	for i, h := range r.Hops {
		here := element(at, i)
		v.within(here+".weight", h.Weight, 1, maxWeight, "")
		t := target{h.Via, h.Port}
		switch {
		case t == target{}:
			v.faults.add(here, "has neither via nor port")
		case seen[t]:
			v.faults.add(here, "is listed twice; give one a weight")
		default:
			v.hop(here, r, h)
		}
		seen[t] = true
	}
}

// hop checks one next hop of a route; at is the table with its via and port.
func (v *validator) hop(at string, r *Route, h Hop) {
	portKnown := false
	if h.Port != "" {
		i, known := v.portIndex[h.Port]
		switch {
		case !known:
			v.faults.add(at+".port", "%s", v.unknownPort(h.Port))
		case v.c.Ports[i].VRF != r.VRF:
			v.faults.add(at+".port", "%s is in VRF %d; want a port of VRF %d", h.Port, v.c.Ports[i].VRF, r.VRF)
		default:
			portKnown = true
		}
	}
	if h.Via.IsValid() {
		v.gateway(at+".via", r, h, portKnown)
	}
}

func (v *validator) gateway(at string, r *Route, h Hop, portKnown bool) {
	via := h.Via
	if via.Is4() != r.Prefix.Addr().Is4() {
		v.faults.add(at, "%s is not of the family of %s", via, r.Prefix)
		return
	}
	if fault := hostFault(via); fault != "" {
		v.faults.add(at, "%s %s", via, fault)
		return
	}
	if own, taken := v.nets.hosts[hostKey{r.VRF, via}]; taken {
		v.faults.add(at, "%s is our own address, %s", via, own.path())
		return
	}
	if h.Port == "" && via.Is6() && via.IsLinkLocalUnicast() {
		v.faults.add(at, "%s is link-local; name the port%s", via, portKey(at))
		return
	}
	subnet, on := v.nets.find(r.VRF, via, via.BitLen())
	switch {
	case len(on) == 0 && h.Port == "":
		v.faults.add(at, "%s is on no subnet of VRF %d; name the port if it is on link there%s", via, r.VRF, portKey(at))
	case len(on) == 0:
		// On link by the operator's word.
	case portKnown && v.c.Ports[on[0].port].Name != h.Port:
		v.faults.add(at, "%s is on the subnet of %s, not on %s", via, v.c.Ports[on[0].port].Name, h.Port)
	default:
		if fault := subnetFault(netip.PrefixFrom(via, subnet.Bits())); fault != "" {
			v.faults.add(at, "%s %s", via, fault)
		}
	}
}

// neighbours checks the static entries against the ports' subnets and against
// what routes declare to be on link.
func (v *validator) neighbours() {
	type entry struct {
		port string
		addr netip.Addr
	}
	seen := map[entry]int{}
	onLink := v.onLink()
	for i := range v.c.Neighbours {
		n, at := &v.c.Neighbours[i], element("neighbours", i)
		v.neighbourMAC(at+".mac", n.MAC)
		port, known := v.portIndex[n.Port]
		switch {
		case n.Port == "":
			v.faults.add(at+".port", "is missing")
		case !known:
			v.faults.add(at+".port", "%s", v.unknownPort(n.Port))
		}
		if !n.Address.IsValid() {
			v.faults.add(at+".address", "is missing")
			continue
		}
		if other, taken := seen[entry{n.Port, n.Address}]; taken {
			v.faults.add(at+".address", "%s on %s is neighbours[%d] already", n.Address, n.Port, other)
			continue
		}
		seen[entry{n.Port, n.Address}] = i
		if fault := hostFault(n.Address); fault != "" {
			v.faults.add(at+".address", "%s %s", n.Address, fault)
		} else if known {
			v.neighbourAddress(at+".address", n, port, onLink)
		}
	}
}

func (v *validator) neighbourMAC(at string, mac MAC) {
	switch {
	case mac.IsZero():
		v.faults.add(at, "is missing")
	case mac.IsMulticast():
		v.faults.add(at, "%s is a group address (IEEE 802, I/G bit)", mac)
	}
}

func (v *validator) neighbourAddress(at string, n *Neighbour, port int, onLink map[string]prefixSet) {
	p := &v.c.Ports[port]
	for _, own := range p.Addresses {
		switch {
		case own.Addr() == n.Address:
			v.faults.add(at, "%s is our own address", n.Address)
			return
		case own.Contains(n.Address):
			if fault := subnetFault(netip.PrefixFrom(n.Address, own.Bits())); fault != "" {
				v.faults.add(at, "%s %s", n.Address, fault)
			}
			return
		}
	}
	if n.Address.Is6() && n.Address.IsLinkLocalUnicast() {
		return
	}
	if onLink[n.Port].holds(n.Address) {
		return
	}
	v.faults.add(at, "%s is on no subnet of %s", n.Address, n.Port)
}

type prefixSet map[netip.Prefix]bool

// holds tells whether an address is in one of the prefixes.
func (s prefixSet) holds(a netip.Addr) bool {
	for bits := a.BitLen(); bits >= 0; bits-- {
		if p, err := a.Prefix(bits); err == nil && s[p] {
			return true
		}
	}
	return false
}

// onLink gives what routes and rules put on link at each port by naming it: a gateway,
// or, without one, the route's whole prefix, or whatever a rule matches.
func (v *validator) onLink() map[string]prefixSet {
	reach := map[string]prefixSet{}
	add := func(prefix netip.Prefix, h *Hop) {
		if h.Via.IsValid() {
			prefix = netip.PrefixFrom(h.Via, h.Via.BitLen())
		}
		if h.Port == "" || !prefix.IsValid() {
			return
		}
		if reach[h.Port] == nil {
			reach[h.Port] = prefixSet{}
		}
		reach[h.Port][prefix] = true
	}
	for r := range v.c.AllRoutes() {
		if r.Port == "" && len(r.Hops) == 0 {
			continue // as nearly all of a large table
		}
		for _, h := range r.NextHops() {
			add(r.Prefix, &h)
		}
	}
	for i := range v.c.Rules {
		r := &v.c.Rules[i]
		for j := range r.Hops {
			add(netip.PrefixFrom(netip.IPv4Unspecified(), 0), &r.Hops[j])
			add(netip.PrefixFrom(netip.IPv6Unspecified(), 0), &r.Hops[j])
		}
	}
	return reach
}

package control

import (
	"fmt"
	"net/netip"
	"slices"

	"ffwd/conf"
	"ffwd/fib"
)

// buildTables makes one routing table per VRF, with interfaces, addresses,
// neighbours and routes.
func (s *Switch) buildTables(c *conf.Config) error {
	for range s.vrfs {
		o := fib.OptionsFor(c.FIB.MaxRoutesIPv4, c.FIB.MaxRoutesIPv6, c.FIB.MaxNextHops)
		o.Retirer = s.epoch
		table, err := fib.New(o)
		if err != nil {
			return fmt.Errorf("routing tables: %w: lower fib.max_routes_ipv4, max_routes_ipv6 or max_next_hops", err)
		}
		s.undo(table.Close)
		s.tables = append(s.tables, table)
	}
	for i := range c.Ports {
		if err := s.addInterface(&c.Ports[i]); err != nil {
			return fmt.Errorf("ports[%d]: %w", i, err)
		}
	}
	for at, mac := range s.neighbours(c) {
		if err := s.tableOf(at.iface).SetNeighbour(at.iface, at.addr, mac); err != nil {
			return err
		}
	}
	routes, err := s.routes(c)
	if err != nil {
		return err
	}
	for i, table := range s.tables {
		if err := s.addRoutes(table, routes[i]); err != nil {
			return fmt.Errorf("vrf %d: %w", s.vrfs[i], err)
		}
	}
	return nil
}

// routesAtOnce is how many routes a start adds before it looks whether it is interrupted: a
// tenth of a second's.
const routesAtOnce = 64 << 10

// addRoutes fills a table that is new.
func (s *Switch) addRoutes(table *fib.Table, routes []fib.Route) error {
	updates := make([]fib.Update, 0, min(len(routes), routesAtOnce))
	for some := range slices.Chunk(routes, routesAtOnce) {
		updates = updates[:0]
		for _, r := range some {
			updates = append(updates, fib.Update{Route: r})
		}
		if err := s.startBy.Err(); err != nil {
			return err
		}
		if err := table.Apply(updates); err != nil {
			return err
		}
	}
	return nil
}

func (s *Switch) addInterface(p *conf.Port) error {
	index := s.index[p.Name]
	in := &s.interfaces[index]
	table := s.tableOf(index)
	err := table.SetInterface(fib.Interface{Index: index, MAC: macOf(in.MAC), VLAN: in.VLAN, MTUBytes: int(in.MTU)})
	if err != nil {
		return err
	}
	for _, address := range p.Addresses {
		if err := table.AddAddress(index, address); err != nil {
			return err
		}
	}
	return nil
}

// tableOf returns the table of an interface's VRF.
func (s *Switch) tableOf(iface uint16) *fib.Table { return s.tables[s.interfaces[iface].VRF] }

// macOf undoes packet.MAC48.
func macOf(mac uint64) (m fib.MAC) {
	for i := range m {
		m[i] = byte(mac >> (8 * (len(m) - 1 - i)))
	}
	return m
}

// neighbourKey names a neighbour.
type neighbourKey struct {
	iface uint16
	addr  netip.Addr
}

// neighbours translates the configuration's neighbours.
func (s *Switch) neighbours(c *conf.Config) map[neighbourKey]fib.MAC {
	all := make(map[neighbourKey]fib.MAC, len(c.Neighbours))
	for i := range c.Neighbours {
		n := &c.Neighbours[i]
		all[neighbourKey{s.index[n.Port], n.Address}] = fib.MAC(n.MAC)
	}
	return all
}

// routes translates the configuration's routes, by table.
func (s *Switch) routes(c *conf.Config) ([][]fib.Route, error) {
	all := make([][]fib.Route, len(s.vrfs))
	single := map[conf.Hop][]fib.Hop{} // next hops that many routes have alone
	for r := range c.AllRoutes() {
		vrf := slices.Index(s.vrfs, r.VRF)
		if vrf < 0 {
			return nil, fmt.Errorf("route %s: VRF %d had no port or route at start: restart to add it", r.Prefix, r.VRF)
		}
		key := conf.Hop{Via: r.Via, Port: r.Port}
		hops, known := single[key]
		if !known || key == (conf.Hop{}) {
			hops = s.hops(r)
			single[key] = hops
		}
		all[vrf] = append(all[vrf], route(r, hops))
	}
	return all, nil
}

// route translates one, but for its next hops.
func route(r *conf.Route, hops []fib.Hop) fib.Route {
	return fib.Route{Prefix: r.Prefix, Type: routeType(r.Type), Hops: hops, MTUBytes: r.MTU, Counters: r.Counters}
}

// hops translates a route's next hops.
func (s *Switch) hops(r *conf.Route) (hops []fib.Hop) {
	for _, h := range r.NextHops() {
		hops = append(hops, fib.Hop{Via: h.Via, Iface: s.index[h.Port], Weight: h.Weight})
	}
	return hops
}

func routeType(t conf.RouteType) fib.RouteType {
	switch t {
	case conf.RouteBlackhole:
		return fib.RouteBlackhole
	case conf.RouteUnreachable:
		return fib.RouteUnreachable
	case conf.RouteProhibit:
		return fib.RouteProhibit
	}
	return fib.Unicast
}

package control

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ffwd/fib"
)

// RouteList answers GET /v1/routes. Next is where the following page begins.
type RouteList struct {
	Routes []RouteStatus `json:"routes"`
	Next   string        `json:"next"` // "": this was the last page
}

// RouteStatus is one route of a table.
type RouteStatus struct {
	VRF      int          `json:"vrf"`
	Prefix   netip.Prefix `json:"prefix"`
	Origin   string       `json:"origin"`             // local, connected, route, learned, neighbour
	Protocol string       `json:"protocol,omitempty"` // of a learnt route, as ip-route(8) names it: bird, zebra, static; or a number
	Kind     string       `json:"kind"`               // forward, glean, local, broadcast, blackhole, unreachable, prohibit, group, punt
	Hops     []HopStatus  `json:"hops,omitempty"`
	MTUBytes int          `json:"mtu,omitempty"`      // of its own; that of the port counts where it is less
	Shadows  bool         `json:"shadows,omitempty"`  // another route of the prefix waits behind this one
	Shadowed bool         `json:"shadowed,omitempty"` // waits behind another of the prefix
	TrafficStatus
}

// TrafficStatus is what was sent by a next hop since it was made.
type TrafficStatus struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`            // of the network layer
	Shared  bool   `json:"shared,omitempty"` // by all routes over this next hop
}

// HopStatus is one way of a route, as packets find it now.
type HopStatus struct {
	Via    netip.Addr `json:"via,omitzero"`
	Port   string     `json:"port"` // "": no port has the gateway's subnet now
	Weight int        `json:"weight"`
	State  string     `json:"state"`
	MAC    string     `json:"mac,omitempty"`
	TrafficStatus
}

// routeQuery is what a client asks of the routes.
type routeQuery struct {
	limit  int
	table  int          // the first to list, by place in Switch.tables
	last   int          // the last
	after  netip.Prefix // in the first one
	within netip.Prefix
	origin string
	to     netip.Addr
}

// routeStep is how many prefixes a table is asked for at a time: changes of its
// routes wait meanwhile.
const routeStep = 256

// getRoutes lists all tables, or that of ?vrf=, in pages.
func (s *Switch) getRoutes(r *http.Request) (any, error) {
	q, err := s.routeQuery(r)
	if err != nil {
		return nil, err
	}
	list := &RouteList{Routes: []RouteStatus{}}
	if q.to.IsValid() {
		for i := q.table; i <= q.last; i++ {
			if info, ok := s.tables[i].Route(q.to); ok {
				if _, err := s.take(list, &routeQuery{table: i}, []fib.RouteInfo{info}); err != nil {
					return nil, err
				}
			}
		}
		return list, nil
	}
	prefixes := 0
	for ; q.table <= q.last; q.table, q.after = q.table+1, (netip.Prefix{}) {
		for end := false; !end; {
			if err := r.Context().Err(); err != nil { // the client is gone
				return nil, err
			}
			if prefixes == q.limit {
				list.Next = s.cursor(q)
				return list, nil
			}
			var page []fib.RouteInfo
			page, end = s.tables[q.table].Page(q.within, q.after, min(routeStep, q.limit-prefixes))
			if len(page) > 0 {
				q.after = page[len(page)-1].Prefix
			}
			taken, err := s.take(list, q, page)
			if err != nil {
				return nil, err
			}
			prefixes += taken
		}
	}
	return list, nil
}

// take adds what the client wants of a page, and returns how many prefixes that is. Workers
// are asked for the counters of those alone: of a million routes few may be local.
func (s *Switch) take(list *RouteList, q *routeQuery, page []fib.RouteInfo) (prefixes int, err error) {
	if q.origin != "" {
		page = slices.DeleteFunc(page, func(r fib.RouteInfo) bool { return q.origin != string(r.Origin) })
	}
	if len(page) == 0 {
		return 0, nil
	}
	var last netip.Prefix
	counts, err := s.countsOf(q.table, page)
	if err != nil {
		return 0, err
	}
	for i := range page {
		info := &page[i]
		if info.Prefix != last {
			last = info.Prefix
			prefixes++
		}
		list.Routes = append(list.Routes, s.routeStatus(s.vrfs[q.table], info, counts))
	}
	return prefixes, nil
}

// countsOf is what all workers have counted for the routes of a page and their hops.
func (s *Switch) countsOf(table int, page []fib.RouteInfo) (map[fib.Counter]fib.Count, error) {
	counts := make(map[fib.Counter]fib.Count, len(page))
	for i := range page {
		counts[page[i].Counter] = fib.Count{}
		for _, h := range page[i].Hops {
			counts[h.Counter] = fib.Count{}
		}
	}
	keys := slices.Collect(maps.Keys(counts))
	sum, err := s.routeCounts(table, keys)
	for i, c := range sum {
		counts[keys[i]] = c
	}
	return counts, err
}

// routeCounts is what all workers have counted for the keys, of the table at this
// place in Switch.tables: what went by a next hop, while it is one. The workers are
// asked in small steps. A neighbour was used since the last time if the sum for
// its keys (fib.Table.CountersVia) is another (SP-3). With an error, the sums are those
// of the other workers.
func (s *Switch) routeCounts(table int, keys []fib.Counter) (sum []fib.Count, stuck error) {
	sum = make([]fib.Count, len(keys))
	for _, w := range s.workers {
		stuck = errors.Join(stuck, w.AddRouteCounts(table, keys, sum))
	}
	return sum, stuck
}

// routeOrigins are the words that ?origin= takes.
var routeOrigins = []string{string(fib.OriginLocal), string(fib.OriginConnected), string(fib.OriginRoute),
	string(fib.OriginLearned), string(fib.OriginNeighbour)}

func (s *Switch) routeQuery(r *http.Request) (*routeQuery, error) {
	v := r.URL.Query()
	q := &routeQuery{last: len(s.tables) - 1, origin: v.Get("origin")}
	var err error
	if q.limit, err = limitOf(r); err != nil {
		return nil, err
	}
	if q.origin != "" && !slices.Contains(routeOrigins, q.origin) {
		return nil, badRequest("origin: %q is none of %s", q.origin, strings.Join(routeOrigins, ", "))
	}
	if text := v.Get("prefix"); text != "" {
		if q.within, err = netip.ParsePrefix(text); err != nil || q.within != q.within.Masked() || q.within.Addr().Is4In6() {
			return nil, badRequest("prefix: %q is not a prefix like 10.0.0.0/8", text)
		}
	}
	if text := v.Get("to"); text != "" {
		if q.to, err = netip.ParseAddr(text); err != nil || q.to.Zone() != "" || q.to.Is4In6() {
			return nil, badRequest("to: %q is not an IP address", text)
		}
	}
	if only := v.Get("vrf"); only != "" {
		if q.table, err = s.vrfAt(only); err != nil {
			return nil, err
		}
		q.last = q.table
	}
	if text := v.Get("after"); text != "" {
		return q, s.goOn(q, text)
	}
	return q, nil
}

// cursor tells goOn where a listing goes on: a VRF, and the prefix of its table
// that was listed last, if one was.
func (s *Switch) cursor(q *routeQuery) string {
	text := strconv.Itoa(s.vrfs[q.table]) + ":"
	if q.after.IsValid() {
		text += q.after.String()
	}
	return text
}

// goOn reads where a listing goes on.
func (s *Switch) goOn(q *routeQuery, text string) error {
	vrf, prefix, ok := strings.Cut(text, ":")
	at, err := s.vrfAt(vrf)
	var after netip.Prefix
	if err == nil && prefix != "" {
		after, err = netip.ParsePrefix(prefix)
	}
	if !ok || err != nil || at < q.table || at > q.last {
		return badRequest("after: %q is not what an earlier answer gave as next", text)
	}
	q.table, q.after = at, after
	return nil
}

func (s *Switch) vrfAt(text string) (int, error) {
	for i, vrf := range s.vrfs {
		if text == strconv.Itoa(vrf) {
			return i, nil
		}
	}
	return 0, requestError{http.StatusNotFound, fmt.Sprintf("no VRF %s: there are %v", text, s.vrfs)}
}

func (s *Switch) routeStatus(vrf int, r *fib.RouteInfo, counts map[fib.Counter]fib.Count) RouteStatus {
	out := RouteStatus{VRF: vrf, Prefix: r.Prefix, Origin: string(r.Origin),
		Kind: r.Kind.String(), MTUBytes: r.MTUBytes, Shadows: r.Shadows, Shadowed: r.Shadowed, TrafficStatus: trafficStatus(counts[r.Counter], r.Shared)}
	if r.Origin == fib.OriginLearned {
		out.Protocol = protocolName(r.Protocol)
	}
	for _, h := range r.Hops {
		hop := HopStatus{Via: h.Via, Weight: h.Weight, State: h.State.String(),
			TrafficStatus: trafficStatus(counts[h.Counter], h.Shared)}
		if h.Iface != 0 {
			hop.Port = s.interfaces[h.Iface].Name
		}
		if h.State == fib.Forward {
			hop.MAC = h.MAC.String()
		}
		out.Hops = append(out.Hops, hop)
	}
	return out
}

func trafficStatus(c fib.Count, shared bool) TrafficStatus {
	return TrafficStatus{Packets: c.Packets, Bytes: c.Bytes, Shared: shared}
}

package slowpath

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"ffwd/fib"
)

// routeGroups are the notifications that a routeMirror wants.
var routeGroups = []int{
	unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
	unix.RTNLGRP_NEXTHOP, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
}

// routeMirror makes the FIB follow the kernel's routes and addresses.
type routeMirror struct {
	mu        sync.Mutex
	ns        *Netns
	tables    []*fib.Table
	kernel    map[uint32]uint16 // kernel table -> index into tables
	log       *slog.Logger
	twins     twins
	hops      hopSets
	view      routeView
	addresses addressView

	counts    [numOutcomes]int
	fullNoted bool
	room      bool // something was deleted since the last time all was tried
	tried     time.Time
	idle      int // sets of hops after the last sweep

	missed   map[routeKey]uint8    // IPv6 prefixes, by how many dumps in a row did not have them; see keepMissed
	doubtful map[routeKey]struct{} // see doubt
	dumping  bool                  // what is entered comes from a dump
	replay   bool                  // notifications may be older than the last dump
	unsure   bool                  // a notification could mean several things
	changes  int                   // of the FIB, in settle
	stopping <-chan struct{}       // closed: nobody waits for what settle does; may be nil

	message routeMessage // being read
	updates []fib.Update
	keys    []routeKey // of updates
}

func newRouteMirror(c *MirrorConfig) *routeMirror {
	return &routeMirror{
		ns: c.Netns, tables: c.Tables, kernel: c.Kernel, log: c.Log, twins: newTwins(c.Twins), hops: newHopSets(),
		view: newRouteView(), addresses: newAddressView(c), doubtful: map[routeKey]struct{}{},
	}
}

// dump asks for links, addresses, nexthop objects and routes, in this order,
// because each refers to those before it.
func (m *routeMirror) dump(s *socket, trusted func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, links, addresses, nexthops := m.view, m.twins.links, m.addresses.kernel, m.hops.nexthops
	doubtful := m.doubtful
	m.view, m.doubtful = newRouteView(), map[routeKey]struct{}{}
	m.twins.links = map[uint32]linkMessage{}
	m.addresses.kernel = map[kernelAddress]addressMessage{}
	m.hops.nexthops = map[uint32]nexthopMessage{}
	m.dumping = true
	err := m.dumpAll(s)
	m.dumping = false
	if err == nil && trusted != nil {
		err = trusted()
	}
	if err != nil && (trusted != nil || !isPartial(err)) {
		m.view, m.twins.links, m.addresses.kernel, m.hops.nexthops = before, links, addresses, nexthops
		m.doubtful = doubtful
		return err
	}
	if err != nil {
		m.keepMissed(&before)
	} else {
		clear(m.missed)
	}
	m.reviewDoubts(doubtful, &before)
	m.view.succeed(&before)
	m.reviewHops()
	m.sweepHops()
	return err
}

func (m *routeMirror) dumpAll(s *socket) error {
	each := func(r message) {
		r.flags = unix.NLM_F_APPEND // a dump has the kernel's order
		m.enter(r)
	}
	requests := []*nl.NetlinkRequest{
		dumpRequest(unix.RTM_GETLINK, familyHeader(unix.SizeofIfInfomsg, unix.AF_UNSPEC)),
		dumpRequest(unix.RTM_GETADDR, familyHeader(unix.SizeofIfAddrmsg, unix.AF_INET)),
		dumpRequest(unix.RTM_GETADDR, familyHeader(unix.SizeofIfAddrmsg, unix.AF_INET6)),
		dumpRequest(unix.RTM_GETNEXTHOP, familyHeader(sizeofNhMsg, unix.AF_UNSPEC)),
	}
	var ipv6 []*nl.NetlinkRequest
	tables := slices.AppendSeq([]uint32{unix.RT_TABLE_LOCAL}, maps.Keys(m.kernel))
	for _, table := range tables {
		of := func(family byte) *nl.NetlinkRequest {
			return dumpRequest(unix.RTM_GETROUTE, familyHeader(sizeofRtMsg, family), nl.NewRtAttr(unix.RTA_TABLE, nl.Uint32Attr(table)))
		}
		requests, ipv6 = append(requests, of(unix.AF_INET)), append(ipv6, of(unix.AF_INET6))
	}
	err := ask(s, requests, each)
	if err != nil && !isPartial(err) {
		return err
	}
	if err6 := m.watched(func() error { return ask(s, ipv6, each) }); err == nil || err6 != nil && !isPartial(err6) {
		return err6
	}
	return err
}

// event enters a notification. The kernel is silent about the IPv4 routes that
// go because of a link or an address, and about those that go with their
// nexthop object.
func (m *routeMirror) event(r message, again bool) (resync bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unsure, m.replay = false, again
	changed := m.enter(r)
	switch r.kind {
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return m.unsure
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if !changed && !again { // what came before it, told anew, may have gone with it
			return false
		}
		m.reviewHops()
		link, _ := parseLink(r.data)
		_, _, ours := m.twins.byIndex(link.ifIndex)
		return ours || m.hops.concerns(link.ifIndex)
	case unix.RTM_NEWNEXTHOP:
		m.reviewHops()
	case unix.RTM_DELNEXTHOP:
		m.reviewHops()
		return true
	case unix.RTM_DELADDR:
		return true
	}
	return false
}

// enter makes a message part of the view, and reports whether a link changed by it.
func (m *routeMirror) enter(r message) (link bool) {
	switch r.kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if l, ok := parseLink(r.data); ok {
			m.addresses.dirty = true
			return m.twins.change(l, r.kind == unix.RTM_DELLINK)
		}
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if a, ok := parseAddress(r.data); ok {
			m.addresses.change(a, r.kind == unix.RTM_DELADDR)
		}
	case unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
		if n, ok := parseNexthop(r.data); ok && !n.fdb {
			if r.kind == unix.RTM_NEWNEXTHOP {
				m.hops.nexthops[n.id] = n
			} else {
				delete(m.hops.nexthops, n.id)
			}
		}
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		m.enterRoute(r)
	}
	return false
}

// enterRoute makes a route's message part of the view, if the route is one that
// can be ours.
func (m *routeMirror) enterRoute(r message) {
	n := &m.message
	if !n.parse(r.data) || n.cloned || n.tos != 0 || n.protocol == RouteProtocol { // the last we told the kernel
		return
	}
	table := n.table
	if table == unix.RT_TABLE_LOCAL {
		if n.kind != unix.RTN_LOCAL && n.kind != unix.RTN_BROADCAST && n.kind != unix.RTN_ANYCAST {
			return
		}
		table = unix.RT_TABLE_MAIN
	}
	vrf, mirrored := m.kernel[table]
	kind, known := kindOf(n.kind)
	if !mirrored || !known || !routable(n.prefix) {
		return
	}
	key := keyOf(vrf, n.prefix)
	if !key.is4 {
		sortHops(n.hops)
	}
	c := candidate{metric: n.metric, variant: n.variant, mtuBytes: n.mtuBytes, protocol: n.protocol, kind: n.kind}
	if kind == fib.Unicast || kind == fib.RoutePunt {
		c.hops = m.hops.intern(vrf, n.nexthop, n.hops, &m.twins)
	}
	clear := !m.dumping || !slices.Contains(m.view.list(key), c)
	switch {
	case r.kind == unix.RTM_DELROUTE:
		if !m.view.remove(key, c) && !key.is4 {
			m.narrow(key, c)
		}
	case key.is4:
		m.view.add(key, c, place4(r.flags), func(candidate) bool { return true })
	default:
		clear = m.add6(key, c, r.flags) && clear
	}
	m.doubt(key, c.metric, clear)
}

// place4 is where the kernel puts an IPv4 route among those of its metric.
// Source: fib_table_insert in net/ipv4/fib_trie.c.
func place4(flags uint16) place {
	switch {
	case flags&unix.NLM_F_REPLACE != 0:
		return instead
	case flags&unix.NLM_F_APPEND != 0:
		return atBack
	}
	return atFront
}

// routable leaves out what is never routed: it stays on its link or in its host.
func routable(p netip.Prefix) bool {
	a := p.Addr()
	return !a.IsLoopback() && !a.IsMulticast() && !(a.Is6() && a.IsLinkLocalUnicast())
}

// reviewHops finds the hops that are something else to us since a link or a
// nexthop object changed, and marks the routes over them.
func (m *routeMirror) reviewHops() {
	changed := m.hops.review(&m.twins)
	if len(changed) == 0 {
		return
	}
	for key, r := range m.view.routes {
		if _, is := changed[r.best.hops]; is || r.more {
			m.view.dirty = append(m.view.dirty, key)
		}
	}
}

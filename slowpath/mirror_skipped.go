package slowpath

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// errSkipped: routes may be missing from a dump though the kernel has them.
//
// A dump of IPv6 routes is taken up again, when a route came meanwhile, by as many
// prefixes as were told before: when some of those went, as many that stay are passed
// over. Nothing in the dump says so, and NLM_F_DUMP_INTR is never set; but nothing is
// passed over unless a route went, which is notified. IPv4 dumps go on by prefix.
// Source: fib6_dump_table in net/ipv6/ip6_fib.c; tried on Linux 6.18.
var errSkipped = errors.New("routes went while they were dumped")

const (
	// watchBytes holds a few hundred notifications: more are a sign by themselves.
	watchBytes = 64 << 10
	// mostMissed is how many dumps in a row, each of which may have skipped some, a
	// route has to be missing from before it is believed to be gone.
	mostMissed = 8
)

// isPartial tells errors of dumps that are good as far as they go.
func isPartial(err error) bool { return errors.Is(err, errInterrupted) || errors.Is(err, errSkipped) }

// watched does some dumps of IPv6 routes. Its error wraps errSkipped when routes went
// meanwhile.
func (m *routeMirror) watched(dumps func() error) (err error) {
	watch, err := openSocket(m.ns, watchBytes, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return fmt.Errorf("watch IPv6 routes: %w", err)
	}
	defer func() { err = cmp.Or(err, watch.close()) }()
	if err := dumps(); err != nil {
		return err
	}
	for watch.pending() {
		data, err := watch.receive(false)
		if errors.Is(err, errOverrun) {
			return errSkipped
		}
		if err != nil {
			return err
		}
		for r := range messages(data) {
			if r.kind == unix.RTM_DELROUTE {
				return errSkipped
			}
		}
	}
	return nil
}

// keepMissed puts the IPv6 prefixes of the view of before into one from a dump that may
// have skipped them. It does not go on for ever: some changes are not told.
func (m *routeMirror) keepMissed(before *routeView) {
	missed := map[routeKey]uint8{}
	for key, old := range before.routes {
		if key.is4 || old.best.kind == 0 || m.view.routes[key].best.kind != 0 {
			continue
		}
		if n := m.missed[key] + 1; n < mostMissed {
			missed[key] = n
			m.view.store(key, before.list(key))
		}
	}
	m.missed = missed
}

// ask makes requests, and hands each every answer. An interrupted one does not keep it
// from the others.
func ask(s *socket, requests []*nl.NetlinkRequest, each func(message)) error {
	interrupted := false
	for _, r := range requests {
		err := s.request(r, each)
		switch {
		case errors.Is(err, errInterrupted):
			interrupted = true
		case errors.Is(err, unix.ENOENT): // no such table yet
		case errors.Is(err, unix.EOPNOTSUPP): // no nexthop objects, no IPv6
		case err != nil:
			return err
		}
	}
	if interrupted {
		return errInterrupted
	}
	return nil
}

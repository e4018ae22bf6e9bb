package slowpath

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// The kernel tells that an address is gone before it drops the routes from it; a dump
// behind the barrier has none of them. SP-2
func TestBarrierWaitsForRoutesThatGoSilently(t *testing.T) {
	b := newMirrorBed(t, nil)
	c := b.config()
	events, err := openSocket(c.Netns, defaultReceiveBytes, unix.RTNLGRP_IPV4_IFADDR)
	if err != nil {
		t.Fatal(err)
	}
	defer events.close()
	dumps, err := openSocket(c.Netns, defaultReceiveBytes)
	if err != nil {
		t.Fatal(err)
	}
	defer dumps.close()
	b.ip("addr add 10.1.0.1/24 dev lan")
	b.ip(strings.ReplaceAll(routeBatch("add", 100_000), "proto bird", "src 10.1.0.1"))
	gone := make(chan error, 1)
	go func() {
		_, err := b.try("addr del 10.1.0.1/24 dev lan")
		gone <- err
	}()
	for told := false; !told; {
		data, err := events.receive(true)
		if err != nil {
			t.Fatal(err)
		}
		for m := range messages(data) {
			told = told || m.kind == unix.RTM_DELADDR
		}
	}
	if err := dumps.barrier(); err != nil {
		t.Fatal(err)
	}
	left := 0
	count := func(message) { left++ }
	header := familyHeader(sizeofRtMsg, unix.AF_INET)
	header[4] = unix.RT_TABLE_MAIN
	if err := dumps.request(dumpRequest(unix.RTM_GETROUTE, header), count); err != nil {
		t.Fatal(err)
	}
	if left != 0 {
		t.Errorf("%d routes from an address that is gone", left)
	}
	if err := <-gone; err != nil {
		t.Error(err)
	}
}

// Notifications from before a dump that are read after it change nothing, or ask for
// another dump. SP-2
func TestWhatADumpHadAlreadyIsToldAnew(t *testing.T) {
	b := newMirrorBed(t, nil)
	rapid.Check(t, func(rt *rapid.T) {
		b.reset()
		c := b.config()
		c.Tables = b.newTables()
		events, err := openSocket(c.Netns, defaultReceiveBytes, routeGroups...)
		if err != nil {
			rt.Fatal(err)
		}
		defer events.close()
		dumps, err := openSocket(c.Netns, defaultReceiveBytes)
		if err != nil {
			rt.Fatal(err)
		}
		defer dumps.close()
		m := newRouteMirror(&c)
		if err := m.dump(dumps, nil); err != nil {
			rt.Fatal(err)
		}
		m.replay = false // all before is settled
		var script []string
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			script = append(script, command(rt, false))
		}
		b.run(script)
		eventually(t, "every address is usable", func() bool { return in(t, b.ns, "ip", "-6", "addr", "show", "tentative") == "" })
		if err := dumps.barrier(); err != nil {
			rt.Fatal(err)
		}
		if err := m.dump(dumps, nil); err != nil {
			rt.Fatal(err)
		}
		m.settle()
		want := slices.Concat(everything(c.Tables[0]), everything(c.Tables[1]))
		resync := false
		for {
			data, err := events.receive(false)
			if err != nil {
				break
			}
			for read := range messages(data) {
				resync = m.event(read, true) || resync
			}
		}
		m.settle()
		if got := slices.Concat(everything(c.Tables[0]), everything(c.Tables[1])); !resync && !slices.Equal(got, want) {
			rt.Fatalf("the tables are\n%s\nand were\n%s\nbefore what was done was told:\n%s",
				strings.Join(got, "\n"), strings.Join(want, "\n"), strings.Join(script, "\n"))
		}
	})
}

// IPv6 routes of one metric with and without gateways are followed although the kernel's
// own dumps hide some of them. SP-2
func TestMirrorFollowsRoutesThatDumpsHide(t *testing.T) {
	b := newMirrorBed(t, func(c *MirrorConfig) { c.resyncInterval = 5 * time.Millisecond })
	b.ip("addr add fd01::1/64 dev lan")
	const to = "2001:db8::/32"
	b.ip("route add " + to + " via fd01::2 metric 10\nroute append prohibit " + to + " metric 10")
	b.has(0, to, "learned forward proto 3 [fd01::2 if1 x1]")
	b.ip("route append " + to + " via fd01::3 metric 10")
	b.has(0, to, "learned group proto 3 [fd01::2 if1 x1] [fd01::3 if1 x1]")
	if shown := in(t, b.ns, "ip", "-6", "route", "show", to); strings.Contains(shown, "prohibit") {
		t.Log("this kernel hides nothing:", shown)
	}
	b.ip("route replace prohibit " + to + " metric 10") // the one that is there
	b.agree(t, nil)
	b.has(0, to, "learned group proto 3 [fd01::2 if1 x1] [fd01::3 if1 x1]")
	b.ip("route del " + to + " via fd01::2 metric 10")
	b.has(0, to, "learned prohibit proto 3")
	b.ip("route del prohibit " + to + " metric 10")
	b.has(0, to, "learned forward proto 3 [fd01::3 if1 x1]")
}

// What a notification should have told and did not is found by comparing, put right,
// and counted; where all is right nothing is. SP-2
func TestAuditFindsWhatWasNotTold(t *testing.T) {
	b := newMirrorBed(t, func(c *MirrorConfig) { c.auditInterval, c.auditPause = time.Millisecond, 1 })
	b.ip("addr add 10.1.0.1/24 dev lan\nroute add 10.9.0.0/16 via 10.1.0.2\nneigh add 10.1.0.2 dev lan lladdr 02:00:00:00:00:01 nud permanent")
	const there = "learned forward proto 3 [10.1.0.2 if1 x1]"
	b.has(0, "10.9.0.0/16", there)
	status := func(feed int) FeedStatus { return b.mirror.Status().Feeds[feed] }
	audited := func(feed int, n uint64) {
		t.Helper()
		since := status(feed).Audits
		eventually(t, "it is audited", func() bool { return status(feed).Audits >= since+n })
	}
	for feed := range 2 {
		audited(feed, 1)
		if s := status(feed); s.Corrected != 0 {
			t.Fatalf("%+v", s)
		}
	}
	r, key := b.mirror.routes, keyOf(0, netip.MustParsePrefix("10.9.0.0/16"))
	r.mu.Lock()
	lost := r.view.remove(key, r.view.routes[key].best)
	r.mu.Unlock()
	if r.settle(); !lost || len(b.line(0, "10.9.0.0/16")) != 0 && status(0).Corrected == 0 {
		t.Fatal("the route is not lost")
	}
	n := b.mirror.neighbours
	n.mu.Lock()
	for at := range n.kernel {
		delete(n.kernel, at)
	}
	n.reviewAll()
	n.mu.Unlock()
	n.settle()
	b.has(0, "10.9.0.0/16", there)
	for feed := range 2 {
		eventually(t, fmt.Sprintf("%s: it is counted", status(feed).Name), func() bool { return status(feed).Corrected == 1 })
		audited(feed, 1)
		if s := status(feed); s.Corrected != 1 {
			t.Errorf("%+v", s)
		}
	}
}

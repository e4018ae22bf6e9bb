package slowpath

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// routeBatch adds or deletes n routes.
func routeBatch(verb string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "route %s %d.%d.%d.0/24 via 10.1.0.2 proto bird\n", verb, 20+i>>16, i>>8&255, i&255)
	}
	return b.String()
}

// A full table of a routing daemon comes and goes. SP-2
func TestMirrorFollowsAHundredThousandRoutes(t *testing.T) {
	b := newMirrorBed(t, nil)
	const n = 100_000
	installed := func() int { return b.mirror.Status().Routes[Installed] }
	b.ip("addr add 10.1.0.1/24 dev lan")
	b.ip(routeBatch("add", n))
	begun := time.Now()
	eventually(t, "all routes are there", func() bool { return installed() == n })
	t.Logf("the mirror was done %v after ip was", time.Since(begun).Round(time.Millisecond))
	b.agree(t, nil)
	b.ip("link set lan down") // of which the kernel says nothing
	eventually(t, "all routes are gone", func() bool { return installed() == 0 })
	b.agree(t, nil)
}

// A mirror that is to end does not first take over a large table. SP-2
func TestMirrorEndsWithinALargeTable(t *testing.T) {
	b := newMirrorBed(t, nil)
	const n = 5 * batchUpdates
	b.ip("addr add 10.1.0.1/24 dev lan\n" + routeBatch("add", n))
	eventually(t, "all routes are there", func() bool { return b.mirror.Status().Routes[Installed] == n })

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	c := b.config()
	if m, err := OpenMirror(gone, c); !errors.Is(err, context.Canceled) {
		t.Errorf("opened %v, %v, though nobody waits for it", m, err)
	}
	c.Tables = b.newTables()
	r := newRouteMirror(&c)
	dumps, err := openSocket(c.Netns, defaultReceiveBytes)
	if err != nil {
		t.Fatal(err)
	}
	defer dumps.close()
	if err := r.dump(dumps, nil); err != nil {
		t.Fatal(err)
	}
	r.stopping = gone.Done()
	if changes := r.settle(); changes == 0 || changes > 2*batchUpdates {
		t.Errorf("%d of %d routes are taken over after the end", changes, n)
	}
}

// Nexthop objects that are replaced without end cost no more at the end than in the
// middle, and the last word counts although most are lost: each is told again by every
// route over it. SP-2
func TestMirrorOfNexthopsReplacedInAStorm(t *testing.T) {
	b := newMirrorBed(t, func(c *MirrorConfig) { c.receiveBytes = 64 << 10 })
	b.ip("addr add 10.1.0.1/24 dev lan\naddr add 10.2.0.1/24 dev wan\nnexthop add id 1 via 10.1.0.2 dev lan\n" +
		"nexthop add id 2 via 10.2.0.2 dev wan\nnexthop add id 3 group 1/2")
	var routes strings.Builder
	const n = 200
	for i := range n {
		fmt.Fprintf(&routes, "route add 20.%d.%d.0/24 nhid %d\n", i>>8, i&255, 1+2*(i&1))
	}
	b.ip(routes.String())
	eventually(t, "all routes are there", func() bool { return b.mirror.Status().Routes[Installed] == n })
	storm := func(rounds int) {
		var replace strings.Builder
		for i := range rounds {
			fmt.Fprintf(&replace, "nexthop replace id 1 via 10.1.0.%d dev lan\nnexthop replace id 3 group 1,%d/2\n", 2+i%200, 1+i%7)
		}
		b.ip(replace.String() + "nexthop replace id 1 via 10.1.0.9 dev lan\nnexthop replace id 3 group 1,3/2")
		b.has(0, "20.0.0.0/24", "learned forward proto 3 [10.1.0.9 if1 x1]")
		b.has(0, "20.0.199.0/24", "learned group proto 3 [10.1.0.9 if1 x3] [10.2.0.2 if2 x1]")
	}
	sizes := func() [4]int {
		r := b.mirror.routes
		r.mu.Lock()
		defer r.mu.Unlock()
		return [4]int{len(r.view.routes), len(r.hops.sets), len(r.hops.nexthops), len(r.doubtful)}
	}
	storm(50)
	before := sizes()
	for rounds := 1; ; rounds++ {
		storm(300)
		if after := sizes(); after != before {
			t.Errorf("routes, sets of hops, nexthop objects and doubts were %v and are %v", before, after)
		}
		s := b.mirror.Status().Feeds[0]
		if s.Overruns > 0 {
			break
		}
		if rounds == 20 {
			t.Fatalf("nothing was lost: %+v", s)
		}
	}
	b.agree(t, nil)
	b.ip("nexthop flush") // and the kernel drops the routes
	eventually(t, "all routes are gone", func() bool { return b.mirror.Status().Routes[Installed] == 0 })
	b.agree(t, nil)
}

// When notifications are lost a dump makes up for it; routes that stay are not
// touched. SP-2
func TestMirrorMakesUpForLostNotifications(t *testing.T) {
	b := newMirrorBed(t, func(c *MirrorConfig) { c.receiveBytes = 4096 })
	b.ip("addr add 10.1.0.1/24 dev lan\nroute add 10.9.0.0/16 via 10.1.0.2\nneigh add 10.1.0.2 dev lan lladdr 02:00:00:00:00:01 nud permanent")
	b.has(0, "10.9.0.0/16", "learned forward proto 3 [10.1.0.2 if1 x1]")
	before := b.tables[0].Lookup4(10<<24 | 9<<16)
	overruns := func(feed int) uint64 { return b.mirror.Status().Feeds[feed].Overruns }
	for round := 0; overruns(0) == 0 || overruns(1) == 0; round++ {
		if round == 50 {
			t.Fatalf("nothing was lost: %+v", b.mirror.Status())
		}
		var neighbours strings.Builder
		for i := range 500 {
			fmt.Fprintf(&neighbours, "neigh replace 10.1.0.%d dev lan lladdr 02:00:00:00:%02x:02 nud reachable\n", 3+i%200, round)
		}
		b.ip(routeBatch("add", 500) + neighbours.String() + routeBatch("del", 250))
		b.ip("route flush table main proto bird")
	}
	b.ip(routeBatch("add", 100))
	b.agree(t, nil)
	status := b.mirror.Status()
	if status.Feeds[0].Resyncs == 0 || status.Feeds[1].Resyncs == 0 || status.Feeds[0].Reopens+status.Feeds[1].Reopens != 0 {
		t.Errorf("%+v", status.Feeds)
	}
	if now := b.tables[0].Lookup4(10<<24 | 9<<16); now != before {
		t.Errorf("the next hop of a route that stayed was %d and is %d", before, now)
	}
}

// A loss that leaves more to be read than one batch does not stop the mirror: what waits
// is read to its end, and then the kernel is dumped. SP-2
func TestMirrorReadsALongBacklogAfterALoss(t *testing.T) {
	b := newMirrorBed(t, nil)
	b.ip("addr add 10.1.0.1/24 dev lan")
	b.has(0, "10.1.0.1/32", "local local proto 0 [invalid IP if1 x1]")
	const n = 60_000 // of which a third does not fit into the socket
	b.mirror.routes.mu.Lock()
	b.ip(routeBatch("add", n))
	b.mirror.routes.mu.Unlock()
	eventually(t, "all routes are there", func() bool { return b.mirror.Status().Routes[Installed] == n })
	if s := b.mirror.Status().Feeds[0]; s.Overruns == 0 {
		t.Errorf("nothing was lost: %+v", s)
	}
	b.ip("route flush proto bird")
	eventually(t, "all routes are gone", func() bool { return b.mirror.Status().Routes[Installed] == 0 })
	b.agree(t, nil)
}

// A socket that fails is opened again, and what happened meanwhile is made up for. SP-2
func TestMirrorOpensAFailedSocketAgain(t *testing.T) {
	b := newMirrorBed(t, nil)
	b.ip("addr add 10.1.0.1/24 dev lan")
	b.has(0, "10.1.0.1/32", "local local proto 0 [invalid IP if1 x1]")
	for i := range b.mirror.feeds {
		f := b.mirror.feeds[i]
		eventually(t, "the feed is waiting", func() bool { return f.status().Messages > 0 || i == 1 })
		f.events.file.Close()
	}
	b.ip("route add 10.9.0.0/16 via 10.1.0.2\nneigh add 10.1.0.2 dev lan lladdr 02:00:00:00:00:01 nud permanent")
	b.has(0, "10.9.0.0/16", "learned forward proto 3 [10.1.0.2 if1 x1]")
	eventually(t, "the neighbour", func() bool { return len(b.tables[0].Neighbours()) == 1 })
	for _, f := range b.mirror.Status().Feeds {
		if f.Reopens != 1 {
			t.Errorf("%+v", f)
		}
	}
}

// A table that is full takes what it can, says so, and takes the rest when there is
// room. SP-2
func TestMirrorOfMoreRoutesThanFit(t *testing.T) {
	b := newMirrorBed(t, nil)
	const room = 1 << 18 // of newTables
	b.ip("addr add 10.1.0.1/24 dev lan")
	var more strings.Builder
	for i := range room + 1000 {
		fmt.Fprintf(&more, "route add blackhole %d.%d.%d.%d/32\n", 30+i>>24, i>>16&255, i>>8&255, i&255)
	}
	b.ip(more.String())
	status := func() MirrorStatus { return b.mirror.Status() }
	eventually(t, "the table is full", func() bool {
		s := status()
		return s.Routes[Installed]+s.Routes[Full] == room+1000 && s.Routes[Full] >= 1000
	})
	full := status().Routes[Full]
	var gone strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&gone, "route del blackhole 30.0.%d.%d/32\n", i>>8&255, i&255)
	}
	b.ip(gone.String())
	eventually(t, fmt.Sprintf("the %d that did not fit are there", full), func() bool { return status().Routes[Full] == 0 })
}

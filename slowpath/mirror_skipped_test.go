package slowpath

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"ffwd/fib"
)

// stay and goes are IPv6 routes: those that stay, and those before them in the order of
// a dump that come and go without end.
const (
	stay = 12_000
	goes = 1_500
)

// goesBatch adds or deletes the routes that go, and one behind those that stay: what
// comes makes the kernel begin anew, and skip as many routes as it has told.
func goesBatch(verb string) string {
	var b strings.Builder
	for i := range goes {
		fmt.Fprintf(&b, "route %s 2001:db8:%x::/48 via fd01::2\n", verb, i)
		if i%100 == 0 {
			fmt.Fprintf(&b, "route replace 2001:db9:%x::/48 via fd01::2\nroute del 2001:db9:%[1]x::/48 via fd01::2\n", i)
		}
	}
	return b.String()
}

// churn lets routes come and go until the test, or what is returned, ends it.
func (b *mirrorBed) churn() (end func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	script := goesBatch("add") + goesBatch("del")
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			c := exec.CommandContext(ctx, "nsenter", "--net="+b.ns, "ip", "-force", "-batch", "-")
			c.Stdin = strings.NewReader(script)
			_ = c.Run() // what was cut off before is there already
		}
	})
	end = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	b.t.Cleanup(end)
	return end
}

// stayed counts the routes that stay, in the FIB.
func (b *mirrorBed) stayed() (n int) {
	within := netip.MustParsePrefix("2001:db8:8000::/33")
	for r := range b.tables[0].Routes {
		if r.Origin == fib.OriginLearned && within.Overlaps(r.Prefix) {
			n++
		}
	}
	return n
}

// A dump of IPv6 routes skips some that stay, when others go and come meanwhile, and says
// nothing of it. No route is taken from the FIB for that, and what a dump at the start
// skipped is found by the next ones; nor do dumps go on when the kernel rests. SP-2
func TestMirrorKeepsRoutesThatDumpsSkip(t *testing.T) {
	b := newMirrorBed(t, nil)
	b.ip("addr add fd01::1/64 dev lan")
	var routes strings.Builder
	for i := range stay {
		fmt.Fprintf(&routes, "route add 2001:db8:%x::/48 via fd01::2\n", 0x8000+i)
	}
	b.ip(routes.String())
	eventually(t, "all routes are there", func() bool { return b.stayed() == stay })
	end := b.churn()
	resyncs := func() uint64 { return b.mirror.Status().Feeds[0].Resyncs }
	for range 5 {
		since := resyncs()
		b.ip("addr add 10.3.0.1/24 dev mgmt\naddr del 10.3.0.1/24 dev mgmt") // of which all is not told
		eventually(t, "the kernel is dumped", func() bool { return resyncs() > since })
		if got := b.stayed(); got != stay {
			t.Errorf("%d of %d routes are left", got, stay)
		}
	}
	first := &mirrorBed{t: t, ns: b.ns}
	first.start(nil)
	t.Logf("the first dump had %d of %d", first.stayed(), stay)
	eventually(t, "another dump has what the first had not", func() bool { return first.stayed() == stay })
	end()
	eventually(t, "no dump is due", func() bool { return !b.mirror.Status().Feeds[0].ResyncDue && !first.mirror.Status().Feeds[0].ResyncDue })
	b.agree(t, nil)
}

// A route that dumps of a kernel that never rests do not have goes, but not at once; one
// that a dump had meanwhile stays for as long again. SP-2
func TestRoutesMissingFromManyDumpsGo(t *testing.T) {
	key := keyOf(0, netip.MustParsePrefix("2001:db8::/32"))
	m := &routeMirror{view: newRouteView()}
	dump := func(has bool) {
		before := m.view
		m.view = newRouteView()
		if has {
			m.view.add(key, candidate{kind: 1}, atBack, nil)
		}
		m.keepMissed(&before)
	}
	missing := func(want int) {
		t.Helper()
		for n := 1; ; n++ {
			if dump(false); len(m.view.list(key)) == 0 {
				if n != want {
					t.Fatalf("it went with dump %d, want %d", n, want)
				}
				return
			}
		}
	}
	dump(true)
	dump(false)
	dump(true)
	missing(mostMissed)
	if dump(false); len(m.missed) != 0 {
		t.Errorf("%d are kept in mind", len(m.missed))
	}
}

package control

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"

	"ffwd/conf"
	"ffwd/fib"
	"ffwd/pmd"
)

// FF-12
func TestStartReportStop(t *testing.T) {
	procs := runtime.GOMAXPROCS(0)
	s := startTest(t, twoPorts)
	if n := runtime.GOMAXPROCS(0); n < 1+max(2, runtime.NumCPU()) {
		t.Errorf("GOMAXPROCS is %d: a worker would starve control", n)
	}
	mark := s.Mark()
	for s.Received() < 10_000 {
		runtime.Gosched()
	}
	r := s.Report()
	if r.Received+r.Created != r.Transmitted+r.Dropped()+r.Punted()+uint64(r.Held) {
		t.Errorf("does not add up: %+v", r)
	}
	if since := s.ReportSince(mark); since.Received == 0 || since.DurationS <= 0 {
		t.Errorf("nothing happened since the mark: %+v", since)
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	last := s.Report()
	if last.Received < r.Received || last.Held != 0 {
		t.Errorf("before the end %+v, after it %+v", r, last)
	}
	if runtime.GOMAXPROCS(0) != procs {
		t.Errorf("GOMAXPROCS is %d after the end, was %d", runtime.GOMAXPROCS(0), procs)
	}
	if len(testRuntime.Ports()) != 0 {
		t.Error("ports are still open")
	}
}

// A start that fails at any step undoes those before it.
func TestStartFailsCleanly(t *testing.T) {
	for _, tc := range []struct{ name, old, new, want string }{
		{"second port", "net_null1,no-rx=1", "net_null1,no-such=1", "no-such"},
		{"socket", "socket = \"SOCKET\"", "socket = \"/proc/ffwd.sock\"", "control.socket"},
		{"metrics", "address = \"\"", "address = \"192.0.2.1:1\"", "metrics.address"},
	} {
		s := newSwitch(NewLogger(io.Discard, conf.Log{}))
		s.runtime = testRuntime
		_, err := s.start(parse(t, strings.Replace(twoPorts, tc.old, tc.new, 1)), s.takeSockets, s.assemble, s.begin)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q", tc.name, err, tc.want)
		}
		if len(testRuntime.Ports()) != 0 {
			t.Fatalf("%s: ports are left open", tc.name)
		}
		for _, p := range testRuntime.Pools() {
			if p.Available() != p.Size() {
				t.Errorf("%s: %d mbufs are missing", tc.name, p.Size()-p.Available())
			}
		}
	}
}

// prefixes lists the configured routes of a table.
func prefixes(s *Switch, table int) (list []string) {
	for r := range s.tables[table].Routes {
		if r.Origin == "route" {
			list = append(list, r.Prefix.String())
		}
	}
	return list
}

func TestReloadChangesEverythingReloadable(t *testing.T) {
	s := startTest(t, twoPorts)
	before, timeouts := s.snapshot.Load(), *s.policies.Timeouts()
	next := *s.Config()
	next.Routes = append(slices.Clone(next.Routes), conf.Route{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Type: conf.RouteBlackhole, VRF: 3})
	next.Neighbours = []conf.Neighbour{{Port: "lan", Address: netip.MustParseAddr("10.1.1.9"), MAC: conf.MAC{2}}}
	next.Policy.DefaultIn = conf.ActionDrop
	next.ICMP.ErrorRate = 7
	next.CT.Timeouts.ICMP *= 2
	next.Log.Level = conf.LogError
	if _, err := s.Reload(&next); err != nil {
		t.Fatal(err)
	}
	after := s.snapshot.Load()
	if after.Rules.Generation() == before.Rules.Generation() || after.ErrorRate != 7 || *after.Timeouts == timeouts {
		t.Errorf("the snapshot is not the new one: %+v", after)
	}
	if got := prefixes(s, 1); !slices.Equal(got, []string{"192.0.2.0/24"}) {
		t.Errorf("VRF 3 has %v", got)
	}
	if n := s.tables[0].Neighbours(); len(n) != 1 || n[0].Iface != 1 {
		t.Errorf("neighbours: %v", n)
	}
	if s.log.Enabled(t.Context(), 4) {
		t.Error("the log level did not change")
	}
}

// Whatever step of a reload fails, everything before it is undone.
func TestReloadRollsBack(t *testing.T) {
	s := startTest(t, twoPorts)
	before, snapshot := s.Config(), s.snapshot.Load()
	for _, tc := range []struct {
		name   string
		change func(c *conf.Config)
		want   string
	}{
		{"fault", func(c *conf.Config) { c.Routes = []conf.Route{{Type: conf.RouteUnicast}} }, "routes[0].prefix"},
		{"restart", func(c *conf.Config) { c.Workers.Burst = 32; c.ICMP.ErrorRate = 1 }, "workers.burst: 64 -> 32"},
		{"unknown vrf", func(c *conf.Config) {
			c.Neighbours = nil
			c.Routes = []conf.Route{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Type: conf.RouteProhibit, VRF: 9}}
		}, "VRF 9"},
		{"routes after neighbours", func(c *conf.Config) {
			c.Neighbours = append(slices.Clone(c.Neighbours), conf.Neighbour{Port: "lan", Address: netip.MustParseAddr("10.1.1.9"), MAC: conf.MAC{2}})
			c.Neighbours[0].MAC = conf.MAC{2, 9}
			c.Routes = []conf.Route{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Type: conf.RouteProhibit, VRF: 9}}
		}, "VRF 9"},
	} {
		next := *before
		tc.change(&next)
		_, err := s.Reload(&next)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
		if s.Config() != before || s.snapshot.Load() != snapshot || len(s.tables[0].Neighbours()) != 1 || !slices.Equal(prefixes(s, 0), []string{"0.0.0.0/0"}) {
			t.Errorf("%s: something changed", tc.name)
		}
	}
	if n := s.tables[0].Neighbours(); len(n) != 1 || n[0].MAC != fib.MAC(before.Neighbours[0].MAC) {
		t.Errorf("neighbours: %v", n)
	}
	next := *before
	next.Workers.Burst = 32
	if _, err := s.Reload(&next); !errors.Is(err, ErrRestart) {
		t.Errorf("%v is no ErrRestart", err)
	}
}

// A reload that fails in its second table puts the first one's routes back, although what they took of the
// table is retired when it does, and some worker is slow to pass.
func TestReloadRollsBackIntoAFullTable(t *testing.T) {
	s := startTest(t, strings.NewReplacer("max_next_hops = 4096", "max_next_hops = 1024", "10.1.1.1/24", "10.1.1.1/16").Replace(twoPorts))
	routes := func(vrf, from, n int) (list []conf.Route) { // over a gateway each
		for i := from; i < from+n; i++ {
			list = append(list, conf.Route{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), 32),
				Type: conf.RouteUnicast, Via: netip.AddrFrom4([4]byte{10, 1, byte(2 + i>>8), byte(i)}), VRF: vrf})
		}
		return list
	}
	before := *s.Config()
	before.Routes = routes(0, 1, 450)
	if _, err := s.Reload(&before); err != nil {
		t.Fatal(err)
	}
	slow, done := s.epoch.Join(), make(chan struct{})
	slow.Online()
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			select {
			case <-done:
				slow.Offline()
				slow.Leave()
				return
			case <-time.After(100 * time.Millisecond):
				slow.Quiescent()
			}
		}
	})
	next := before
	next.Routes = append(routes(0, 501, 450), routes(3, 1, 1100)...)
	_, err := s.Reload(&next)
	close(done)
	passing.Wait()
	if !errors.Is(err, fib.ErrFull) || strings.Contains(err.Error(), "roll back") {
		t.Errorf("got %v", err)
	}
	if got, want := prefixes(s, 0), before.Routes; len(got) != len(want) || got[0] != want[0].Prefix.String() {
		t.Errorf("%d routes from %v on, want %d from %v on", len(got), got[:min(1, len(got))], len(want), want[0].Prefix)
	}
	if got := prefixes(s, 1); len(got) != 0 {
		t.Errorf("VRF 3 has %d routes", len(got))
	}
}

// FF-16: what a lost link does to the next hops over it.
func TestLinkLossReachesTheTables(t *testing.T) {
	s := startTest(t, twoPorts)
	iface := s.index["wan"]
	if err := s.tableOf(iface).SetLink(iface, false); err != nil {
		t.Fatal(err)
	}
	s.linkMu.Lock()
	s.links[1] = pmd.Link{} // as if it had been seen down: the next look sees it up
	s.linkMu.Unlock()
	s.readLink(1)
	s.settleLink(1, s.link(1).Up)
	r, _ := s.tables[0].Route(netip.MustParseAddr("192.0.2.1"))
	if len(r.Hops) != 1 || r.Hops[0].State.String() != "forward" {
		t.Errorf("the route did not come back: %+v", r)
	}
}

// A scrape does not wait for a reload that fills tables, and shows what ran before it.
func TestScrapeDuringReload(t *testing.T) {
	s := startTest(t, twoPorts)
	s.mu.Lock()
	defer s.mu.Unlock()
	err := within(20*time.Second, "the scrape", func() {
		if _, err := s.registry().Gather(); err != nil {
			t.Error(err)
		}
		for _, path := range []string{"/v1/report", "/v1/rules", "/v1/ports", "/v1/config", "/v1/timeouts", "/v1/mirror"} {
			if status, text := ask(t, s, "GET", path, ""); status != 200 {
				t.Errorf("%s: %d %s", path, status, text)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestMetricsAreWellFormed(t *testing.T) {
	s := startTest(t, twoPorts)
	families, err := s.registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "ffwd_") {
			if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
				t.Fatal(err)
			}
		}
	}
	problems, err := promlint.New(strings.NewReader(text.String())).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

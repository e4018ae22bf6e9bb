package bench

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"ffwd/capture"
	"ffwd/conf"
)

// What we write is what the switch reads.
func TestConfigIsValid(t *testing.T) {
	for _, g := range catalogue() {
		for _, v := range g.variants {
			s := testSetup()
			s.load = g.load
			var doc bytes.Buffer
			printConfig(&doc, v, s)
			if doc.Len() >= 64<<20 { // conf reads no more
				t.Errorf("%s with %d routes: %d bytes", v.scenario, v.routes, doc.Len())
			}
			if v.routes > manyRoutes { // takes a quarter of a minute, and is more of the same
				v.routes = 5000
				doc.Reset()
				printConfig(&doc, v, s)
			}
			c, err := conf.Parse("bench.toml", doc.Bytes())
			if err != nil {
				t.Fatalf("%s with %d routes: %v", v.scenario, v.routes, err)
			}
			if len(c.Routes) != v.routes || len(c.Neighbours) != min(v.routes, nextHops) {
				t.Errorf("%d routes, %d neighbours, want %d routes", len(c.Routes), len(c.Neighbours), v.routes)
			}
			if c.CT.Enabled == v.stateless || c.CT.MaxFlows < g.flows || c.Pool.Mbufs <= g.packets() || c.Workers.Burst != burst {
				t.Errorf("%s: ct %+v, pool %+v, workers %+v", v.scenario, c.CT, c.Pool, c.Workers)
			}
			if hides := len(c.Rules) == 1 && c.Rules[0].Action == conf.ActionMasquerade; hides != g.hidden || g.hidden && c.CT.MaxTranslations < g.flows {
				t.Errorf("%s: rules %+v, %d translations", v.scenario, c.Rules, c.CT.MaxTranslations)
			}
			if v.unreplied > 0 && time.Duration(c.CT.Timeouts.UDP.Unreplied) != v.unreplied {
				t.Errorf("timeouts %+v", c.CT.Timeouts.UDP)
			}
		}
	}
}

func TestConfigWithoutHugePages(t *testing.T) {
	s := testSetup()
	s.huge = false
	var doc bytes.Buffer
	printConfig(&doc, variant{routes: 1, maxFlows: 4096}, s)
	c, err := conf.Parse("bench.toml", doc.Bytes())
	if err != nil || c.EAL.HugePages != conf.HugeOff || c.EAL.MemoryMB != s.ordinaryMemoryMB() {
		t.Errorf("eal %+v, %v", c.EAL, err)
	}
}

func TestPrefixesAreDifferentAndRouted(t *testing.T) {
	list := prefixes(20_000, false)
	if list[0] != netip.MustParsePrefix("0.0.0.0/0") {
		t.Errorf("first route %s", list[0])
	}
	seen := map[netip.Prefix]bool{}
	for _, p := range list[1:] {
		if seen[p] || p != p.Masked() || !routedNet.Contains(p.Addr()) {
			t.Fatalf("%s: twice %t", p, seen[p])
		}
		seen[p] = true
	}
	for _, net := range []netip.Prefix{clientNet, serverNet} {
		if !routedNet.Overlaps(net) || net.Bits() < routedNet.Bits() {
			t.Errorf("%s is outside %s", net, routedNet)
		}
	}
}

// Both directions of a flow are in one file, and no flow is in two.
func TestCapturesSplitByFlow(t *testing.T) {
	l := load{flows: 2000, replies: true, workers: 3}
	var queues int
	flows, packets := 0, 0
	for q := range l.workers {
		s := spec(l, q, 1)
		kept := s.Owner
		s.Owner = func(tuple capture.Tuple) bool {
			if kept(tuple) {
				queues++
			}
			return kept(tuple)
		}
		var file bytes.Buffer
		sum, err := s.Write(&file)
		if err != nil {
			t.Fatal(err)
		}
		if sum.Packets != 2*sum.Flows || sum.Flows < l.flows/4 {
			t.Errorf("queue %d: %d packets of %d flows, want two of each of about %d", q, sum.Packets, sum.Flows, l.flows/3)
		}
		flows, packets = flows+sum.Flows, packets+sum.Packets
	}
	if flows != l.flows || packets != l.packets() || queues != packets {
		t.Errorf("%d flows and %d packets in all files, want %d and %d", flows, packets, l.flows, l.packets())
	}
}

func TestHugePages(t *testing.T) {
	kernel := func(total, free int) hugePages {
		dir := t.TempDir()
		for name, n := range map[string]int{"nr_hugepages": total, "free_hugepages": free} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(strconv.Itoa(n)+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return hugePages{dir}
	}
	for name, c := range map[string]struct {
		o         Options
		free      int
		use, fail bool
	}{
		"enough":              {Options{HugePages: HugeAuto}, 100, true, false},
		"enough, off":         {Options{HugePages: HugeOff}, 100, false, false},
		"too few":             {Options{HugePages: HugeAuto}, 99, false, false},
		"too few, require":    {Options{HugePages: HugeRequire}, 99, false, true},
		"kernel has no more":  {Options{HugePages: HugeAuto, ReserveHugePages: true}, 99, false, false},
		"no more and require": {Options{HugePages: HugeRequire, ReserveHugePages: true}, 99, false, true},
	} {
		pages := kernel(100, c.free)
		use, restore, err := pages.prepare(&c.o, 199)
		if use != c.use || (err != nil) != c.fail {
			t.Errorf("%s: use %t, error %v", name, use, err)
		}
		if err := restore(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := pages.read("nr_hugepages"); n != 100 {
			t.Errorf("%s: %d pages afterwards, want 100", name, n)
		}
	}
	if _, _, err := (hugePages{filepath.Join(t.TempDir(), "none")}).prepare(&Options{HugePages: HugeAuto, ReserveHugePages: true}, 2); err == nil {
		t.Error("reserved pages of a kernel that has none")
	}
}

func TestMemoryWithoutHugePagesCountsWholePages(t *testing.T) {
	s := setup{load: load{flows: 1_000_000, workers: 1}, dataRoom: 2176}
	if mb := s.ordinaryMemoryMB(); mb < 1_000_000*pageBytes>>20 {
		t.Errorf("%d MiB for a million mbufs of which each takes a page", mb)
	}
	if mb := s.hugeMemoryMB(); mb < 1_000_000*2368>>20 || mb > 3500 {
		t.Errorf("%d MiB with huge pages", mb)
	}
}

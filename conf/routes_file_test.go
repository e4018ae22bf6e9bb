package conf

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// twoNets is a configuration whose routes file is the one beside it.
const twoNets = `
[fib]
routes_file = "routes.txt"
max_routes_ipv4 = 4194304
[[ports]]
name = "lan"
device = "net_null0"
addresses = ["10.1.1.1/24", "fd01:1::1/64"]
[[ports]]
name = "wan"
device = "net_null1"
addresses = ["10.2.2.1/24", "fd01:2::1/64"]
`

// loadRoutes loads a configuration with a routes file.
func loadRoutes(t testing.TB, config, routes string) (*Config, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"ffwd.toml": config, "routes.txt": routes} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(filepath.Join(dir, "ffwd.toml"))
}

// Every form of a line is the route that TOML has for it.
func TestRoutesFileSaysWhatTOMLSays(t *testing.T) {
	for _, tc := range []struct{ line, toml string }{
		{"192.0.2.0/24 via 10.2.2.2", "prefix = \"192.0.2.0/24\"\nvia = \"10.2.2.2\""},
		{"\t192.0.2.0/24\tvia 10.2.2.2  dev wan # comment\r", "prefix = \"192.0.2.0/24\"\nvia = \"10.2.2.2\"\nport = \"wan\""},
		{"192.0.2.1 dev wan proto bird metric 32", "prefix = \"192.0.2.1/32\"\nport = \"wan\""},
		{"2001:db8::1 via fe80::1 dev lan", "prefix = \"2001:db8::1/128\"\nvia = \"fe80::1\"\nport = \"lan\""},
		{"default via 10.2.2.2", "prefix = \"0.0.0.0/0\"\nvia = \"10.2.2.2\""},
		{"default via fd01:2::2", "prefix = \"::/0\"\nvia = \"fd01:2::2\""},
		{"default dev wan", "prefix = \"0.0.0.0/0\"\nport = \"wan\""},
		{"unicast 192.0.2.0/24 mtu 1400 via 10.2.2.2 counters", "prefix = \"192.0.2.0/24\"\nvia = \"10.2.2.2\"\nmtu = 1400\ncounters = true"},
		{"blackhole 192.0.2.0/24 vrf 7", "prefix = \"192.0.2.0/24\"\ntype = \"blackhole\"\nvrf = 7"},
		{"unreachable 192.0.2.0/24#", "prefix = \"192.0.2.0/24\"\ntype = \"unreachable\""},
		{"prohibit 2001:db8::/32", "prefix = \"2001:db8::/32\"\ntype = \"prohibit\""},
		{"192.0.2.0/24 nexthop via 10.1.1.2 dev lan weight 3 nexthop dev wan",
			"prefix = \"192.0.2.0/24\"\nhops = [{ via = \"10.1.1.2\", port = \"lan\", weight = 3 }, { port = \"wan\" }]"},
	} {
		c, err := loadRoutes(t, twoNets, "# routes\n\n"+tc.line)
		if err != nil {
			t.Errorf("%s: %v", tc.line, err)
			continue
		}
		want := mustParse(t, strings.Replace(twoNets, "routes_file = \"routes.txt\"", "", 1)+"[[routes]]\n"+tc.toml+"\n")
		if got := c.FIB.RoutesFile.Routes(); !reflect.DeepEqual(got, want.Routes) {
			t.Errorf("%s:\n%+v\nwant\n%+v", tc.line, got, want.Routes)
		}
	}
}

// What is wrong is told with the file's name and line, all of it at once, behind the faults
// of the configuration itself.
func TestFaultsInARoutesFile(t *testing.T) {
	for _, tc := range []struct{ routes, want string }{
		{"10.9.0.0", "1: hops: is missing; a unicast route needs via, port or hops"},
		{"10.9.0.0/33 via 10.2.2.2", `1: "10.9.0.0/33" is not a prefix like 10.1.1.0/24`},
		{"fe80::1%lan via 10.2.2.2", `1: "fe80::1%lan" is not a prefix`},
		{"\n\nblackhole # nothing", `3: the prefix is missing`},
		{"10.9.0.0/16 via", `1: via has no value`},
		{"10.9.0.0/16 via wan", `1: via: "wan" is not an IP address`},
		{"10.9.0.0/16 via 10.2.2.2 via 10.2.2.3", `1: via is given twice`},
		{"10.9.0.0/16 via 10.2.2.2 metric high", `1: metric: "high" is not a number`},
		{"10.9.0.0/16 via 10.2.2.2 mtu -1", `1: mtu: "-1" is not a number`},
		{"10.9.0.0/16 via 10.2.2.2 src 10.1.1.1", `1: "src" is none of via, dev`},
		{"10.9.0.0/16 nexthop weight", `1: weight has no value`},
		{"10.9.0.0/16 nexthop via 10.2.2.2 via 10.2.2.3", `1: "via" does not follow nexthop`},
		{"10.9.0.0/16 nexthop via 10.2.2.2 mtu 1400", `1: "mtu" does not follow nexthop`},
		{"10.9.0.0/16 " + strings.Repeat("x", 60), `1: "` + strings.Repeat("x", 40) + `"... is none of`},
		// What the validation finds, as in TOML.
		{"10.9.0.1/16 via 10.2.2.2", `1: prefix: 10.9.0.1/16 has host bits set`},
		{"10.9.0.0/16 via 10.77.0.1", `1: via: 10.77.0.1 is on no subnet of VRF 0`},
		{"10.9.0.0/16 dev wam", `1: port: "wam" is no port's name; did you mean "wan"?`},
		{"10.9.0.0/16 nexthop via 10.2.2.2 weight 900", `1: hops[0].weight: 900 is above 256`},
		{"10.9.0.0/16 via 10.2.2.2\n# again\n10.9.0.0/16 dev wan", `3: prefix: 10.9.0.0/16 is the prefix of line 1`},
		{"10.8.0.0/16 dev wan", `1: prefix: 10.8.0.0/16 is the prefix of routes[0]`},
		{"blackhole 10.9.0.0/16 vrf 256", `1: vrf: 256 is above 255`},
		{strings.Repeat(" ", maxRouteLineBytes) + "10.9.0.0/16 dev wan", `1: is longer than 8192 bytes; what follows was not read`},
	} {
		_, err := loadRoutes(t, twoNets+"[[routes]]\nprefix = \"10.8.0.0/16\"\nport = \"wan\"\n", tc.routes)
		var faults Faults
		if !errors.As(err, &faults) || len(faults) != 1 || !strings.Contains(err.Error(), "/routes.txt:"+tc.want) {
			t.Errorf("%.60s: %v\nwant %s", tc.routes, err, tc.want)
		}
	}

	_, err := loadRoutes(t, twoNets+"[icmp]\nerror_rate = -1\n", "x\n10.9.0.1/16 dev wan\n10.9.0.0/16 dev wan\ny\n")
	var lines []string
	for line := range strings.Lines(fmt.Sprint(err)) {
		lines = append(lines, line[strings.LastIndexByte(line[:strings.Index(line, ": ")], '/')+1:])
	}
	want := []string{"ffwd.toml:14: icmp.error_rate", "routes.txt:1: \"x\" is not", "routes.txt:2: prefix: 10.9.0.1/16", "routes.txt:4: \"y\" is not"}
	if len(lines) != len(want) {
		t.Fatalf("%q, want %q", lines, want)
	}
	for i := range want {
		if !strings.HasPrefix(lines[i], want[i]) {
			t.Errorf("%q, want %q", lines[i], want[i])
		}
	}
}

// A file that is none of routes makes no endless list.
func TestFaultsInARoutesFileAreBounded(t *testing.T) {
	for _, line := range []string{"nonsense\n", "10.9.0.1/16 dev wan\n"} {
		_, err := loadRoutes(t, twoNets, strings.Repeat(line, 10*maxRoutesFaults))
		var faults Faults
		if !errors.As(err, &faults) || len(faults) < maxRoutesFaults || len(faults) > maxRoutesFaults+3 {
			t.Errorf("%q: %d faults", line, len(faults))
		}
		if last := faults[len(faults)-1]; !strings.Contains(last.Message, "more faults may follow") {
			t.Errorf("%q: the last is %v", line, last)
		}
	}
}

// What is no file with an end is not read, and not waited for.
func TestRoutesFileHasToBeAFile(t *testing.T) {
	dir := t.TempDir()
	pipe, huge := filepath.Join(dir, "pipe"), filepath.Join(dir, "huge")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(huge, nil, 0o600), os.Truncate(huge, maxRoutesFileBytes+1)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		pipe: "is no regular file", dir: "is no regular file", "/dev/zero": "is no regular file",
		huge: "is larger than 1024 MiB", filepath.Join(dir, "none"): "no such file",
	} {
		_, err := Parse("test.toml", []byte(strings.Replace(twoNets, "routes.txt", path, 1)))
		if err == nil || !strings.Contains(err.Error(), "test.toml:3: fib.routes_file: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}

// A client of a running switch may send a document that names the routes file which the
// switch reads, as what the switch prints does, and no other.
func TestRoutesFileOfADocumentThatWasSent(t *testing.T) {
	c, err := loadRoutes(t, twoNets, "10.9.0.0/16 via 10.2.2.2")
	if err != nil {
		t.Fatal(err)
	}
	path := c.FIB.RoutesFile.Path
	again, err := ParseSent(c, "sent", c.TOML())
	if err != nil || !reflect.DeepEqual(c, again) {
		t.Errorf("%v\n%+v\nwant\n%+v", err, again, c)
	}
	if _, err := ParseSent(c, path, []byte(twoNets)); err != nil { // relative to its own name
		t.Error(err)
	}
	if changes := Diff(c, again); !changes.Empty() {
		t.Errorf("%+v", changes)
	}
	other := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(other, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = ParseSent(c, "sent", []byte(strings.Replace(twoNets, "routes.txt", other, 1)))
	if err == nil || !strings.Contains(err.Error(), "sent:3: fib.routes_file: ") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("another file: %v", err)
	}

	if err := os.WriteFile(path, []byte("# another comment\n10.9.0.0/16 via 10.2.2.3\n10.8.0.0/16 dev wan\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	next, err := ParseSent(c, "sent", c.TOML())
	if err != nil {
		t.Fatal(err)
	}
	changes := Diff(c, next)
	want := fmt.Sprintf("fib.routes_file: %q with 1 routes -> %[1]q with 2 routes", path)
	if !changes.Routes || changes.NeedsRestart() || len(changes.Reload) != 1 || changes.Reload[0].String() != want {
		t.Errorf("%v, want %s", changes.Reload, want)
	}
}

// Random routes are the same in either form.
func TestRoutesFileAgreesWithTOML(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := mustParse(t, strings.Replace(twoNets, "routes_file = \"routes.txt\"", "", 1))
		seen := map[netip.Prefix]bool{}
		for range rapid.IntRange(0, 20).Draw(rt, "routes") {
			r := randomRoute(rt)
			if !seen[r.Prefix] {
				seen[r.Prefix], c.Routes = true, append(c.Routes, r)
			}
		}
		var text strings.Builder
		for i := range c.Routes {
			text.WriteString(routeLine(&c.Routes[i]) + "\n")
		}
		var f RoutesFile
		faults, err := f.parse(strings.NewReader(text.String()))
		if err != nil || len(faults) > 0 {
			rt.Fatalf("%v %v in\n%s", err, faults, text.String())
		}
		again := mustParse(t, string(c.TOML()))
		if !slices.EqualFunc(f.routes, again.Routes, func(a, b Route) bool { return a.same(&b) }) {
			rt.Fatalf("%+v\nwant\n%+v\nof\n%s", f.routes, again.Routes, text.String())
		}
	})
}

func randomRoute(rt *rapid.T) (r Route) {
	r.Type = rapid.SampledFrom([]RouteType{RouteUnicast, RouteUnicast, RouteBlackhole, RouteProhibit}).Draw(rt, "type")
	octets := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(rt, "octets")
	via := netip.MustParseAddr("10.2.2.2")
	if rapid.Bool().Draw(rt, "ipv6") {
		octets[0], via = 0x20, netip.MustParseAddr("fd01:2::2")
		r.Prefix = netip.PrefixFrom(netip.AddrFrom16([16]byte(octets)), rapid.IntRange(8, 128).Draw(rt, "bits")).Masked()
	} else {
		octets[0] = 20
		r.Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte(octets)), rapid.IntRange(8, 32).Draw(rt, "bits")).Masked()
	}
	if r.Type != RouteUnicast {
		return r
	}
	r.Counters = rapid.Bool().Draw(rt, "counters")
	switch rapid.IntRange(0, 2).Draw(rt, "hops") {
	case 0:
		r.Via = via
	case 1:
		r.Port = "wan"
	default:
		r.Hops = []Hop{{Via: via, Weight: rapid.IntRange(1, 256).Draw(rt, "weight")}, {Port: "lan", Weight: 1}}
	}
	return r
}

// routeLine is a route as a line.
func routeLine(r *Route) string {
	words := []string{string(r.Type), r.Prefix.String()}
	hop := func(via netip.Addr, port string) {
		if via.IsValid() {
			words = append(words, "via", via.String())
		}
		if port != "" {
			words = append(words, "dev", port)
		}
	}
	hop(r.Via, r.Port)
	if r.Counters {
		words = append(words, "counters")
	}
	for _, h := range r.Hops {
		words = append(words, "nexthop")
		hop(h.Via, h.Port)
		words = append(words, "weight", fmt.Sprint(h.Weight))
	}
	return strings.Join(words, " ")
}

// Whatever a file has, each line is a route, a fault or neither, and faults say which line.
func FuzzRoutesFile(f *testing.F) {
	f.Add("10.9.0.0/16 via 10.2.2.2 dev wan metric 10\n# c\ndefault nexthop via fd01::1 weight 3 nexthop dev wan")
	f.Add("blackhole default\r\n\x00\n" + strings.Repeat("x", maxRouteLineBytes))
	f.Fuzz(func(t *testing.T, text string) {
		var file RoutesFile
		faults, err := file.parse(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		lines := 1 + strings.Count(text, "\n")
		if len(file.routes) != len(file.lines) || len(file.routes)+len(faults) > lines+1 || len(faults) > maxRoutesFaults+1 {
			t.Fatalf("%d routes and %d faults in %d lines", len(file.routes), len(faults), lines)
		}
		for _, fault := range faults {
			if fault.Line < 1 || fault.Line > lines || fault.Message == "" || len(fault.Message) > 400 {
				t.Fatalf("%+v", fault)
			}
		}
		for i := range file.routes {
			again, is, err := (&routeParser{ports: map[string]string{}}).parse(routeLine(&file.routes[i]))
			if r := file.routes[i]; err != nil || !is || again.Prefix != r.Prefix || !slices.Equal(again.Hops, r.Hops) || again.Via != r.Via || again.Port != r.Port {
				t.Fatalf("%v\n%+v\n%+v", err, again, r)
			}
		}
	})
}

// What large tables cost to load and to keep, by either form. TOML takes no more than a
// million: 64 MiB.
func BenchmarkLoadRoutes(b *testing.B) {
	for _, routes := range []int{1_000_000, 2_000_000} {
		text, inTOML := strings.Builder{}, strings.Builder{}
		inTOML.WriteString(strings.Replace(twoNets, "routes_file = \"routes.txt\"", "", 1))
		for i := range routes {
			prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(20 + i>>16), byte(i >> 8), byte(i), 0}), 24)
			fmt.Fprintf(&text, "%v via 10.2.2.2\n", prefix)
			fmt.Fprintf(&inTOML, "[[routes]]\nprefix = \"%v\"\nvia = \"10.2.2.2\"\n", prefix)
		}
		load := func(name, config, routesText string) {
			b.Run(fmt.Sprintf("%s/routes=%d", name, routes), func(b *testing.B) {
				var kept *Config
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				begun := cpuTime(b)
				for b.Loop() {
					var err error
					if kept, err = loadRoutes(b, config, routesText); err != nil {
						b.Fatal(err)
					}
				}
				spent := cpuTime(b) - begun
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(spent.Seconds()/float64(b.N), "cpu-s/op")
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "kept-MiB")
				b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(b.N)/(1<<20), "alloc-MiB/op")
				runtime.KeepAlive(kept)
			})
		}
		load("file", twoNets, text.String())
		if inTOML.Len() <= maxFileBytes {
			load("toml", inTOML.String(), "")
		}
	}
}

// cpuTime is what the process has used so far.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

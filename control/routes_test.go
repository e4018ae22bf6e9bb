package control

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ffwd/fib"
)

// A route of the configuration has its own MTU in the table and in the listing, until
// a reload takes it away. FF-9
func TestMTUOfAConfiguredRoute(t *testing.T) {
	s := startTest(t, strings.Replace(twoPorts, "via = \"10.2.2.2\"\n", "via = \"10.2.2.2\"\nmtu = 1300\n", 1))
	has := func(want uint16, listed bool) {
		t.Helper()
		if got := s.tables[0].Resolve(s.tables[0].Lookup4(192 << 24)).MTUBytes; got != want {
			t.Errorf("packets find an mtu of %d, want %d", got, want)
		}
		if _, answer := ask(t, s, "GET", "/v1/routes?origin=route&vrf=0", ""); listed != strings.Contains(answer, `"mtu":1300`) {
			t.Errorf("listed is %s", answer)
		}
	}
	has(1300, true)
	next := *s.Config()
	next.Routes = slices.Clone(next.Routes)
	next.Routes[0].MTU = 0
	if _, err := s.Reload(&next); err != nil {
		t.Fatal(err)
	}
	has(1500, false)
}

// Routes of a routes file forward like those of the configuration, beside them; a reload
// reads the file again, and takes all of it or nothing.
func TestRoutesFile(t *testing.T) {
	dir := t.TempDir()
	file, source := filepath.Join(dir, "routes.txt"), filepath.Join(dir, "ffwd.toml")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	doc := strings.Replace(twoPorts, "max_next_hops", "routes_file = \""+file+"\"\nmax_next_hops", 1)
	write(file, "198.51.100.0/24 via 10.2.2.2\nblackhole 203.0.113.0/24 vrf 3\n")
	s := startTest(t, doc)
	write(source, string(s.Config().TOML())) // with the sockets of the test
	s.SetSource(source)
	has := func(table int, prefix string, want fib.Kind) {
		t.Helper()
		info, _ := s.tables[table].Route(netip.MustParsePrefix(prefix).Addr())
		if info.Prefix.String() != prefix || info.Kind != want {
			t.Errorf("%s: %+v, want %v", prefix, info, want)
		}
	}
	has(0, "198.51.100.0/24", fib.Forward)
	has(1, "203.0.113.0/24", fib.Blackhole)
	has(0, "0.0.0.0/0", fib.Forward)

	write(file, "198.51.100.0/24 via 10.2.2.2\nblackhole 198.51.100.128/25\n")
	if _, err := s.ReloadSource(); err != nil {
		t.Fatal(err)
	}
	has(0, "198.51.100.0/24", fib.Forward)
	has(0, "198.51.100.128/25", fib.Blackhole)
	if _, there := s.tables[1].Route(netip.MustParseAddr("203.0.113.1")); there {
		t.Error("a route that the file has no more is there")
	}

	write(file, "blackhole 198.51.100.0/24\n198.51.100.128/25 via\n")
	if _, err := s.ReloadSource(); err == nil || !strings.Contains(err.Error(), file+":2: via has no value") {
		t.Errorf("a faulty file: %v", err)
	}
	has(0, "198.51.100.0/24", fib.Forward)
	write(file, "blackhole 198.51.100.0/24\n")
	if status, answer := ask(t, s, "POST", "/v1/reload", string(s.Config().TOML())); status != 200 || !strings.Contains(answer, `with 1 routes`) {
		t.Errorf("what the switch prints: %d %s", status, answer)
	}
	has(0, "198.51.100.0/24", fib.Blackhole)
	if status, answer := ask(t, s, "POST", "/v1/reload", strings.Replace(doc, file, "/etc/passwd", 1)); status != 422 || !strings.Contains(answer, "is not the file that the switch reads already") {
		t.Errorf("another file: %d %s", status, answer)
	}
}

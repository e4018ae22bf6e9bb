package control

import (
	"slices"
	"strings"
	"testing"
)

// A route of the configuration has its own MTU in the table and in the listing, until
// a reload takes it away. FF-9
func TestMTUOfAConfiguredRoute(t *testing.T) {
	s := startTest(t, strings.Replace(twoPorts, "via = \"10.2.2.2\"\n", "via = \"10.2.2.2\"\nmtu = 1300\n", 1))
	has := func(want uint32, listed bool) {
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

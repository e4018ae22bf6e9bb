package control

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"ffwd/conf"
	"ffwd/fib"
)

// chooses is a rule that sends what comes in by lan another way.
func chooses(via string) conf.Rule {
	return conf.Rule{Hook: conf.HookIn, Action: conf.ActionContinue, InPorts: []string{"lan"}, Via: netip.MustParseAddr(via)}
}

// chosenVia is the gateway that a rule of the running switch chooses.
func chosenVia(s *Switch, rule int) netip.Addr {
	return s.tables[0].Resolve(fib.NextHopID(s.snapshot.Load().Rules.Effect(rule).NextHop)).Gateway()
}

// room is how many next hops the first table has room for.
func room(t *testing.T, s *Switch) (n int) {
	t.Helper()
	table := s.tables[0]
	s.settle()
	defer s.settle()
	var held []fib.NextHopID
	for {
		via := netip.AddrFrom16([16]byte{0: 0xfd, 1: 1, 3: 1, 8: 1, 14: byte(n >> 8), 15: byte(n)})
		id, err := table.Hold(fib.Route{Prefix: netip.MustParsePrefix("::/0"), Hops: []fib.Hop{{Via: via}}})
		if errors.Is(err, fib.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, id)
		n++
	}
	for _, id := range held {
		table.Release(id)
	}
	return n
}

// settle returns when workers have passed all that was released.
func (s *Switch) settle() {
	for waiting := 1; waiting > 0; _, waiting = s.epoch.Reclaim() {
		runtime.Gosched()
	}
}

// FF-6: next hops of rules come and go with reloads, which hold what rules name and no
// more, whether they succeed or fail.
func TestReloadNextHopsOfRules(t *testing.T) {
	s := startTest(t, strings.Replace(twoPorts, "max_next_hops = 4096", "max_next_hops = 1024", 1)+`
[[rules]]
action = "continue"
in_ports = ["lan"]
via = "10.2.2.3"
`)
	if got := chosenVia(s, 0); got.String() != "10.2.2.3" {
		t.Fatalf("started with %v", got)
	}
	before := room(t, s)
	for i := range 40 {
		next := *s.Config()
		want := fmt.Sprintf("10.2.2.%d", 4+i)
		next.Rules = []conf.Rule{chooses(want)}
		if i%2 == 0 { // it fails behind the rules
			next.Routes = append(next.Routes[:1:1], conf.Route{Prefix: netip.MustParsePrefix("10.9.0.0/16"), Type: conf.RouteBlackhole, VRF: 9})
			if _, err := s.Reload(&next); err == nil {
				t.Fatal("a route of an unknown VRF was taken")
			}
			continue
		}
		if _, err := s.Reload(&next); err != nil {
			t.Fatalf("reload %d: %v", i, err)
		}
		if got := chosenVia(s, 0); got.String() != want {
			t.Fatalf("reload %d: %v, want %v", i, got, want)
		}
	}
	if after := room(t, s); after != before {
		t.Errorf("room for %d next hops before, for %d after", before, after)
	}
	next := *s.Config()
	next.Rules = nil
	if _, err := s.Reload(&next); err != nil || len(s.ruleHops) != 0 {
		t.Errorf("%v, %d next hops are held for no rule", err, len(s.ruleHops))
	}
}

// FF-6: what cannot be chosen is refused with the rule's place.
func TestNextHopsOfRulesThatDoNotFit(t *testing.T) {
	s := startTest(t, twoPorts)
	next := *s.Config()
	hops := make([]conf.Hop, 3)
	for i := range hops {
		hops[i] = conf.Hop{Via: netip.MustParseAddr(fmt.Sprintf("10.2.2.%d", 10+i)), Weight: 1}
	}
	next.Rules = []conf.Rule{chooses("10.2.2.9"), {Hook: conf.HookIn, Action: conf.ActionAccept, InPorts: []string{"lan.7"}, Hops: hops}}
	if _, err := s.Reload(&next); err == nil || !strings.Contains(err.Error(), "rules[1].hops[0].via: 10.2.2.10 is on no subnet of VRF 3") {
		t.Errorf("got %v", err)
	}
}

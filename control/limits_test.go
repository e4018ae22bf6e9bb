package control

import (
	"fmt"
	"testing"
	"time"

	"ffwd/conf"
	"ffwd/ct"
)

func limitRule(source string, most int) conf.Rule {
	return conf.Rule{Hook: conf.HookIn, Action: conf.ActionDrop, InPorts: []string{source}, ConnMax: most}
}

// CT-7: a rule keeps the connections that count for its limit through reloads, whatever
// else changes; rules that match the same have limits of their own; the number of a
// limit that is gone is another's only when nothing counts for it.
func TestLimitsKeepTheirNumbers(t *testing.T) {
	s := &Switch{}
	plan := func(rules ...conf.Rule) *limitPlan {
		t.Helper()
		p, err := s.planLimits(&conf.Config{Rules: rules})
		if err != nil {
			t.Fatal(err)
		}
		s.limits = p.numbers
		return p
	}
	a, b, c := limitRule("a", 10), limitRule("b", 20), limitRule("c", 30)
	first := plan(a, conf.Rule{}, b, b)
	if got := first.byRule; got[0] == 0 || got[1] != 0 || got[2] == got[0] || got[3] == got[2] || got[3] == 0 {
		t.Fatalf("numbers %v", got)
	}
	a.ConnMax, a.Action, a.Comment = 11, conf.ActionReject, "busy"
	next := plan(c, b, a)
	if next.byRule[1] != first.byRule[2] || next.byRule[2] != first.byRule[0] || next.limits[first.byRule[0]].Max != 11 {
		t.Errorf("numbers %v, then %v", first.byRule, next.byRule)
	}
	if free := next.byRule[0]; free == first.byRule[3] {
		t.Error("a number that the rules had until now is given away: their packets are still on the way")
	}
	if last := plan(a, limitRule("d", 1)); last.byRule[1] != first.byRule[3] {
		t.Errorf("number %d is not used again: %v", first.byRule[3], last.byRule)
	}
}

// CT-7: the number of a limit that no rule has any more is not another's while connections
// count for it.
func TestLimitKeepsItsNumberWhileItCounts(t *testing.T) {
	const of = "[[rules]]\naction = \"drop\"\nprotocol = \"udp\"\nconn_max = 1000\n"
	s := startTest(t, traffic(t, of, ""))
	await(t, "flows that count for the limit", func() string {
		if n := s.tallies.Flows(1); n != trafficFlows {
			return fmt.Sprint(n)
		}
		return ""
	})
	next := *s.Config()
	next.Rules = next.Rules[1:]
	if _, err := s.Reload(&next); err != nil {
		t.Fatal(err)
	}
	other := *s.Config()
	other.Rules = append([]conf.Rule{limitRule("in", 5)}, next.Rules...)
	if _, err := s.Reload(&other); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, number := range s.limits {
		if number == 1 {
			t.Error("the connections of one limit count for another")
		}
	}
}

// CT-7: numbers run out with an error that says why, and nothing changes.
func TestTooManyLimits(t *testing.T) {
	s := &Switch{}
	var rules []conf.Rule
	for i := range ct.MaxLimits {
		rules = append(rules, limitRule("a", i+1))
	}
	if _, err := s.planLimits(&conf.Config{Rules: rules}); err == nil {
		t.Error("256 limits have numbers")
	}
	if _, err := s.planLimits(&conf.Config{Rules: rules[1:]}); err != nil {
		t.Error(err)
	}
}

// CT-7: how soon a table is full follows what comes and goes.
func TestSecondsUntilFull(t *testing.T) {
	var f filling
	size, start := [2]float64{1000, 200}, time.Unix(0, 0)
	used := func(v4, v6 float64) [][2]float64 { return [][2]float64{{0, 0}, {v4, v6}} }
	until := func(v4, v6 float64) float64 {
		if s := f.until(used(v4, v6), size, 100); s != nil {
			return *s
		}
		return -1
	}
	if got := until(10, 0); got != -1 {
		t.Errorf("nothing seen: %v", got)
	}
	for second := range 100 {
		f.observe(start.Add(time.Duration(second)*time.Second), used(float64(5*second), 0))
	}
	if got := until(500, 0); got < 79 || got > 81 {
		t.Errorf("400 flows' room at 5 a second is full in %v s", got)
	}
	if got := until(900, 0); got != 0 {
		t.Errorf("a table full but for the reserve: %v", got)
	}
	for second := range 200 {
		f.observe(start.Add(time.Duration(100+second)*time.Second), used(500, 0))
	}
	if got := until(500, 0); got != -1 {
		t.Errorf("a table that does not grow is full in %v s", got)
	}
	if got := until(900, 0); got != 0 {
		t.Errorf("a table that is full and does not grow: %v", got)
	}
}

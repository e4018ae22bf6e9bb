package bench

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// CT-9
func TestDumpFigures(t *testing.T) {
	var a, b dumpReport
	for text, r := range map[string]*dumpReport{
		`{"duration_s": 2, "ports": [{"name": "in"}, {"name": "out", "tx_packets": 100}],
			"workers": [{"poll_gaps": [{"below_s": 1e-6, "polls": 10}, {"polls": 1}]}]}`: &a,
		`{"duration_s": 4, "ports": [{"name": "in"}, {"name": "out", "tx_packets": 6000100}],
			"workers": [{"poll_gaps": [{"below_s": 1e-6, "polls": 30}, {"polls": 2}]}]}`: &b,
	} {
		if err := json.Unmarshal([]byte(text), r); err != nil {
			t.Fatal(err)
		}
	}
	mpps, gaps := b.since(&a)
	if mpps != 3 || len(gaps) != 2 || gaps[0].Polls != 20 || gaps[1].Polls != 1 || polls(gaps) != 21 {
		t.Errorf("%v Mpps, gaps %v", mpps, gaps)
	}
	if b.Workers[0].Gaps[0].Polls != 30 {
		t.Error("a report was changed")
	}
	var out bytes.Buffer
	rows := []Result{{Scenario: dump, Flows: 7, Dump: &Dump{GapsBefore: a.Workers[0].Gaps, GapsDuring: gaps}}}
	if err := WriteTable(&out, rows); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"polls, 7 flows\n", "1 us", "952381.0", "-"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// They are long, and a part of no other run.
func TestResidentFlowsAreAskedForByName(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want int
	}{
		{Options{}, 0},
		{Options{Scenarios: []string{stateful}}, 0},
		{Options{Scenarios: []string{dump}}, len(dumpSizes)},
		{Options{Scenarios: []string{dump}, Flows: []int{1_000_000, 5}}, 1},
		{Options{Scenarios: []string{dump, expiry}}, len(dumpSizes) + len(expirySizes)},
		{Options{Scenarios: []string{expiry}, Flows: []int{10_000_000}}, 1},
		{Options{Scenarios: []string{expiry, dump}, Flows: []int{largestResident}}, 2},
	} {
		if got := residentsOf(&c.o); len(got) != c.want {
			t.Errorf("%+v: %v", c.o, got)
		}
	}
	f := newFakeRunner(steady)
	rows, err := fakeRun(t, t.Context(), Options{Scenarios: []string{dump}, Repetitions: 2}, f)
	if err != nil || len(rows) != len(dumpSizes) || rows[0].Scenario != dump || f.count["ct-dump 1000000"] != 2 {
		t.Errorf("%v, %+v, %v", err, rows, f.log)
	}
}

// CT-9
func TestExpiryFigures(t *testing.T) {
	worst := &Expiry{CreatedPerS: 2.5e6, ExpiredPerS: 0.9e6, Beside: 77, TableBytes: 1_280_000_000}
	row := summarize(Result{Scenario: expiry, Flows: 10_000_000, Workers: 1}, []sample{{mpps: 3, expiry: &Expiry{}}, {mpps: 2, expiry: worst}, {mpps: 4, expiry: &Expiry{}}})
	if row.Expiry != worst {
		t.Errorf("%+v is not the worst repetition", row.Expiry)
	}
	const want = "0.90 M flows/s expired (bar 1 MISSED) of 2.50 M new, 77 there beside the 10000000, 107 bytes of table per flow"
	if got := notes(&row); len(got) != 1 || got[0] != want {
		t.Errorf("%q, want %q", got, want)
	}
}

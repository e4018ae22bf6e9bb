package bench

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

// Source: VQ-1, VQ-7
func TestVerdictFigures(t *testing.T) {
	var r report
	doc := `{"duration_s": 2, "ports": [{"name": "in", "rx_packets": 1000}, {"name": "out", "tx_packets": 590}],
		"queues": [{"offered": 500, "verdicts": 100, "outcomes": {"confirmed": 60, "joined": 40, "refused": 400}}]}`
	if err := json.Unmarshal([]byte(doc), &r); err != nil {
		t.Fatal(err)
	}
	v, err := r.verdicts()
	if err != nil || v.PerS != 50 || math.Abs(v.UnqueuedLoss-0.02) > 1e-9 { // 490 of 500 left
		t.Errorf("%+v, %v", v, err)
	}
	r.Queues[0].Verdicts = 0
	if _, err := r.verdicts(); err == nil || !strings.Contains(err.Error(), "0 verdicts") {
		t.Error(err)
	}
}

// Source: VQ-1
func TestQueueConfiguration(t *testing.T) {
	for share, want := range map[int]string{
		0: "", 32: `src = ["64.0.0.0/5"]`, 1: `src = ["64.0.0.0/10"]`, 13: `src = ["64.0.0.0/7", "66.0.0.0/8", "67.0.0.0/10"]`,
	} {
		var text strings.Builder
		s := &setup{load: load{flows: 10, workers: 1}, files: []string{"x"}, cores: []int{0}}
		printConfig(&text, variant{scenario: verdictQueue, routes: 1, queuedShare: share, queueSocket: "/q"}, s)
		for _, line := range []string{want, `queue_socket = "/q"`, "[[queues]]"} {
			if strings.Contains(text.String(), line) != (share > 0 || line == "") {
				t.Errorf("share %d: %s in\n%s", share, line, text.String())
			}
		}
	}
}

// The networks of a share are disjoint, and together so many parts. Source: VQ-7
func TestShares(t *testing.T) {
	for share := range allShares {
		parts := 0
		list := shareOf(clientNet, share)
		for i, net := range list {
			parts += allShares >> (net.Bits() - clientNet.Bits())
			if net != net.Masked() || !clientNet.Contains(net.Addr()) {
				t.Errorf("share %d: %v", share, net)
			}
			for _, other := range list[:i] {
				if net.Overlaps(other) {
					t.Errorf("share %d: %v and %v", share, net, other)
				}
			}
		}
		if parts != share {
			t.Errorf("share %d: %v are %d parts", share, list, parts)
		}
	}
}

// The search for half the load comes near it, for workers to whom a queued packet is little
// or much more work than another. Source: VQ-7
func TestHalfLoadIsFound(t *testing.T) {
	for _, queuedNs := range []float64{50, 250, 1000} {
		rate := func(share int) float64 { return 1e9 / (100 + queuedNs*float64(share)/allShares) }
		share, off := saturating, math.Inf(1)
		want := rate(share) * saturating / allShares / 2
		for range halfRuns {
			share = nextShare(share, rate(share), want)
			off = min(off, math.Abs(rate(share)*float64(share)/allShares/want-1))
		}
		if off > 0.2 { // a share of 1 in 64 more or less may be that
			t.Errorf("%v ns: %.0f%% beside half the load", queuedNs, off*100)
		}
	}
}

// Medians, but the worst loss. Source: VQ-7
func TestVerdictsOfRepetitions(t *testing.T) {
	var list []sample
	for _, n := range []float64{3, 1, 2} {
		list = append(list, sample{verdicts: &Verdicts{PerS: n, UnqueuedLoss: n, HalfPerS: 2 * n, HalfP50: 3 * n, HalfP99: 4 * n}})
	}
	if v := ofRepetitions(list); *v != (Verdicts{2, 3, 4, 6, 8}) {
		t.Errorf("%+v", *v)
	}
	if v := ofRepetitions([]sample{{}}); v != nil {
		t.Errorf("%+v", *v)
	}
}

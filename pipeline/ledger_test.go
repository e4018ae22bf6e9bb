package pipeline

import (
	"testing"

	"ffwd/policy"
)

// What one step of adding up a full ledger costs the worker between two polls.
func BenchmarkAddRuleHits(b *testing.B) {
	l := newLedger()
	l.follow(1, policy.MaxRules)
	for i := range uint32(maxDecisions - 1) {
		d := decided{ingress: 1, markBefore: i, passed: maxPassed}
		for j := range d.slots {
			d.slots[j] = (i*maxPassed + uint32(j)) * 7919 % policy.MaxRules
		}
		l.enter(&d)
	}
	hits := make([]RuleHits, policy.MaxRules+2)
	steps := 0
	for b.Loop() {
		for from := 0; l.add(1, hits, from); from += hitStep {
			steps++
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(steps), "ns/step")
}

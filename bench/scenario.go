package bench

import (
	"slices"
	"time"
)

// Names of scenarios.
const (
	ioFloor          = "io-floor"
	macswap          = "macswap"
	stateful         = "stateful"
	stateless        = "stateless"
	newFlows         = "new-flows"
	statefulTwoCores = "stateful-2-workers"
)

// Scenarios lists the names that Options.Scenarios takes. The floor and macswap are
// measured with every load.
func Scenarios() []string { return []string{stateful, stateless, newFlows, statefulTwoCores} }

// load is what is offered: one capture per worker.
type load struct {
	flows   int
	replies bool // both directions: flows become established
	workers int
}

// packets in all captures of the load: one of each flow and direction. The ring of
// net_pcap holds them all, each in an mbuf.
func (l load) packets() int {
	if l.replies {
		return 2 * l.flows
	}
	return l.flows
}

// variant is one configuration of ffwd.
type variant struct {
	scenario  string
	routes    int
	stateless bool
	maxFlows  int           // of the flow table
	unreplied time.Duration // timeout of UDP flows without an answer; 0: the default
	barNs     float64       // 0: no bar
}

// group is a load and everything that is measured with it, back to back.
type group struct {
	load
	variants []variant
}

// Bars in ns above the floor for the whole stateful pipeline, and others.
const (
	barNs1k           = 18
	barNs60k          = 30
	barNs1M           = 45
	barNewFlowsPerS   = 4e6
	barScalingTwo     = 1.8
	barBytesPerFlow   = 128
	manyRoutes        = 100_000
	statefulMaxFlows  = 1 << 20 // the default of a configuration
	distinctNewFlows  = 2_000_000
	newFlowsMaxFlows  = 1 << 21
	newFlowsUnreplied = 10 * time.Millisecond
)

// catalogue is everything there is to measure.
//
// New flows: each packet of a capture of two million distinct tuples makes a flow,
// because the flow that it made the last time has expired: it idles 10 ms, and the
// timing wheel finds it one slot of 0.13 s later, while the capture takes 0.2 s at
// ten million packets per second. Expiry runs as fast as creation.
func catalogue() []group {
	full := func(barNs float64) []variant {
		return []variant{
			{scenario: stateful, routes: 1, maxFlows: statefulMaxFlows, barNs: barNs},
			{scenario: stateful, routes: manyRoutes, maxFlows: statefulMaxFlows, barNs: barNs},
		}
	}
	return []group{
		{load{1_000, true, 1}, append(full(barNs1k), variant{scenario: stateless, routes: 1, stateless: true, maxFlows: statefulMaxFlows})},
		{load{60_000, true, 1}, full(barNs60k)},
		{load{1_000_000, true, 1}, full(barNs1M)},
		{load{distinctNewFlows, false, 1}, []variant{
			{scenario: newFlows, routes: 1, maxFlows: newFlowsMaxFlows, unreplied: newFlowsUnreplied},
		}},
		{load{60_000, true, 2}, []variant{{scenario: statefulTwoCores, routes: 1, maxFlows: statefulMaxFlows, barNs: barNs60k}}},
	}
}

// selectGroups returns the part of the catalogue that was asked for and that so many
// cores can run. With two workers comes what they are compared with: one.
func selectGroups(all []group, scenarios []string, flows []int, cores int) []group {
	twin := len(scenarios) > 0 && slices.Contains(scenarios, statefulTwoCores)
	wanted := func(g group, v variant) bool {
		if len(flows) > 0 && !slices.Contains(flows, g.flows) || g.workers > cores {
			return false
		}
		return len(scenarios) == 0 || slices.Contains(scenarios, v.scenario) ||
			twin && v.scenario == stateful && v.routes == 1 && g.flows == 60_000
	}
	var out []group
	for _, g := range all {
		var kept []variant
		for _, v := range g.variants {
			if wanted(g, v) {
				kept = append(kept, v)
			}
		}
		if len(kept) > 0 {
			out = append(out, group{g.load, kept})
		}
	}
	return out
}

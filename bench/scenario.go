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
	statefulTCP      = "stateful-tcp"
	statefulNAT      = "stateful-nat"
	stateless        = "stateless"
	statelessIPv6    = "stateless-ipv6"
	fragmentation    = "fragment"
	newFlows         = "new-flows"
	statefulTwoCores = "stateful-2-workers"
	verdictQueue     = "verdict-queue"
)

// Scenarios lists the names that Options.Scenarios takes. The floor and macswap are
// measured with every load, tables only with peers.
func Scenarios() []string {
	return []string{stateful, statefulTCP, statefulNAT, stateless, statelessIPv6, fragmentation, newFlows, statefulTwoCores, dump, expiry, verdictQueue, tableLookup, tableInsert}
}

// load is what is offered: one capture per worker.
type load struct {
	flows        int
	replies      bool // both directions: flows become established
	workers      int
	ipv6, tcp    bool
	hidden       bool // a rule hides the sources behind the sink's address
	destinations int  // of the flows; 0: 65,536, or one for each of fewer flows
	frameBytes   int  // 0: the smallest
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
	maxFlows  int           // of the flow table; 0: the default
	unreplied time.Duration // timeout of UDP flows without an answer; 0: the default
	brief     time.Duration // timeout of TCP flows that were picked up; 0: the default
	egressMTU int           // 0: as large as the frames
	barNs     float64       // 0: no bar
	peers     []peer        // that do the same work

	queuedShare int    // of allShares: what a rule queues of the flows; 0: none
	queueSocket string // for its listener

	fill          string // capture that is read once, beside the load
	controlSocket string
}

// group is a load and everything that is measured with it, back to back.
type group struct {
	load
	variants []variant
}

// Bars in ns above the floor, for the whole pipeline with and without flows, and
// others.
const (
	barNs1k           = 18
	barNs60k          = 30
	barNs1M           = 45
	barNsOneRoute     = 8
	barNs64kAddresses = 14
	barNs1MAddresses  = 20
	barNsIPv6OneRoute = 12
	barNsIPv6         = 30
	barNewFlowsPerS   = 4e6
	barScalingTwo     = 1.8
	barBytesPerFlow   = 128
	barVerdictsPerS   = 1.5e6
	barUnqueuedLoss   = 0.05
	barExpiredPerS    = 1e6
)

// Sizes of loads and tables.
const (
	manyRoutes        = 100_000
	fullRoutes        = 1_000_000
	fullRoutesIPv6    = 300_000
	manyAddresses     = 64 << 10
	statefulMaxFlows  = 1 << 20 // the default of a configuration
	distinctNewFlows  = 2_000_000
	newFlowsMaxFlows  = 1 << 21
	newFlowsUnreplied = 10 * time.Millisecond
	wideFrameBytes    = 1514 // 1500 bytes of IPv4
	narrowMTUBytes    = 576  // of the way out, so that three fragments leave
)

// catalogue is everything there is to measure but tables.
//
// New flows: each packet of a capture of two million distinct tuples makes a flow,
// because the flow that it made the last time has expired: it idles 10 ms, and the
// timing wheel finds it one slot of 0.13 s later, while the capture takes 0.2 s at
// ten million packets per second. Expiry runs as fast as creation.
//
// Where destinations count, the capture has as many packets, each to an address of
// its own.
func catalogue() []group {
	full := func(flows int, barNs float64, more ...variant) group {
		exact := statefulPeers(flows)
		return group{load{flows: flows, replies: true, workers: 1}, append([]variant{
			{scenario: stateful, routes: 1, barNs: barNs, peers: exact},
			{scenario: stateful, routes: manyRoutes, barNs: barNs, peers: exact},
		}, more...)}
	}
	tcp := func(flows int, barNs float64) group {
		return group{load{flows: flows, replies: true, workers: 1, tcp: true}, []variant{
			{scenario: statefulTCP, routes: 1, barNs: barNs, peers: statefulPeers(flows)},
		}}
	}
	nat := func(flows int) group {
		return group{load{flows: flows, replies: true, workers: 1, hidden: true}, []variant{{scenario: statefulNAT, routes: 1}}}
	}
	plain := func(scenario string, routes int, barNs float64) variant {
		return variant{scenario: scenario, routes: routes, stateless: true, barNs: barNs, peers: []peer{{l3fwdFIB, routes}}}
	}
	return []group{
		full(1_000, barNs1k, plain(stateless, 1, barNsOneRoute)),
		full(60_000, barNs60k),
		full(1_000_000, barNs1M),
		tcp(1_000, barNs1k),
		tcp(60_000, barNs60k),
		tcp(1_000_000, barNs1M),
		nat(1_000), nat(60_000), nat(1_000_000),
		{load{flows: manyAddresses, workers: 1}, []variant{plain(stateless, fullRoutes, barNs64kAddresses)}},
		{load{flows: 1_000_000, destinations: 1_000_000, workers: 1}, []variant{plain(stateless, fullRoutes, barNs1MAddresses)}},
		{load{flows: 1_000, workers: 1, ipv6: true}, []variant{plain(statelessIPv6, 1, barNsIPv6OneRoute)}},
		{load{flows: manyAddresses, workers: 1, ipv6: true}, []variant{plain(statelessIPv6, fullRoutesIPv6, barNsIPv6)}},
		{load{flows: 1_000, workers: 1, frameBytes: wideFrameBytes}, []variant{
			{scenario: fragmentation, routes: 1, stateless: true, egressMTU: narrowMTUBytes, peers: []peer{{name: ipFragmentation}}},
		}},
		{load{flows: distinctNewFlows, workers: 1}, []variant{
			{scenario: newFlows, routes: 1, maxFlows: newFlowsMaxFlows, unreplied: newFlowsUnreplied},
		}},
		{load{flows: 1_000, workers: 1}, []variant{{scenario: verdictQueue, routes: 1}}},
		{load{flows: 60_000, replies: true, workers: 2}, []variant{{scenario: statefulTwoCores, routes: 1, barNs: barNs60k}}},
	}
}

func statefulPeers(flows int) []peer {
	list := []peer{{name: l3fwdEM}}
	if 2*flows <= ovsMaxPackets {
		list = append(list, peer{name: ovsCt})
	}
	return list
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

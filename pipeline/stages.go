package pipeline

import (
	"ffwd/ct"
	"ffwd/fib"
	"ffwd/packet"
)

// Stage is one step of the packet's way.
type Stage interface {
	// Process marks the packets of the burst that have not met their end yet,
	// those whose verdict is packet.Continue.
	Process(b *packet.Burst)
}

// context is what the stages of one worker share. snap is renewed at each poll.
type context struct {
	snap       *Snapshot
	table      *ct.Table // nil: stateless
	secret     *ct.Secret
	counters   *Counters
	ledger     *ledger
	counts     []*fib.Counts  // of next hops, by VRF
	port       uint16         // physical port the burst came from
	lateTuples bool           // only a choice among next hops needs keys: Route makes them then
	short      bool           // plain packets may take the short way behind Route, see shortcut.go
	redirects  int            // packets of the burst whose senders may learn a shorter way
	received   []*packet.Mbuf // what the receive queue gave and Express left, for Parse
	fromQueue  bool           // they are the burst's packets, in this order

	queues VerdictQueues                     // nil: there are none
	queued *[packet.MaxBurst]packet.Queueing // of the burst's packets with verdict Queue
	resume []resumption                      // of a burst that comes back from queues, or has been held; else nil
	copier copier                            // for rules that tee to a port
	holder *holder                           // nil: nobody resolves neighbours

	reassembly *Reassembly // nil: stateless
}

// Stages in the order of the packet's way; their numbers index Counters.Stages.
const (
	stageExpress = iota
	stageParse
	stageReversePath
	stageVerify
	stageTuple
	stageReassembly
	stageSteer
	stageConntrack
	stagePolicyIn
	stageDestination
	stageDepart
	stageRoute
	stagePolicyOut
	stageDivert
	stageNeighbour
	stageTTL
	stageMTU
	stageRedirect
	stageRewrite
	stageConfirm
	stageSource
	stageOutput // the worker's own part
	numStages
)

// StageNames are the stages' names in metrics and listings.
var StageNames = [numStages]string{
	"express", "parse", "reverse_path", "verify", "tuple", "reassembly", "steer", "conntrack", "policy_in", "destination", "depart",
	"route", "policy_out", "divert", "neighbour", "ttl", "mtu", "redirect", "rewrite", "confirm", "source", "output",
}

// stages returns the one order. Those that a worker does not need are left nil.
func stages(c *context, s *Steer, l *lane) [stageOutput]Stage {
	list := [stageOutput]Stage{
		stageExpress:     &Express{lane: l, steer: s},
		stageParse:       &Parse{c},
		stageReversePath: &ReversePath{context: c},
		stageVerify:      &Verify{c},
		stageTuple:       &Tuple{c},
		stageReassembly:  c.reassembly,
		stageSteer:       s,
		stageConntrack:   &Conntrack{c},
		stagePolicyIn:    newPolicy(c, ct.HookIn),
		stageDestination: &Destination{c},
		stageDepart:      &Depart{l},
		stageRoute:       &Route{context: c},
		stagePolicyOut:   newPolicy(c, ct.HookOut),
		stageDivert:      &Divert{},
		stageNeighbour:   &Neighbour{c},
		stageTTL:         &TTL{c},
		stageMTU:         &MTU{},
		stageRedirect:    &Redirect{c},
		stageRewrite:     &Rewrite{},
		stageConfirm:     &Confirm{c},
		stageSource:      &Source{c},
	}
	if s == nil {
		list[stageSteer] = nil // a nil *Steer is not a nil Stage
	}
	if c.table == nil {
		list[stageVerify], list[stageReassembly], list[stageConntrack], list[stageConfirm] = nil, nil, nil, nil
		list[stageDestination], list[stageSource] = nil, nil
		if c.lateTuples = s == nil && c.queues == nil; c.lateTuples {
			list[stageTuple] = nil
		}
	}
	return list
}

package pipeline

import (
	"ffwd/ct"
	"ffwd/packet"
	"ffwd/policy"
)

// Express takes plain frames from the receive queue to the device: without conntrack where
// no rule is asked, with it those of known flows for which the rules have decided already
// that they pass. What it leaves goes through all stages, as if it had not been there: flows
// whose addresses are translated among it, for ct.Table.Join never takes them.
//
// A frame that it leaves goes behind those that it takes, but never behind one of its own
// flow: what follows it between the same two hosts is left, too. The families are taken one
// after the other.
//
// Needs:  the mbufs received.
// Writes: the frames and mbufs it takes, see lane; their flows' counters, states and
//
//	deadlines; of the burst, that it is the others.
//
// Source: FF-1, FF-2, FF-6, FF-14, CT-1, CT-2.
type Express struct {
	*lane
	steer *Steer // nil: there is one worker

	hooks     [2]bool // those that have rules, by ct.Hook
	plain     int     // frames of the run
	protocols uint8   // bits of their protocols
	marked    bool    // some of them must not go: their Verdict is not Continue
	breaks    int     // in the burst, see maxBreaks
	idle      int     // bursts to let go by

	gaps [packet.MaxBurst]gap // what is not of the run, in its order; those before gap have been left
	gap  int
	last int                           // end of gaps
	said [2][packet.MaxBurst]uint16    // what the rules of each hook have decided
	late [packet.MaxBurst]*packet.Mbuf // what the stages get
	left int                           // how many
	rest [packet.MaxBurst]*packet.Mbuf // scratch of part
}

// maxBreaks is how often Express goes on behind frames of a burst that it leaves. Each time
// costs what some two packets gain (BenchmarkPipeline, stateful-mixed).
const maxBreaks = 12

// After a burst of at least fullBurst packets of which it took less than an eighth, Express
// lets some go by without a look: a flood of new flows or of fragments does not pay for the
// short way. SampleEvery is no multiple of one more than idleBursts, so both are sampled.
const (
	fullBurst  = 32
	idleBursts = 6
)

// Process takes what it can of a burst.
func (s *Express) Process(b *packet.Burst) {
	s.hooks = [...]bool{ct.HookIn: !s.snap.Rules.Empty(policy.HookIn), ct.HookOut: !s.snap.Rules.Empty(policy.HookOut)}
	if !s.snap.direct() || s.snap.reversePath || s.judged() && s.table == nil || s.table != nil && s.snap.Tracking.Checksum ||
		s.steer != nil && s.steer.ports[s.port] {
		return
	}
	if s.idle > 0 {
		s.idle--
		return
	}
	s.left, s.breaks = 0, 0
	mbufs := s.received[:b.N]
	ipv6 := etherType(mbufs[0]) == packet.EtherIPv6
	others := s.gather(mbufs, ipv6, true)
	s.pass(mbufs, b.NowNs)
	if len(others) > 0 {
		s.gather(others, !ipv6, false)
		s.pass(others, b.NowNs)
	}
	if b.N >= fullBurst && s.left > b.N-b.N/8 {
		s.idle = idleBursts
	}
	if b.N = s.left; b.N > 0 {
		s.received = s.late[:]
	}
}

// pass sends off what it can of the run, which is in front of mbufs, and leaves the rest of it
// and the gaps.
func (s *Express) pass(mbufs []*packet.Mbuf, nowNs int64) {
	ingress, heads := s.snap.Ports[s.port].Untagged, s.run.Heads[:s.plain]
	if s.plain > 0 {
		if s.table != nil {
			if !s.ipv6 {
				s.snap.Tables[0].Expect4(s.run.Dst4[:s.plain])
			}
			s.table.SeekPlain(&s.run, s.plain, s.ipv6, s.snap.Zones[ingress], s.protocols)
		}
		s.n = s.plain
		s.way()
	}
	for s.at = 0; s.at < s.plain; s.leave(mbufs) {
		s.n = s.plain
		if s.marked {
			s.n = s.at
			for s.n < s.plain && heads[s.n].Verdict == packet.Continue {
				s.n++
			}
		}
		if s.n == s.at {
			continue
		}
		if s.check(); s.judged() {
			s.allowed(ingress)
		}
		if s.table != nil {
			s.n = s.at + s.table.Join(&s.run, s.at, s.n, nowNs, s.snap.Timeouts)
		}
		if s.judged() {
			s.credit()
		}
		s.depart(mbufs[s.at:s.n])
	}
	s.leaveGaps(s.plain)
}

// leave leaves the packet of the run that cannot go now, s.n, if there is one, and those
// behind it that are likely to want the same. Then s.at is the next.
func (s *Express) leave(mbufs []*packet.Mbuf) {
	if s.at = s.n; s.at == s.plain {
		return
	}
	to, heads := s.at+1, &s.run.Heads
	switch s.breaks++; {
	case s.breaks > maxBreaks:
		to = s.plain
	case heads[s.at].Verdict != packet.Continue:
		for to < s.plain && heads[to].Verdict != packet.Continue {
			to++
		}
	case s.table != nil && !s.table.Found(s.at): // a new flow: others of it are not found either
		for to < s.plain && !s.table.Found(to) {
			to++
		}
	default:
		s.keepBehind(heads[s.at].Data, to)
	}
	for ; s.at < to; s.at++ {
		s.leaveGaps(s.at)
		m := mbufs[s.at]
		s.counter.Ports[s.port].RxBytes -= uint64(m.DataLen) // Parse counts it
		s.late[s.left] = m
		s.left++
	}
}

// leaveGaps leaves the gaps up to the one before the run's at-th packet.
func (s *Express) leaveGaps(at int) {
	for ; s.gap < s.last && s.gaps[s.gap].at <= at; s.gap++ {
		s.late[s.left] = s.gaps[s.gap].mbuf
		s.left++
	}
}

// judged tells whether rules are asked.
func (s *Express) judged() bool { return s.hooks != [2]bool{} }

// allowed ends the run before the first packet that rules have not let pass before, in this
// generation, by these interfaces and with this mark. Nothing is written yet: the packet may
// turn out not to be of the flow that was found.
func (s *Express) allowed(ingress uint16) {
	s.ledger.follow(s.snap.Rules.Generation(), s.snap.Rules.Len())
	if s.hooks[ct.HookIn] {
		s.allowedIn(ingress)
	}
	if s.hooks[ct.HookOut] {
		s.allowedOut(ingress)
	}
}

func (s *Express) allowedIn(ingress uint16) {
	said := s.recall(ct.HookIn)
	latest := uint16(0) // most flows are in one of a few ways alike
	for i, d := range said {
		if d == latest && d != 0 {
			continue
		}
		if !s.ledger.decisions[d&(maxDecisions-1)].passes(ingress, 0, 0) {
			s.n = s.at + i
			return
		}
		latest = d
	}
}

// allowedOut looks at interface and mark, too, which hook in may have given.
func (s *Express) allowedOut(ingress uint16) {
	said, lines := s.recall(ct.HookOut), s.snap.Tables[0].Lines()
	for i, d := range said {
		at, mark := s.at+i, uint32(0)
		if s.hooks[ct.HookIn] {
			mark = s.ledger.decisions[s.said[ct.HookIn][at]&(maxDecisions-1)].markAfter
		}
		if !s.ledger.decisions[d&(maxDecisions-1)].passes(ingress, lines[s.to[at]].Iface, mark) {
			s.n = at
			return
		}
	}
}

// recall reads what the rules of a hook have decided of the flows found for the run.
func (s *Express) recall(hook ct.Hook) []uint16 {
	said := s.said[hook][s.at:s.n]
	s.table.Decisions(s.run.Heads[s.at:s.n], s.at, s.snap.Rules.Generation(), hook, said)
	return said
}

// credit counts the run for the rules that let it pass.
func (s *Express) credit() {
	for hook, asked := range s.hooks {
		if !asked {
			continue
		}
		said := s.said[hook][:s.n]
		for at := s.at; at < s.n; {
			which, from, bytes := said[at], at, uint64(0)
			for ; at < s.n && said[at] == which; at++ { // in a register: the counter would be waited for
				bytes += uint64(s.run.Size[at])
			}
			hits := &s.ledger.decisions[which].hits
			hits.Packets += uint64(at - from)
			hits.Bytes += bytes
		}
	}
}

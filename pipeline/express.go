package pipeline

import (
	"ffwd/ct"
	"ffwd/packet"
	"ffwd/policy"
)

// Express takes plain frames from the receive queue to the device: without conntrack where
// no rule is asked, with it those of known flows for which the rules have decided already
// that they pass. What it does not take goes through all stages, as if it had not been
// there.
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
}

// Process takes the plain frames of one family that lead the burst.
func (s *Express) Process(b *packet.Burst) {
	rules := !s.snap.Rules.Empty(policy.HookIn)
	if !s.snap.open() || s.snap.reversePath || rules && s.table == nil || s.table != nil && s.snap.Tracking.Checksum ||
		s.steer != nil && s.steer.ports[s.port] {
		return
	}
	received, ingress := s.received[:b.N], s.snap.Ports[s.port].Untagged
	mac := packet.MACBytes(s.snap.Interfaces[ingress].MAC)
	plain, bytes, protocols := s.run.Plain4(received, mac)
	if s.ipv6 = plain == 0; s.ipv6 {
		plain, bytes, protocols = s.run.Plain6(received, mac)
	}
	if s.n = plain; plain == 0 {
		return
	}
	if s.table == nil {
		s.way()
	} else {
		heads := packet.HeadsAlone(s.run.Heads[:plain])
		s.table.SeekPlain(s.run.Heads[:plain], s.ipv6, s.snap.Zones[ingress], protocols&packet.ProtoTCP != 0)
		s.way()
		if rules {
			s.allowed(ingress)
		}
		s.n = s.table.Join(heads.First(s.n), b.NowNs, s.snap.Timeouts)
		if rules {
			s.credit()
		}
	}
	s.leave(received)
	for _, m := range received[s.n:plain] { // Parse counts these
		bytes -= uint64(m.DataLen)
	}
	s.counter.Ports[s.port].RxBytes += bytes
	if b.N -= s.n; b.N > 0 {
		copy(received, received[s.n:])
	}
}

// allowed ends the run before the first packet that rules have not let pass before, in this
// generation, from this interface. Nothing is written yet: the packet may turn out not to
// be of the flow that was found.
func (l *lane) allowed(ingress uint16) {
	rules, said := l.snap.Rules, l.said[:l.n]
	l.ledger.follow(rules.Generation(), rules.Len())
	l.table.Decisions(l.run.Heads[:l.n], rules.Generation(), ct.HookIn, said)
	latest := uint16(0) // most flows are in one of a few ways alike
	for i, d := range said {
		if d == latest && d != 0 {
			continue
		}
		if !l.ledger.decisions[d&(maxDecisions-1)].passes(ingress) {
			l.n = i
			return
		}
		latest = d
	}
}

// credit counts the run for the rules that let it pass.
func (l *lane) credit() {
	for at := 0; at < l.n; {
		said, from, bytes := l.said[at], at, uint64(0)
		for ; at < l.n && l.said[at] == said; at++ { // in a register: the counter would be waited for
			bytes += uint64(l.run.Size[at])
		}
		hits := &l.ledger.decisions[said].hits
		hits.Packets += uint64(at - from)
		hits.Bytes += bytes
	}
}

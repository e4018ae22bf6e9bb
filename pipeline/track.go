package pipeline

import "ffwd/packet"

// Tuple computes each packet's flow key and hash, which conntrack, steering and
// the choice among equal next hops share. Where only the latter needs them, Route makes
// them for the bursts that have one.
//
// Needs:  Parse.
// Writes: Key0, Key1, Hash, KeySwapped.
// Source: CT-1, CT-8, FF-16.
type Tuple struct{ *context }

// Process computes the keys of packets that have ports.
func (s *Tuple) Process(b *packet.Burst) { s.secret.Tuples(b, s.snap.Zones) }

// Conntrack joins packets to their flows.
//
// Needs:  Tuple.
// Writes: Flow, State, ReplyDir; the flows' counters, states and deadlines.
// Drops:  nothing; rules decide what becomes of an invalid packet.
// Source: CT-1, CT-2.
type Conntrack struct{ *context }

// Process looks the burst up.
func (s *Conntrack) Process(b *packet.Burst) { s.table.Lookup(b, s.snap.Timeouts) }

// Confirm enters the flows of new packets that leave the switch.
//
// Needs:  the verdict of every stage before it.
// Writes: Flow.
// Drops:  ct_table_full, ct_source_limit, ct_rule_limit; nat_no_port, nat_no_address, nat_no_flow.
// Source: CT-2, CT-6, CT-7.
type Confirm struct{ *context }

// Process confirms the burst's new flows.
func (s *Confirm) Process(b *packet.Burst) {
	for i := range b.Live() {
		p := &b.Pkts[i]
		if p.Flow != 0 || p.State != packet.CtNew {
			continue
		}
		if p.Verdict != packet.Transmit && p.Verdict != packet.Fragment {
			continue
		}
		joined := s.table.Joined
		if why, ok := s.confirm(p, b.NowNs); !ok {
			p.DropFor(why)
		} else if s.resume != nil {
			s.resume[i].joined = s.table.Joined != joined
		}
	}
}

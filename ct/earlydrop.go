package ct

import "ffwd/packet"

// Of so many entries of its family at most it is asked whether a new flow may take their
// place, until so many may.
const (
	earlyProbes = 64
	earlyChoice = 8
)

// admit returns a free entry for the flow of a new packet, or 0.
func (t *Table) admit(p *packet.Packet) uint32 {
	if t.refusal = t.limited(p); t.refusal != packet.Unfinished {
		if t.refusal == packet.CtSourceLimit {
			t.SourceLimited++
		} else {
			t.RuleLimited++
		}
		return 0
	}
	ipv6 := p.Is(packet.IsIPv6)
	list, left := &t.free[0], t.free[0].end-1-uint32(t.Flows4)
	if ipv6 {
		list, left = &t.free[1], t.free[1].end-t.first6-uint32(t.Flows6)
	}
	reserved := left <= t.settings.Reserve
	if left == 0 || reserved && !p.Priority {
		if !t.makeRoom(p.Hash, ipv6) {
			t.Full++
			t.refusal = packet.CtTableFull
			return 0
		}
	} else if reserved {
		t.Reserved++
	}
	return list.take(t.cold)
}

// Refusal says why Confirm, Destination or Source returned false.
func (t *Table) Refusal() packet.Reason { return t.refusal }

// mayYield reports whether a flow gives way to a new one: it was never answered, or its
// connection has ended.
func (f *Flow) mayYield() bool {
	return f.flags&(seenReply|assured) == 0 || f.state == TCPTimeWait || f.state == TCPClose
}

// makeRoom removes a flow that was never answered, or whose connection has ended,
// for a new one of its family when the table is full. It looks at entries from all over
// the family's, beginning where the sender cannot choose (CT-8), and takes the one of those
// found that would expire first. Answered and established flows stay, whatever comes.
//
// It goes by entries and not by the index, where a small family is lost in a large one.
// Source: CT-7.
func (t *Table) makeRoom(hash uint64, ipv6 bool) bool {
	first, n := uint32(1), uint64(t.first6-1)
	if ipv6 {
		first, n = t.first6, uint64(t.free[1].end-t.first6)
	}
	victim, soonest := uint32(0), int32(0)
	for probes, found := min(earlyProbes, n), 0; probes > 0 && found < earlyChoice; probes-- {
		hash += 0x9e3779b97f4a7c15 // 2^64 by the golden ratio: each as far from the others as can be
		flow := first + uint32(below(hash, n))
		f := t.flow(flow)
		if f.k1 == 0 || !f.mayYield() {
			continue
		}
		found++
		if left := int32(f.deadline - Tick(t.latestNs)); victim == 0 || left < soonest {
			victim, soonest = flow, left
		}
	}
	if victim == 0 {
		return false
	}
	t.EarlyDropped++
	t.Delete(victim)
	return true
}

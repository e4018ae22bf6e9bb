package ct

import (
	"math/bits"

	"ffwd/packet"
)

// earlyProbes is how many buckets are searched for a flow that a new one may take
// the place of: some hundred flows, in cache lines that follow each other.
const earlyProbes = 8

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
// for a new one of its family when the table is full. It looks near the new flow's
// place in the index, which its sender cannot choose (CT-8), and takes the one that
// would expire first. Answered and established flows stay, whatever comes.
// Source: CT-7.
func (t *Table) makeRoom(hash uint64, ipv6 bool) bool {
	victim, soonest := uint32(0), int32(0)
	i := t.home(hash)
	for range min(earlyProbes, t.numBuckets) {
		b := t.bucket(i)
		for used := ^b.match(0) & (1<<slots - 1); used != 0; used &= used - 1 {
			flow := b.flow(bits.TrailingZeros32(used))
			if flow >= t.firstTwin || t.isIPv6(flow) != ipv6 || !t.flow(flow).mayYield() {
				continue
			}
			f := t.flow(flow)
			if left := int32(f.deadline - Tick(t.latestNs)); victim == 0 || left < soonest {
				victim, soonest = flow, left
			}
		}
		i = t.next(i)
	}
	if victim == 0 {
		return false
	}
	t.EarlyDropped++
	t.Delete(victim)
	return true
}

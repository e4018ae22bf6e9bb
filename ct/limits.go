package ct

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"ffwd/packet"
)

// MaxLimits bounds the limits that rules have at one time, those included that no rule
// has any more and that connections still count for. 0 is no limit.
const MaxLimits = 256

// Limit is the most connections that a rule lets be open at one time.
type Limit struct {
	Max       uint32
	PerSource bool // of each source, else of all together
}

// Limits are the limits of rules by number. Immutable once workers have it.
type Limits [MaxLimits]Limit

// Tallies are what the tables of all workers count for limits. Each worker writes its
// own and reads everybody's: a limit is the switch's, wherever its flows live. Workers
// that create flows at the same instant do not see each other's, so a limit may be
// passed by as many flows as there are other workers.
//
// All tables join before the first of them is used. Source: CT-7;
// docs/decisions/0009-connection-limits.md.
type Tallies struct{ workers []*tally }

// tally is one worker's part.
type tally struct {
	flows   [MaxLimits]atomic.Uint32 // by limit of a rule
	sources []atomic.Uint64          // buckets of a cache line: fingerprint 32 | flows 32
}

// The flows of an entry: how many, or single and the index of the only one there has been
// since the entry was free. 0 is free.
const single = 1 << 31

const _ = uint(single - 1 - indexMask)

// Counted flows per entry of sources, and entries per bucket.
const (
	flowsPerSource = 16
	sourceSlots    = 64 / 8
)

// sourceEntries returns the entries of a table for so many flows.
func sourceEntries(flows int) int { return (flows/flowsPerSource/sourceSlots + 1) * sourceSlots }

// join adds a worker's tally, whose sources lie at base.
func (ts *Tallies) join(base unsafe.Pointer, entries int) *tally {
	w := &tally{sources: unsafe.Slice((*atomic.Uint64)(base), entries)}
	ts.workers = append(ts.workers, w)
	return w
}

// Flows returns how many flows count for a limit. Any goroutine may call it.
func (ts *Tallies) Flows(limit uint8) (n uint32) {
	for _, w := range ts.workers {
		n += w.flows[limit].Load()
	}
	return n
}

// ofSource returns how many flows count for a source by its hash.
func (ts *Tallies) ofSource(hash uint64) (n uint32) {
	for _, w := range ts.workers {
		_, flows := w.find(hash)
		n += flows
	}
	return n
}

// bucket returns the entries where a hash may be.
func (w *tally) bucket(hash uint64) []atomic.Uint64 {
	buckets := uint64(len(w.sources)) / sourceSlots
	i := uint64(uint32(hash)) * buckets >> 32 * sourceSlots
	return w.sources[i : i+sourceSlots]
}

// find returns the entry of a source that has flows, and how many, or nil. Other workers may
// call it for the number: an entry is read once, and whole. The next reading may be of
// another source.
func (w *tally) find(hash uint64) (entry *atomic.Uint64, flows uint32) {
	b := w.bucket(hash)
	for i := range b {
		if e := b[i].Load(); uint32(e) != 0 && e>>32 == hash>>32 {
			if e&single != 0 {
				return &b[i], 1
			}
			return &b[i], uint32(e)
		}
	}
	return nil, 0
}

// add counts one more flow of a source, in the place of one with a single flow if all
// entries are taken: those near a limit stay. That one is evicted, and counts no more, of
// which 0 is none. It returns false when there is no place either.
func (w *tally) add(hash uint64, flow uint32) (counted bool, evicted, fingerprint uint32) {
	source := hash >> 32 << 32
	if e, n := w.find(hash); e != nil {
		e.Store(source | uint64(n+1))
		return true, 0, 0
	}
	b := w.bucket(hash)
	victim := -1
	for i := range b {
		e := b[i].Load()
		if uint32(e) == 0 {
			b[i].Store(source | single | uint64(flow))
			return true, 0, 0
		}
		if e&single != 0 {
			victim = i
		}
	}
	if victim < 0 {
		return false, 0, 0
	}
	e := b[victim].Load()
	b[victim].Store(source | single | uint64(flow))
	return true, uint32(e) & indexMask, uint32(e >> 32)
}

// drop counts one flow less of a source.
func (w *tally) drop(hash uint64) {
	if e, n := w.find(hash); n == 1 {
		e.Store(0)
	} else if n > 1 {
		e.Store(hash>>32<<32 | uint64(n-1))
	}
}

// address is one as little-endian numbers; of IPv4 the second is 0.
type address [2]uint64

func newAddress(a *[16]byte) address {
	return address{binary.LittleEndian.Uint64(a[:]), binary.LittleEndian.Uint64(a[8:])}
}

// source hashes an address for a limit, 0 being the one on all flows of a source.
func (s *Secret) source(limit uint8, zone uint16, family uint64, a address) uint64 {
	what := uint64(zone)<<16 | uint64(limit)<<8 | family
	h := mum(mum(a[0]^s[4], a[1]^s[5])^s[2], what^s[0])
	return mum(h^s[1], s[3]|1)
}

// sourceOf hashes the address that a new packet comes from.
func (t *Table) sourceOf(p *packet.Packet, limit uint8) uint64 {
	zone := key{p.Key0, p.Key1}.zone()
	if p.Is(packet.IsIPv6) {
		return t.secret.source(limit, zone, family6, newAddress(p.IPv6().Src()))
	}
	return t.secret.source(limit, zone, family4, address{uint64(bits.ReverseBytes32(p.IPv4().Src()))})
}

// openedBy hashes the address that a flow was opened from: sourceOf of its first packet.
func (t *Table) openedBy(flow uint32, limit uint8) uint64 {
	f := t.flow(flow)
	byLow := f.flags&origSwapped == 0
	if t.isIPv6(flow) {
		a := &t.addresses[flow-t.first6]
		if byLow {
			return t.secret.source(limit, f.zone(), family6, newAddress(&a.low))
		}
		return t.secret.source(limit, f.zone(), family6, newAddress(&a.high))
	}
	if byLow {
		return t.secret.source(limit, f.zone(), family4, address{f.k0 & (1<<32 - 1)})
	}
	return t.secret.source(limit, f.zone(), family4, address{f.k0 >> 32})
}

// Exceeds reports whether the flow that a new packet may start would be one too many for
// the limit of a rule that matches it, and else lets the limit count the flow if it is
// confirmed. A packet of a flow that there is, or that starts none, exceeds nothing. A
// flow counts for two limits: to a third it is one too many. Owner worker only.
// Source: CT-7.
func (t *Table) Exceeds(p *packet.Packet, limit uint8) bool {
	if p.Flow != 0 || p.State != packet.CtNew || p.Key1 == 0 {
		return false
	}
	if t.atLimit(p, limit) {
		return true
	}
	for i := range p.Limits {
		if p.Limits[i] == limit || p.Limits[i] == 0 {
			p.Limits[i] = limit
			return false
		}
	}
	return true
}

// atLimit reports whether as many flows count for a limit as may.
func (t *Table) atLimit(p *packet.Packet, limit uint8) bool {
	if t.settings.Limits == nil {
		return false
	}
	l := t.settings.Limits[limit]
	if l.PerSource {
		return t.tallies.ofSource(t.sourceOf(p, limit)) >= l.Max
	}
	return t.tallies.Flows(limit) >= l.Max
}

// limited says which bound forbids the flow of a new packet, or Unfinished. The rules'
// limits are asked again: other packets of the burst may have been quicker.
func (t *Table) limited(p *packet.Packet) packet.Reason {
	if most := t.settings.MaxPerSource; most != 0 && !p.Priority && t.tallies.ofSource(t.sourceOf(p, 0)) >= most {
		return packet.CtSourceLimit
	}
	if p.Limits == [2]uint8{} {
		return packet.Unfinished
	}
	for _, limit := range p.Limits {
		if limit != 0 && t.atLimit(p, limit) {
			return packet.CtRuleLimit
		}
	}
	return packet.Unfinished
}

// In cold.slot, above the slot: what counts the flow.
const (
	countedSource = 1 << 15 // the limit on all flows of a source
	countedRules  = 1 << 14 // limits of rules, see Table.limits
	countedFirst  = 1 << 13 // a source's entry for the first of them, and below for the second
	slotMask      = countedFirst>>1 - 1
)

// countIn lets limits count a flow that is being entered.
func (t *Table) countIn(p *packet.Packet, flow uint32) {
	c := &t.cold[flow]
	c.slot = 0
	if t.settings.MaxPerSource != 0 && !p.Priority {
		t.countSource(t.sourceOf(p, 0), flow, countedSource)
	}
	if p.Limits == [2]uint8{} {
		return
	}
	c.slot |= countedRules
	t.limits[flow] = p.Limits
	for i, limit := range p.Limits {
		if limit == 0 {
			continue
		}
		bump(&t.tally.flows[limit], 1)
		if t.settings.Limits != nil && t.settings.Limits[limit].PerSource {
			t.countSource(t.sourceOf(p, limit), flow, countedFirst>>i)
		}
	}
}

// countSource lets a source's entry count a flow, and notes that it does.
func (t *Table) countSource(hash uint64, flow uint32, as uint16) {
	counted, evicted, fingerprint := t.tally.add(hash, flow)
	if !counted {
		t.SourcesFull++
		return
	}
	t.cold[flow].slot |= as
	if evicted != 0 {
		t.SourcesEvicted++
		t.discount(evicted, fingerprint)
	}
}

// discount notes that a flow counts no more for the source whose entry it has lost: its end
// must not be taken from an entry that the source may have by then.
func (t *Table) discount(flow, fingerprint uint32) {
	is := func(limit uint8) bool { return uint32(t.openedBy(flow, limit)>>32) == fingerprint }
	c := &t.cold[flow]
	if c.slot&countedSource != 0 && is(0) {
		c.slot &^= countedSource
		return
	}
	for i, limit := range t.limits[flow] {
		if counted := uint16(countedFirst >> i); c.slot&counted != 0 && is(limit) {
			c.slot &^= counted
			return
		}
	}
}

// countOut ends what countIn began.
func (t *Table) countOut(flow uint32) {
	slot := t.cold[flow].slot
	if slot&countedSource != 0 {
		t.tally.drop(t.openedBy(flow, 0))
	}
	if slot&countedRules == 0 {
		return
	}
	for i, limit := range t.limits[flow] {
		if limit == 0 {
			continue
		}
		bump(&t.tally.flows[limit], ^uint32(0))
		if slot&(countedFirst>>i) != 0 {
			t.tally.drop(t.openedBy(flow, limit))
		}
	}
}

package fib

import (
	"fmt"
	"net/netip"
	"unsafe"

	"ffwd/mem"
)

// Counter names the counters of a next hop, as long as it lives: an ID that is
// used anew is another Counter. The zero Counter is that of NoRoute.
type Counter struct {
	id  NextHopID
	age uint32
}

// Count is what was sent by a next hop: packets, and their bytes without link
// headers, for which a lookup has chosen it. A packet that a later stage drops has
// been counted; one by a set of hops is counted for the set and for its member.
type Count struct{ Packets, Bytes uint64 }

// Plus is the sum.
func (c Count) Plus(o Count) Count { return Count{c.Packets + o.Packets, c.Bytes + o.Bytes} }

// Counts are one worker's counters of one Table, outside the Go heap. Add and Read
// are the worker's: whoever else wants them asks it to read.
//
// Nobody clears the counters of a next hop that went, for only the worker may
// write them: it does so when it first counts for the next one of that ID.
// Source: FF-12; docs/decisions/0006-route-counters.md.
type Counts struct {
	slots  []countSlot // by NextHopID
	region *mem.Region
}

type countSlot struct {
	Count
	age uint32 // of whom Count is
	_   [12]byte
}

const countSlotBytes = int(unsafe.Sizeof(countSlot{}))

// Two to a cache line, none across: this does not compile otherwise.
var _ [32 - countSlotBytes]struct{}
var _ [countSlotBytes - 32]struct{}

// NewCounts makes counters for one worker. The caller closes them. Errors are
// those of mem.Map.
func (t *Table) NewCounts() (*Counts, error) {
	region, err := mem.Map(countSlotBytes*t.opts.NextHops, mem.Plain)
	if err != nil {
		return nil, fmt.Errorf("fib: route counters: %w", err)
	}
	return &Counts{mem.Slice[countSlot](region, t.opts.NextHops), region}, nil
}

// Close unmaps the counters.
func (c *Counts) Close() error {
	c.slots = nil
	return c.region.Close()
}

// Add counts packets that a lookup sent to a.
func (c *Counts) Add(a *Adjacency, packets, bytes uint64) {
	s := &c.slots[a.ID]
	if s.age != a.age {
		*s = countSlot{age: a.age}
	}
	s.Packets += packets
	s.Bytes += bytes
}

// Take undoes Add for packets that are looked up again later.
func (c *Counts) Take(a *Adjacency, packets, bytes uint64) {
	if s := &c.slots[a.ID]; s.age == a.age {
		s.Packets -= packets
		s.Bytes -= bytes
	}
}

// AddBurst counts a burst: packet i, of bytes[i], was sent to lines[at[i]].
//
// What comes in one burst mostly goes one way. Adding up in registers then spares
// each packet the wait for the counter that the one before it has written.
func (c *Counts) AddBurst(lines []Adjacency, at []AdjacencyIndex, bytes []uint16) {
	if len(at) == 0 {
		return
	}
	bytes = bytes[:len(at)]
	if first := at[0]; first == at[len(at)-1] {
		differ, sum := AdjacencyIndex(0), uint64(0)
		for i, n := range at {
			differ |= n ^ first
			sum += uint64(bytes[i])
		}
		if differ == 0 {
			c.Add(&lines[first], uint64(len(at)), sum)
			return
		}
	}
	slots := c.slots
	for i, n := range at {
		a := &lines[n]
		s := &slots[a.ID]
		if s.age != a.age {
			*s = countSlot{age: a.age}
		}
		s.Packets++
		s.Bytes += uint64(bytes[i])
	}
}

// Read is what the worker has counted for k, nothing if that next hop is gone.
func (c *Counts) Read(k Counter) Count {
	if int(k.id) >= len(c.slots) || c.slots[k.id].age != k.age {
		return Count{}
	}
	return c.slots[k.id].Count
}

// counter is that of a next hop in use.
func (t *Table) counter(id NextHopID) Counter {
	if h := t.byID[id]; h != nil {
		return Counter{id, h.age}
	}
	return Counter{id: id}
}

// CountersVia are the counters of all next hops over a neighbour: its own host
// entry, and those of routes that have it as gateway. If their sum has grown, the
// neighbour was used. Errors wrap ErrNoInterface.
func (t *Table) CountersVia(ifIndex uint16, addr netip.Addr) ([]Counter, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, err := t.iface(ifIndex)
	if err != nil {
		return nil, err
	}
	hops := i.via[addr]
	out := make([]Counter, len(hops))
	for n, h := range hops {
		out[n] = Counter{h.id, h.age}
	}
	return out, nil
}

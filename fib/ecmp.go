package fib

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sync/atomic"
)

// A group spreads flows over this many buckets: a weight is kept to within
// 1/256, and a group is 1 KiB.
const (
	groupBucketsLog2 = 8
	groupBuckets     = 1 << groupBucketsLog2

	// MaxHops bounds the hops of one route: each has two buckets at least.
	MaxHops = groupBuckets / 2
)

// group is the control side of an ECMP next hop. Source: FF-16; the idea of
// buckets that stay where they are is the kernel's resilient next-hop group.
type group struct {
	name    string // members and weights in canonical form
	members []member
	first   uint32 // bucket index in Table.buckets
	live    int    // usable members

	home [groupBuckets]uint8 // by bucket: its member while all are usable
	now  [groupBuckets]uint8 // by bucket: the member it is with
}

type member struct {
	hop    *nextHop
	weight int
	usable bool
}

// acquireGroup takes a reference to the group of the given hops, whose
// references it takes over, also when it fails. before is the next hop that the
// group replaces: flows of members that were in it stay where they are.
func (t *Table) acquireGroup(members []member, before NextHopID) (NextHopID, error) {
	members = merge(members, t)
	if len(members) == 1 {
		return members[0].hop.id, nil
	}
	name := groupName(members)
	if h := t.groups[name]; h != nil {
		h.refs++
		t.releaseAll(members)
		return h.id, nil
	}
	h, err := t.newHop(hopKey{kind: Group})
	if err != nil {
		t.releaseAll(members)
		return 0, err
	}
	run, ok := t.ecmp.take()
	if !ok {
		t.releaseAll(members)
		delete(t.byID, h.id)
		t.ids.give(uint32(h.id))
		t.lines.give(h.line)
		return 0, full("sets of equal hops", t.opts.ECMPGroups)
	}
	g := &group{name: name, members: members, first: run * groupBuckets}
	h.group = g
	for _, m := range members {
		if m.hop.in == nil {
			m.hop.in = map[*nextHop]struct{}{}
		}
		m.hop.in[h] = struct{}{}
	}
	t.settle(g, t.byID[before])
	t.groups[name] = h
	t.adjacencies[h.line] = t.build(h)
	t.rebalance(h)
	return h.id, nil
}

// merge sorts the members by hop and adds up the weights of equal ones.
func merge(members []member, t *Table) []member {
	slices.SortFunc(members, func(a, b member) int { return cmp.Compare(a.hop.id, b.hop.id) })
	out := members[:0]
	for _, m := range members {
		if n := len(out); n > 0 && out[n-1].hop == m.hop {
			out[n-1].weight += m.weight
			t.release(m.hop.id)
			continue
		}
		out = append(out, m)
	}
	return out
}

func groupName(members []member) string {
	var b []byte
	for _, m := range members {
		b = binary.AppendUvarint(b, uint64(m.hop.id))
		b = binary.AppendUvarint(b, uint64(m.weight))
	}
	return string(b)
}

func (t *Table) releaseAll(members []member) {
	for _, m := range members {
		t.release(m.hop.id)
	}
}

// dissolve lets go of what a group that lost its last reference holds.
func (t *Table) dissolve(h *nextHop) {
	delete(t.groups, h.group.name)
	t.grave.bury(&t.ecmp, h.group.first/groupBuckets)
	for _, m := range h.group.members {
		delete(m.hop.in, h)
	}
	t.releaseAll(h.group.members)
}

// settle gives every bucket its home. A member of the group before keeps the
// buckets it has there as far as its weight allows; the others go one by one to
// the member that lacks most, which makes the members alternate.
func (t *Table) settle(g *group, before *nextHop) {
	const nobody = groupBuckets - 1 // more than MaxHops
	quota := g.quotas()
	for b := range g.home {
		g.home[b] = nobody
	}
	if before != nil {
		for b := range g.home {
			hop := before
			if before.group != nil {
				hop = before.group.members[before.group.home[b]].hop
			}
			i := slices.IndexFunc(g.members, func(m member) bool { return m.hop.sameWay(hop) })
			if i >= 0 && quota[i] > 0 {
				g.home[b] = uint8(i)
				quota[i]--
			}
		}
	}
	for b := range g.home {
		if g.home[b] == nobody {
			i := neediest(quota)
			g.home[b] = uint8(i)
			quota[i]--
		}
	}
	g.now = g.home
}

// quotas shares the buckets out by weight, by largest remainders, one at least
// to each member.
func (g *group) quotas() []int {
	total := 0
	for _, m := range g.members {
		total += m.weight
	}
	spare := groupBuckets - len(g.members)
	quota := make([]int, len(g.members))
	rest := make([]int, len(g.members)) // remainder of the division, in 1/total
	left := spare
	for i, m := range g.members {
		// A member's exact share is groupBuckets*weight/total; one of it is
		// certain, and is not shared out again.
		share := groupBuckets*m.weight - total
		if share > 0 {
			quota[i], rest[i] = min(share/total, left), share%total
		}
		left -= quota[i]
		quota[i]++
	}
	for ; left > 0; left-- {
		i := neediest(rest)
		quota[i]++
		rest[i] -= total
	}
	return quota
}

// neediest is the index of the largest value, the first of equals.
func neediest(lack []int) int {
	best := 0
	for i, v := range lack {
		if v > lack[best] {
			best = i
		}
	}
	return best
}

// rebalance moves the buckets of members that came to be unusable, and those
// only, to the usable ones, and brings those of members that came back home.
// Workers see each bucket change by itself.
func (t *Table) rebalance(h *nextHop) {
	g := h.group
	g.live = 0
	total := 0
	for i := range g.members {
		m := &g.members[i]
		if m.usable = t.usable(m.hop); m.usable {
			g.live++
			total += m.weight
		}
	}
	if g.live > 0 {
		g.place(total)
	}
	for b, i := range g.now {
		atomic.StoreUint32(&t.buckets[int(g.first)+b], uint32(g.members[i].hop.id))
	}
	t.point(h) // publishes the buckets, or unreachable when nobody is left
}

// place decides the member of every bucket; total is the weight of the usable
// ones, not 0.
func (g *group) place(total int) {
	lack := make([]int, len(g.members)) // in buckets * total: exact
	for i, m := range g.members {
		if m.usable {
			lack[i] = groupBuckets * m.weight
		} else {
			lack[i] = -groupBuckets * groupBuckets * total // never chosen
		}
	}
	var homeless []int
	for b, home := range g.home {
		switch {
		case g.members[home].usable:
			g.now[b] = home
		case !g.members[g.now[b]].usable:
			homeless = append(homeless, b)
			continue
		}
		lack[g.now[b]] -= total
	}
	for _, b := range homeless {
		i := neediest(lack)
		g.now[b] = uint8(i)
		lack[i] -= total
	}
}

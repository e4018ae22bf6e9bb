package fib

import (
	"fmt"
	"net/netip"
)

// Update is one line of a batch: the route to install or replace, or the prefix
// of the one to delete.
type Update struct {
	Route  Route
	Delete bool // only Route.Prefix and Learned count
}

// Apply makes many changes or none: everything is checked and reserved first,
// and only then painted. Each lookup sees each prefix before or after its own
// change; there is no instant at which all of them turn.
//
// A prefix may be added or deleted, not both, by one origin. What the deletes free is not
// counted as room for the adds, for it comes back only when the epoch has
// passed. Errors are those of Add and Delete.
func (t *Table) Apply(updates []Update) error {
	t.begin()
	defer t.commit()
	return t.apply(updates)
}

func (t *Table) apply(updates []Update) error {
	ids := make([]NextHopID, len(updates))
	err := t.reserve(updates, ids)
	if err != nil {
		for i, id := range ids {
			t.breathe(i)
			t.release(id)
		}
		return err
	}
	for i := range updates { // adds first: their room was counted without the deletes
		t.breathe(i)
		if u := &updates[i]; !u.Delete && err == nil {
			err = t.setRoute(&u.Route, ids[i])
		} else {
			t.release(ids[i])
		}
	}
	for i := range updates {
		t.breathe(i)
		if u := &updates[i]; u.Delete && err == nil {
			err = t.setRoute(&u.Route, 0)
		}
	}
	return err
}

// reserve checks the updates, fills ids with references to the next hops of the
// adds, and counts prefixes and groups. It changes no route.
func (t *Table) reserve(updates []Update, ids []NextHopID) error {
	type place struct {
		prefix  netip.Prefix
		learned bool
	}
	deletes := map[place]struct{}{}
	for i := range updates {
		t.breathe(i)
		u := &updates[i]
		if !u.Delete {
			continue
		}
		p := u.Route.Prefix
		if err := t.checkDelete(&u.Route); err != nil {
			return err
		}
		if _, twice := deletes[place{p, u.Route.Learned}]; twice {
			return fmt.Errorf("fib: route %v: deleted twice: %w", p, ErrNotFound)
		}
		deletes[place{p, u.Route.Learned}] = struct{}{}
	}
	need := [2]demand{{trie: &t.v4}, {trie: &t.v6}}
	for i := range updates {
		t.breathe(i)
		u := &updates[i]
		if u.Delete {
			continue
		}
		p := u.Route.Prefix
		id, err := t.prepare(&u.Route)
		if err != nil {
			return err
		}
		ids[i] = id
		if _, also := deletes[place{p, u.Route.Learned}]; also {
			return fmt.Errorf("fib: route %v: %w: added and deleted in one batch", p, ErrRoute)
		}
		d := &need[0]
		if p.Addr().Is6() {
			d = &need[1]
		}
		if l, _ := t.rib.Get(p); l == (layers{}) {
			d.add(p)
		}
		var short error
		switch {
		case d.prefixes > t.room(p):
			short = t.fullOf(p)
		case len(d.groups) > d.trie.pool.available():
			short = d.trie.full()
		default:
			continue
		}
		return fmt.Errorf("fib: route %v: %w", p, short)
	}
	return nil
}

// demand counts what a batch takes of one trie. A prefix that the batch names
// twice counts twice as a prefix and once in the groups.
type demand struct {
	trie     *trie
	prefixes int
	groups   map[key]struct{} // by the prefix that leads to the group
}

func (d *demand) add(p netip.Prefix) {
	d.prefixes++
	k := keyOf(p)
	for n := d.trie.missing(&k); n > 0; n-- {
		up := netip.PrefixFrom(p.Addr(), k.levelEnd()-n*groupBits).Masked()
		if d.groups == nil {
			d.groups = map[key]struct{}{}
		}
		d.groups[keyOf(up)] = struct{}{}
	}
}

// SetRoutes makes routes the whole set of configured routes: what is not among them is
// deleted, what is new or different is installed, the rest is not touched. It is
// Apply of the difference, and fails like it. Source: reload by difference.
func (t *Table) SetRoutes(routes []Route) error {
	t.begin()
	defer t.commit()
	wanted := make(map[netip.Prefix]struct{}, len(routes))
	updates := make([]Update, 0, len(routes))
	for i, r := range routes {
		t.breathe(i)
		if _, twice := wanted[r.Prefix]; twice {
			return fmt.Errorf("fib: route %v: %w: given twice", r.Prefix, ErrRoute)
		}
		wanted[r.Prefix] = struct{}{}
		updates = append(updates, Update{Route: r})
	}
	i := 0
	for p, l := range t.rib.All() {
		t.breathe(i)
		i++
		if _, keep := wanted[p]; l.route != 0 && !keep {
			updates = append(updates, Update{Route: Route{Prefix: p}, Delete: true})
		}
	}
	return t.apply(updates)
}

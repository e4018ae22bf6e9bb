package fib

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gaissmai/bart"

	"ffwd/mem"
)

// Options bound a Table. What is not used of a bound costs address space, and
// memory only with Pages = mem.Hugetlb, which reserves.
type Options struct {
	MaxRoutes4 int // IPv4 prefixes of all origins
	MaxRoutes6 int // IPv6 prefixes of all origins
	Groups4    int // of 1 KiB: about one per /24 that has longer prefixes
	Groups6    int // of 1 KiB: about one per /24, /32, /40, ... that has longer prefixes
	NextHops   int // distinct gateways, neighbours, local and connected interfaces, ECMP groups
	ECMPGroups int // distinct sets of hops, 1 KiB each
	Pages      mem.Huge
	// Retirer delays reuse of freed memory until no worker reads it. nil: reuse
	// at once, for a table that nobody reads while it changes.
	Retirer Retirer
}

// OptionsFor bounds a table by what an operator thinks of. The groups follow: as
// many for IPv4 as the worst set of routes can need, one for each; for IPv6, whose
// worst case is 13 for each, four, which holds /64s scattered at will.
// Transparent pages, because all of it would be taken from the pool otherwise.
func OptionsFor(maxRoutes4, maxRoutes6, nextHops int) Options {
	return Options{
		MaxRoutes4: maxRoutes4,
		MaxRoutes6: maxRoutes6,
		Groups4:    min(max(maxRoutes4, 1), MaxGroups),
		Groups6:    min(max(4*maxRoutes6, maxLevels), MaxGroups),
		NextHops:   nextHops,
		ECMPGroups: max(nextHops/8, 1),
		Pages:      mem.Transparent,
	}
}

// DefaultOptions holds the Internet's tables twice over (about 1,050,000 IPv4
// and 230,000 IPv6 prefixes in 2025).
func DefaultOptions() Options { return OptionsFor(5<<19, 1<<19, 1<<17) }

func (o *Options) validate() error {
	var errs []error
	check := func(name string, v, low, high int) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("%w: %s = %d is not in %d..%d", ErrOptions, name, v, low, high))
		}
	}
	check("MaxRoutes4", o.MaxRoutes4, 0, 1<<30)
	check("MaxRoutes6", o.MaxRoutes6, 0, 1<<30)
	check("Groups4", o.Groups4, 1, MaxGroups)
	check("Groups6", o.Groups6, 1, MaxGroups)
	check("NextHops", o.NextHops, int(fixedIDs), MaxNextHops)
	check("ECMPGroups", o.ECMPGroups, 1, MaxGroups)
	return errors.Join(errs...)
}

// Table is the routing table of one VRF. See the package comment for who may
// call what.
type Table struct {
	v4, v6 trie

	slots       []uint32 // by NextHopID: index of its adjacency
	adjacencies []Adjacency
	reach       atomic.Uint32               // beyond the highest adjacency there ever was
	buckets     []uint32                    // groupBuckets NextHopIDs per ECMP group
	down        [1 << 16 / 64]atomic.Uint64 // by interface index: no carrier

	// For Stats, which does not take mu.
	prefixes    [2]atomic.Int32 // of IPv4, IPv6
	mappedBytes int64

	// The control side's, under mu; whoever changes it has changing too, see begin.
	changing  sync.Mutex
	mu        sync.Mutex
	opts      Options
	regions   []*mem.Region
	grave     grave
	ids       pool // of NextHopID
	lines     pool // of Adjacency
	ecmp      pool // of runs of buckets
	rib       bart.Table[layers]
	claims    map[netip.Prefix][]claim
	connected bart.Lite
	hops      map[hopKey]*nextHop
	groups    map[string]*nextHop
	byID      map[NextHopID]*nextHop
	age       uint32 // of the next hop made last
	ifaces    map[uint16]*iface
	hosts     bart.Table[int]     // neighbours as host prefixes: how many interfaces have the address
	followers bart.Table[hopList] // by gateway as host prefix: hops that follow its subnet
	reviews   []netip.Prefix      // what the operation under way has changed, for settleHosts
}

// New makes an empty table: every lookup gives NoRoute. Errors wrap ErrOptions
// or what mem.Map returns.
func New(opts Options) (*Table, error) {
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("fib: %w", err)
	}
	t := &Table{
		opts:   opts,
		claims: map[netip.Prefix][]claim{},
		hops:   map[hopKey]*nextHop{},
		groups: map[string]*nextHop{},
		byID:   map[NextHopID]*nextHop{},
		ifaces: map[uint16]*iface{},
	}
	if err := t.open(); err != nil {
		return nil, fmt.Errorf("fib: %w", errors.Join(err, t.Close()))
	}
	return t, nil
}

func (t *Table) open() error {
	if err := t.v4.open(t.opts.Groups4, t.opts.Pages); err != nil {
		return err
	}
	if err := t.v6.open(t.opts.Groups6, t.opts.Pages); err != nil {
		return err
	}
	// Twice the next hops: each change of a neighbour takes a second line until
	// the epoch has passed.
	lines := 2 * t.opts.NextHops
	slots, err1 := mem.Map(4*t.opts.NextHops, mem.Plain)
	adjacencies, err2 := mem.Map(adjacencyBytes*lines, t.opts.Pages)
	buckets, err3 := mem.Map(4*groupBuckets*t.opts.ECMPGroups, mem.Plain)
	t.regions = []*mem.Region{slots, adjacencies, buckets}
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	t.slots = mem.Slice[uint32](slots, t.opts.NextHops)
	t.adjacencies = mem.Slice[Adjacency](adjacencies, lines)
	t.buckets = mem.Slice[uint32](buckets, groupBuckets*t.opts.ECMPGroups)
	for _, r := range slices.Concat(t.v4.regions, t.v6.regions, t.regions) {
		t.mappedBytes += int64(r.Len())
	}
	t.ids.limit, t.lines.limit, t.ecmp.limit = uint32(t.opts.NextHops), uint32(lines), uint32(t.opts.ECMPGroups)
	t.ids.next, t.lines.next = uint32(fixedIDs), uint32(fixedIDs)
	for id, kind := range [fixedIDs]Kind{None, Blackhole, Unreachable, Prohibit, Punt} {
		t.slots[id] = uint32(id)
		t.adjacencies[id] = Adjacency{Kind: kind, ID: NextHopID(id)}
	}
	return nil
}

// Close unmaps the table. No worker may use it any more, and nothing retired may
// be outstanding that the caller still wants to see freed.
func (t *Table) Close() error {
	t.changing.Lock()
	defer t.changing.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	err := errors.Join(t.v4.close(), t.v6.close())
	for _, r := range t.regions {
		err = errors.Join(err, r.Close())
	}
	t.slots, t.adjacencies, t.buckets = nil, nil, nil
	return err
}

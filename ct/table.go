package ct

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"ffwd/mem"
	"ffwd/packet"
)

// Options size a Table.
type Options struct {
	MaxFlows     int // IPv4 flows
	MaxFlowsIPv6 int
	Translations int // flows of both families with translated addresses
	Secret       Secret
	Huge         mem.Huge
	StartNs      int64     // the worker's clock now: expiry counts from here
	Policies     *Policies // timeout policies that flows may take; nil: none
	Tallies      *Tallies  // of all workers; nil: this table is alone
}

// Settings are what a reload may change. Source: CT-3, CT-7.
type Settings struct {
	Loose   bool // TCP connections are picked up in mid-stream
	Liberal bool // TCP segments outside the windows are let through and counted

	Checksum bool // for whoever marks packets before Lookup: those with wrong L4 checksums too

	MaxPerSource uint32  // flows of one source, without those of priority; 0: any number
	Reserve      uint32  // flows of each family that only those of priority may have
	Limits       *Limits // of rules; nil: none
}

// DefaultSettings are Linux's.
func DefaultSettings() Settings { return Settings{Loose: true} }

// Use makes the settings those of the table from the next packet on. Owner worker
// only.
func (t *Table) Use(s Settings) { t.settings = s }

// Bounds of a table's size: 32-bit indices, with room to spare.
const (
	MinFlows = 64
	MaxFlows = 100_000_000

	MaxTranslations = 60_000_000
)

// fill is how many flows there are per bucket of 12 slots when the table is
// full: 64/7 = 9.1 bytes of index per flow, and one flow in 30 lives outside its
// home bucket.
const fill = 7

// Table holds one worker's flows. Only that worker may call its methods.
type Table struct {
	Stats

	secret      Secret
	numBuckets  uint32
	bucketBase  unsafe.Pointer
	flowBase    unsafe.Pointer
	windowBase  unsafe.Pointer
	addressBase unsafe.Pointer
	settings    Settings
	refusal     packet.Reason
	readers     [MaxReaders]*Events
	numReaders  int
	latestNs    int64  // the clock of the latest burst or expiry
	first6      uint32 // index of the first IPv6 flow; IPv4 flows lie below
	firstTwin   uint32 // of the first twin; flows lie below

	flows     []Flow
	cold      []cold
	addresses []addresses // of IPv6 flows, from first6 on
	free      [2]freeList // IPv4, IPv6
	wheel     wheel
	twins     twins
	owns      func(hash uint64, fold uint16) bool // see Own; nil: all
	from      Range                               // what ConfirmTranslated tells chooseReply, if named
	named     bool

	policies *Policies
	refs     *policyRefs // this worker's references to them

	tallies *Tallies
	tally   *tally     // this worker's
	limits  [][2]uint8 // of rules, by flow; those of flows with countedRules

	candidates candidates              // scratch of Lookup
	sought     candidates              // by SeekPlain, until it is called again
	lines      [packet.MaxBurst]uint32 // indices to prefetch

	region *mem.Region
}

// Stats are a table's counters, written by its worker.
type Stats struct {
	Flows4, Flows6 uint64 // flows in the table now
	Created        uint64 // flows confirmed
	Expired        uint64
	// Packets that found, at confirmation, that their flow was there already, by what
	// kept them from seeing it before (CT-6).
	Joined         [packet.NumWaits]uint64
	EarlyDropped   uint64 // unanswered or ended flows that gave way to new ones (CT-7)
	Full           uint64 // new flows refused because the table was full, but for the reserve (CT-7)
	Reserved       uint64 // flows that took of the reserve
	SourceLimited  uint64 // new flows refused: too many of their source
	RuleLimited    uint64 // new flows refused at confirmation: too many for the limit of a rule
	SourcesEvicted uint64 // sources with one flow that gave way to others; the flow counts no more
	SourcesFull    uint64 // flows that count for no source: no room for it
	Related        uint64 // ICMP errors about a flow
	Invalid        uint64 // packets that fit no flow and may not start one
	Translations   uint64 // twins in use now
}

// freeList is a stack of released entries over a range never used so far.
type freeList struct {
	released   uint32 // linked through cold.next
	fresh, end uint32
}

// New maps a table. All memory it will ever use is reserved here.
func New(o Options) (*Table, error) {
	if o.MaxFlows < MinFlows || max(o.MaxFlows, o.MaxFlowsIPv6) > MaxFlows || o.Translations > MaxTranslations || min(o.MaxFlowsIPv6, o.Translations) < 0 {
		return nil, fmt.Errorf("ct: table of %d IPv4 and %d IPv6 flows, %d of them translated: each must be at most %d, IPv4 at least %d, translated ones at most %d",
			o.MaxFlows, o.MaxFlowsIPv6, o.Translations, MaxFlows, MinFlows, MaxTranslations)
	}
	entries := 1 + o.MaxFlows + o.MaxFlowsIPv6 // index 0 is no flow
	numBuckets := bucketsFor(o.MaxFlows+o.MaxFlowsIPv6, o.Translations)
	layout := newLayout(entries, numBuckets, o.MaxFlowsIPv6, o.Translations)
	region, err := mem.Map(layout.total, o.Huge)
	if err != nil {
		return nil, fmt.Errorf("ct: table of %d flows (%d MiB): %w", entries-1, layout.total>>20, err)
	}
	at := func(off int) unsafe.Pointer { return unsafe.Add(region.Base(), off) }
	t := &Table{
		secret:      o.Secret,
		numBuckets:  uint32(numBuckets),
		bucketBase:  at(layout.buckets),
		flowBase:    at(layout.flows),
		windowBase:  at(layout.windows),
		addressBase: at(layout.addresses),
		settings:    DefaultSettings(),
		first6:      uint32(1 + o.MaxFlows),
		flows:       unsafe.Slice((*Flow)(at(layout.flows)), entries),
		cold:        unsafe.Slice((*cold)(at(layout.cold)), entries),
		addresses:   unsafe.Slice((*addresses)(at(layout.addresses)), o.MaxFlowsIPv6),
		region:      region,
		limits:      unsafe.Slice((*[2]uint8)(at(layout.limits)), entries),
		policies:    o.Policies,
		tallies:     o.Tallies,
	}
	if t.tallies == nil {
		t.tallies = new(Tallies)
	}
	t.tally = t.tallies.join(at(layout.sources), sourceEntries(entries))
	if o.Policies != nil {
		t.refs = o.Policies.join()
	}
	t.firstTwin = uint32(entries)
	t.twins.init(at(layout.twinHeads), t.firstTwin, o.Translations)
	t.free[0] = freeList{fresh: 1, end: t.first6}
	t.free[1] = freeList{fresh: t.first6, end: uint32(entries)}
	t.wheel.cursor = Tick(o.StartNs) >> slotTicks
	return t, nil
}

// bucketsFor returns the size of the index. Translated flows have two entries, for which
// there is room but where they are many among few.
func bucketsFor(flows, translations int) int {
	const most = slots - 2 // per bucket, when all flows that can be translated are
	return max(flows/fill, (flows+translations)/most) + 1
}

// layout gives the byte offsets of the table's arrays in its region.
type layout struct{ buckets, flows, windows, cold, limits, sources, addresses, twinHeads, total int }

func newLayout(entries, numBuckets, flows6, twins int) (l layout) {
	const line = 64
	place := func(bytes uintptr, n int) int {
		off := l.total
		l.total += (int(bytes)*n + line - 1) / line * line
		return off
	}
	l.buckets = place(unsafe.Sizeof(bucket{}), numBuckets)
	l.flows = place(unsafe.Sizeof(Flow{}), entries+twins)
	l.windows = place(unsafe.Sizeof(window{}), entries)
	l.cold = place(unsafe.Sizeof(cold{}), entries)
	l.limits = place(unsafe.Sizeof([2]uint8{}), entries)
	l.sources = place(unsafe.Sizeof(atomic.Uint64{}), sourceEntries(entries))
	l.addresses = place(unsafe.Sizeof(addresses{}), max(1, flows6))
	l.twinHeads = place(unsafe.Sizeof(uint32(0)), twinHeads(twins))
	return l
}

// Close unmaps the table and lets go of the flows' policies. No worker may use it
// any more.
func (t *Table) Close() error {
	if t.policies != nil {
		t.policies.leave(t.refs)
	}
	return t.region.Close()
}

// Bytes returns the memory the table takes.
func (t *Table) Bytes() int { return len(t.region.Bytes()) }

// Flow returns the entry at an index that Lookup or Confirm gave, valid until
// the end of the poll.
func (t *Table) Flow(i uint32) *Flow { return t.flow(i) }

func (t *Table) flow(i uint32) *Flow {
	return (*Flow)(unsafe.Add(t.flowBase, uintptr(i)*unsafe.Sizeof(Flow{})))
}

// isIPv6 reports whether an index belongs to an IPv6 flow.
func (t *Table) isIPv6(i uint32) bool { return i >= t.first6 }

// take returns a free entry, or 0 when there is none.
func (l *freeList) take(cold []cold) uint32 {
	if i := l.released; i != 0 {
		l.released = cold[i].next
		return i
	}
	if l.fresh == l.end {
		return 0
	}
	l.fresh++
	return l.fresh - 1
}

// Delete removes a flow at once.
func (t *Table) Delete(i uint32) {
	t.tell(EventDestroy, i)
	f := t.flow(i)
	t.disown(f)
	t.countOut(i)
	t.unschedule(i)
	t.remove(t.secret.hash(f.k0, f.k1), i)
	if f.flags&translated != 0 {
		t.part(i)
	}
	*f = Flow{}
	list := &t.free[0]
	if t.isIPv6(i) {
		list = &t.free[1]
		t.Flows6--
	} else {
		t.Flows4--
	}
	t.cold[i].next = list.released
	list.released = i
}

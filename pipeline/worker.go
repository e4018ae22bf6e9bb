package pipeline

import (
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"ffwd/clock"
	"ffwd/ct"
	"ffwd/epoch"
	"ffwd/mem"
	"ffwd/packet"
)

// RxQueue is a receive queue. Rx stores up to max received single-segment mbufs
// at dst, an array of *packet.Mbuf outside the Go heap, and returns how many.
type RxQueue interface {
	Rx(dst unsafe.Pointer, max int) int
}

// TxQueue is a transmit queue. Tx takes over the first mbufs of the n at src and
// returns how many it took.
type TxQueue interface {
	Tx(src unsafe.Pointer, n int) int
}

// Pool allocates and frees mbufs, in bulk. Alloc is all or nothing.
type Pool interface {
	Alloc(dst unsafe.Pointer, n int) bool
	Free(src unsafe.Pointer, n int)
}

// Receive is a receive queue that a worker polls.
type Receive struct {
	Port  uint16 // physical port
	Queue RxQueue
}

// Config is what a Worker is made of.
type Config struct {
	Index     int // among the workers
	Burst     int // largest burst, 1 to packet.MaxBurst
	Snapshot  *atomic.Pointer[Snapshot]
	Table     *ct.Table         // nil: stateless
	Fragments ct.FragmentLimits // with a Table
	Secret    *ct.Secret
	Clock     *clock.Clock
	Epoch     *epoch.Member
	Pool      Pool
	Rx        []Receive
	Tx        []TxQueue // by physical port
	Group     *Group
	Steered   []bool // by physical port: handed over in software; nil: none
	// Spread is which worker the devices lead a flow to, by ct.FlowFold; nil: that which
	// ct.Owner says, because all is handed over in software.
	Spread   func(fold uint16) int
	Punts    PuntSink      // to the slow path; nil: there is none
	Kernel   FrameSource   // from the slow path; nil: there is none
	Resolver Resolver      // of neighbours; nil: who is not known cannot be reached
	Queues   VerdictQueues // to listeners in other processes; nil: there are none
	// Enter and Leave run on the worker's locked thread: affinity, DPDK registration.
	Enter func() error
	Leave func()
}

// Worker is one poll loop. All its fields belong to the thread in Run, except
// the mailbox.
type Worker struct {
	context
	config  Config
	counter Counters
	stages  [stageOutput]Stage
	parse   *Parse                    // for what the slow path sends
	burst   packet.Burst              // from the wire or a ring
	errors  packet.Burst              // ICMP errors of that burst
	limits  [packet.NumAnswers]bucket // of ICMP errors and resets, by kind. Source: FF-10
	punts   [NumBudgets]bucket
	tx      []txBuffer
	garbage txBuffer       // mbufs to be freed
	waits   *waits         // what comes back from queues; nil: there are none
	inbox   []*packet.Mbuf // what the receive queue gave
	scratch []*packet.Mbuf // of maxPieces: what is being made
	sent    []ct.Latest    // by interface: of the fragments that the kernel sent
	region  *mem.Region
	bursts  uint64 // counts towards SampleEvery
	last    uint64 // cycles at the latest poll
	busy    bool   // it had packets

	mail mailbox
}

// NewWorker makes a worker; nothing runs yet.
func NewWorker(c Config) (*Worker, error) {
	if c.Burst < 1 || c.Burst > packet.MaxBurst {
		return nil, fmt.Errorf("pipeline: burst of %d: must be 1 to %d", c.Burst, packet.MaxBurst)
	}
	// Arrays of mbuf pointers lie outside the Go heap: cgo looks at every
	// element of one inside, at 900 ns a call.
	const array = packet.MaxBurst
	pointers := maxPieces + array*(2+len(c.Tx))
	region, err := mem.Map(pointers*int(unsafe.Sizeof(uintptr(0))), mem.Plain)
	if err != nil {
		return nil, fmt.Errorf("pipeline: worker %d: %w", c.Index, err)
	}
	all := unsafe.Slice((**packet.Mbuf)(region.Base()), pointers)
	take := func(n int) []*packet.Mbuf {
		a := all[:n:n]
		all = all[n:]
		return a
	}
	next := func() []*packet.Mbuf { return take(array) }
	w := &Worker{config: c, region: region, mail: newMailbox()}
	w.counter.Ports = make([]PortCounters, len(c.Tx))
	w.context = context{snap: c.Snapshot.Load(), table: c.Table, secret: c.Secret, counters: &w.counter, ledger: newLedger()}
	w.garbage = txBuffer{mbufs: next()}
	w.inbox, w.scratch = next(), take(maxPieces)
	w.received = w.inbox
	w.copier = w
	if c.Kernel != nil {
		w.sent = make([]ct.Latest, len(w.snap.Interfaces))
	}
	if c.Resolver != nil {
		w.holder = newHolder(c.Resolver)
	}
	if c.Queues != nil {
		w.waits = new(waits)
		w.queues, w.queued = c.Queues, &w.waits.queued
	}
	for _, q := range c.Tx {
		w.tx = append(w.tx, txBuffer{queue: q, mbufs: next()})
	}
	steer := c.Group.steer(&w.context, c)
	if c.Table != nil {
		w.reassembly = &Reassembly{context: &w.context, store: ct.NewFragments(c.Fragments), steer: steer}
	}
	if c.Table != nil && steer != nil {
		c.Table.Own(steer.owns)
	}
	w.stages = stages(&w.context, steer, &lane{Worker: w})
	w.parse = &Parse{&w.context}
	if err := w.openCounts(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// Run polls until the group stops, then drains. It must be called on a locked
// thread, once for each worker of the group. It returns the error of Config.Enter; when
// another worker's has failed it returns nil, without having received anything.
func (w *Worker) Run() error {
	err := w.config.Enter()
	all := w.config.Group.enter(err == nil)
	if err != nil {
		return err
	}
	defer w.config.Leave()
	if !all {
		return nil
	}
	w.mail.begin()
	w.config.Epoch.Online()
	w.last = w.config.Clock.Cycles()
	for !w.config.Group.stop.Load() {
		w.poll(true)
	}
	w.config.Group.receiving.Add(-1)
	if w.reassembly != nil {
		w.dropFragments(w.config.Clock.At(w.last))
	}
	if w.holder != nil {
		w.dropHeld()
	}
	if w.queues != nil {
		w.queues.Drain()
	}
	for !w.config.Group.abort.Load() && (w.config.Group.receiving.Load() > 0 || w.backlog() > 0) {
		w.poll(false)
	}
	w.config.Epoch.Offline()
	w.mail.end()
	return nil
}

// Close releases the worker's memory after Run has returned.
func (w *Worker) Close() error { return errors.Join(w.closeCounts(), w.region.Close()) }

// poll is one turn of the loop: every queue and ring once, then what is due.
func (w *Worker) poll(receive bool) {
	start := w.config.Clock.Cycles()
	now := w.config.Clock.At(start)
	w.lap(start)
	w.snap = w.config.Snapshot.Load()
	if w.table != nil {
		w.table.Use(w.snap.Tracking)
	}
	before, returned := w.counter.Received+w.counter.TakenOver+w.counter.FromKernel, 0
	if w.holder != nil {
		w.review(now)
	}
	if receive {
		for i := range w.config.Rx {
			w.receive(&w.config.Rx[i], now)
		}
	}
	for _, ring := range w.config.Group.inbound(w.config.Index) {
		if ring.take(&w.burst, w.config.Burst); w.burst.N > 0 {
			w.counter.TakenOver += uint64(w.burst.N)
			w.burst.NowNs = now
			w.carry(w.entry(&w.burst))
		}
	}
	if w.config.Kernel != nil {
		w.inject(now)
	}
	if w.queues != nil {
		returned = w.reinject(now)
	}
	if w.reassembly != nil {
		w.expireFragments(now)
	}
	w.flush()
	if w.table != nil {
		w.table.Expire(now, expiryBudget)
	}
	w.config.Epoch.Quiescent()
	if w.mail.post.Load() != nil {
		w.mail.answer()
	}
	w.counter.Polls++
	if w.busy = w.counter.Received+w.counter.TakenOver+w.counter.FromKernel != before || returned > 0; w.busy {
		w.counter.BusyPolls++
	}
}

// expiryBudget is how many flows a poll may expire: more than a burst can
// create, so that expiry keeps up at any rate of new flows.
const expiryBudget = 2 * packet.MaxBurst

// receive takes one burst from a queue through the whole pipeline.
func (w *Worker) receive(rx *Receive, now int64) {
	n := rx.Queue.Rx(unsafe.Pointer(&w.inbox[0]), w.config.Burst)
	if n == 0 {
		return
	}
	w.counter.Received += uint64(n)
	w.counter.Ports[rx.Port].RxPackets += uint64(n)
	w.port = rx.Port
	w.received = w.inbox
	w.burst.N, w.burst.NowNs = n, now
	w.carry(stageExpress)
}

// entry is the stage at which a burst from a ring goes on. Its packets have flows of this
// worker, but for fragments that come home to learn theirs.
func (w *Worker) entry(b *packet.Burst) int {
	if b.Strays && w.reassembly != nil {
		return stageReassembly
	}
	return stageConntrack
}

// carry takes the burst through the stages from first on, and out. One burst in
// SampleEvery is measured stage by stage.
func (w *Worker) carry(first int) {
	b := &w.burst
	if w.bursts++; w.bursts%SampleEvery == 0 {
		w.measure(first)
	} else {
		w.through(first)
	}
	now := b.NowNs
	if w.waits != nil {
		w.passOn(now)
	}
	if w.reassembly != nil {
		w.releaseFragments(now)
	}
}

// through takes the burst through the stages from first on, and out.
func (w *Worker) through(first int) {
	b := &w.burst
	w.short, w.fromQueue = w.snap.mayShorten(), first == stageExpress
	for i := first; i < stageOutput; i = next(i, b) {
		if s := w.stages[i]; s != nil {
			s.Process(b)
		}
	}
	w.short = false // not for the answers to these packets, which are ours
	w.output(b)
}

// next is the stage behind the i-th one. A burst that has departed passes those up to
// Confirm by, an empty one all.
func next(i int, b *packet.Burst) int {
	if b.N == 0 {
		return stageOutput
	}
	if i == stageRoute && b.Departed {
		return stageConfirm
	}
	return i + 1
}

func (w *Worker) measure(first int) {
	b, c := &w.burst, w.config.Clock
	at, n := c.Cycles(), uint64(b.N)
	charge := func(stage int) {
		now := c.Cycles()
		w.counter.Stages[stage].Cycles += now - at
		w.counter.Stages[stage].Packets += n
		at = now
	}
	w.short, w.fromQueue = w.snap.mayShorten(), first == stageExpress
	for i := first; i < stageOutput; i = next(i, b) {
		if s := w.stages[i]; s != nil {
			s.Process(b)
			charge(i)
		}
	}
	w.short = false
	w.output(b)
	charge(stageOutput)
}

// lap records the time since the latest poll began: as that poll's, for the clock is read
// once a poll, and as the gap between the two.
func (w *Worker) lap(start uint64) {
	spent := start - w.last
	w.counter.Cycles += spent
	if w.busy {
		w.counter.BusyCycles += spent
	}
	us := uint64(w.config.Clock.Ns(spent)) / 1000
	w.counter.Gaps[min(bits.Len64(us), GapBuckets-1)]++
	w.last = start
}

func (w *Worker) backlog() (n int) {
	for _, ring := range w.config.Group.inbound(w.config.Index) {
		n += ring.Len()
	}
	if w.queues != nil {
		n += w.queues.Held()
	}
	return n
}

// Table returns the worker's flow table, nil when stateless. Touch it in Do only.
func (w *Worker) Table() *ct.Table { return w.table }

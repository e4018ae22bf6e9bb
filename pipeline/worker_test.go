package pipeline

import (
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"ffwd/ct"
	"ffwd/epoch"
	"ffwd/packet"
	"ffwd/policy"

	"github.com/gopacket/gopacket/layers"
)

// pair is two workers with a port each and software steering.
func pair(t *testing.T, slots int, options ...option) [2]*world {
	group, secret := NewGroup(2, slots), ct.NewSecret()
	var worlds [2]*world
	for i := range worlds {
		worlds[i] = newWorld(t, func(c *Config, w *world) {
			table, err := ct.New(ct.Options{MaxFlows: 4096, Secret: secret})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { table.Close() })
			c.Index, c.Group, c.Table, c.Secret, c.Steered = i, group, table, &secret, []bool{true, true}
			for _, o := range options {
				o(c, w)
			}
		})
	}
	// One pool: an mbuf that is handed over is freed by the other worker.
	worlds[1].worker.config.Pool = worlds[0].pool
	for i := range worlds[1].rx {
		worlds[1].rx[i].pool, worlds[1].tx[i].pool = worlds[0].pool, worlds[0].pool
	}
	worlds[1].pool = worlds[0].pool
	return worlds
}

// CT-1: both directions of a flow end at one worker, whichever port and worker
// they come in by; nothing is lost between the workers.
func TestSteering(t *testing.T) {
	w := pair(t, 1024)
	const flows = 200
	for i := range flows {
		w[0].rx[0].frames = append(w[0].rx[0].frames, frame(ip4(a4, b4, layers.IPProtocolUDP), udp(uint16(i), 2000), data(4)))
		w[1].rx[1].frames = append(w[1].rx[1].frames, back(ip4(b4, a4, layers.IPProtocolUDP), udp(2000, uint16(i)), data(4)))
	}
	for range 20 {
		w[0].worker.poll(true)
		w[1].worker.poll(true)
	}
	var owned [2]uint64
	for i := range w {
		table := w[i].worker.Table()
		owned[i] = table.Flows4
		for at := uint32(1); at != 0; {
			at = table.Walk(at, 100, func(f uint32) bool {
				if info := table.Info(f, 0); info.Packets != [2]uint64{1, 1} {
					t.Errorf("worker %d: %+v", i, info)
				}
				return true
			})
		}
		c, _ := w[i].worker.Counters()
		if c.HandedOver == 0 || c.TakenOver == 0 {
			t.Errorf("worker %d handed over %d and took over %d", i, c.HandedOver, c.TakenOver)
		}
	}
	if owned[0]+owned[1] != flows || owned[0] < flows/4 || owned[1] < flows/4 {
		t.Errorf("flows per worker: %v", owned)
	}
	if sent := len(w[0].tx[1].frames) + len(w[1].tx[1].frames); sent != flows {
		t.Errorf("%d of %d left", sent, flows)
	}
}

// Without flows, too, software spreads packets over the workers, all of a flow to one. FF-1
func TestSteeringWithoutFlows(t *testing.T) {
	w := pair(t, 256, stateless)
	const flows = 100
	for i := range flows {
		w[0].rx[0].frames = append(w[0].rx[0].frames, frame(ip4(a4, b4, layers.IPProtocolUDP), udp(uint16(i), 2000), data(4)))
	}
	w[0].rx[0].frames = append(w[0].rx[0].frames, w[0].rx[0].frames...) // each twice
	for len(w[0].rx[0].frames) > 0 {
		w[0].worker.poll(true)
		w[1].worker.poll(true)
	}
	c, _ := w[0].worker.Counters()
	if c.HandedOver < flows/2 || c.HandedOver > 3*flows/2 || c.HandedOver%2 != 0 {
		t.Errorf("%d of %d packets were handed over", c.HandedOver, 2*flows)
	}
	if left := len(w[0].tx[1].frames) + len(w[1].tx[1].frames); left != 2*flows {
		t.Errorf("%d of %d packets left", left, 2*flows)
	}
}

// FF-1: a ring that is full drops and counts, and recovers by itself.
func TestHandoffOverflow(t *testing.T) {
	w := pair(t, 8)
	for i := range 200 {
		w[0].rx[0].frames = append(w[0].rx[0].frames, frame(ip4(a4, b4, layers.IPProtocolUDP), udp(uint16(i), 2000), data(4)))
	}
	for range 10 {
		w[0].worker.poll(true)
	}
	dropped := w[0].drops(packet.HandoffFull)
	if dropped < 50 || w[0].worker.config.Group.Backlog() != 8 {
		t.Fatalf("%d dropped, %d in the ring", dropped, w[0].worker.config.Group.Backlog())
	}
	w[1].worker.poll(true)
	for i := range 50 {
		w[0].rx[0].frames = append(w[0].rx[0].frames, frame(ip4(a4, b4, layers.IPProtocolUDP), udp(uint16(i), 2000), data(4)))
		w[0].worker.poll(true)
		w[1].worker.poll(true)
	}
	if w[0].drops(packet.HandoffFull) != dropped {
		t.Error("did not recover")
	}
}

// runPair runs both workers until they have received n packets, stops them, and waits
// for their end.
func runPair(t *testing.T, w [2]*world, n uint64) {
	// The tests' pool is not made for two threads.
	var mu sync.Mutex
	group := w[0].worker.config.Group
	var done sync.WaitGroup
	for i := range w {
		c := &w[i].worker.config
		c.Enter, c.Leave = func() error { return nil }, func() {}
		c.Pool = locked{&mu, c.Pool}
		for r := range c.Rx {
			c.Rx[r].Queue = lockedRx{&mu, c.Rx[r].Queue}
			w[i].worker.tx[r].queue = lockedTx{&mu, w[i].worker.tx[r].queue}
		}
		done.Add(1)
		go func() {
			defer done.Done()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if err := w[i].worker.Run(); err != nil {
				t.Error(err)
			}
		}()
	}
	for received := uint64(0); received < n; {
		received = 0
		for i := range w {
			c, _ := w[i].worker.Counters()
			received += c.Received
		}
	}
	group.Stop()
	done.Wait()
	mu.Lock()
	defer mu.Unlock()
}

// A stop loses nothing: what is between the workers is carried to its end.
// Requests are answered before, during and after.
func TestStopDrains(t *testing.T) {
	w := pair(t, 1024)
	for i := range 2000 {
		for _, world := range w {
			world.rx[0].frames = append(world.rx[0].frames, frame(ip4(a4, b4, layers.IPProtocolUDP), udp(uint16(i), 2000), data(4)))
		}
	}
	runPair(t, w, 500)
	group := w[0].worker.config.Group
	if n := group.Backlog(); n != 0 {
		t.Errorf("%d packets stayed in the rings", n)
	}
	ran := false
	w[0].worker.Do(func() { ran = true })
	if !ran {
		t.Error("a stopped worker does not answer")
	}
}

// A worker that cannot enter its thread says so; no other receives what it would have to
// hand over to one that is not there.
func TestEnterFails(t *testing.T) {
	w := pair(t, 64)
	for i := range 40 {
		w[1].rx[0].frames = append(w[1].rx[0].frames, frame(ip4(a4, b4, layers.IPProtocolUDP), udp(uint16(i), 2000), data(4)))
	}
	left := false
	w[0].worker.config.Enter = func() error { return errEnter }
	w[1].worker.config.Enter, w[1].worker.config.Leave = func() error { return nil }, func() { left = true }
	ended := make(chan error)
	go func() { ended <- w[1].worker.Run() }()
	if err := w[0].worker.Run(); err != errEnter {
		t.Error(err)
	}
	if err := <-ended; err != nil || !left {
		t.Errorf("the other one: %v, left its thread: %v", err, left)
	}
	if n := w[0].worker.config.Group.Backlog(); n != 0 || len(w[1].rx[0].frames) != 40 {
		t.Errorf("%d packets in rings, %d not received", n, len(w[1].rx[0].frames))
	}
}

func TestBurstBounds(t *testing.T) {
	for _, burst := range []int{0, -1, packet.MaxBurst + 1} {
		if _, err := NewWorker(Config{Burst: burst}); err == nil {
			t.Errorf("a burst of %d was accepted", burst)
		}
	}
}

// A poll allocates nothing, whatever it does: forward, create flows, fragment,
// answer, drop, expire, hold, translate.
func TestNoAllocation(t *testing.T) {
	published := natRule(policy.DNAT, b4, 53)
	published.Dst = []netip.Prefix{netip.PrefixFrom(v4, 32)}
	for name, rules := range map[string][]policy.Rule{"plain": nil, "translated": {published, natRule(policy.Masquerade, netip.Addr{})}} {
		t.Run(name, func(t *testing.T) { noAllocation(t, withRules(rules...)) })
	}
}

func noAllocation(t *testing.T, rules option) {
	w := newWorld(t, func(c *Config, _ *world) { c.Resolver = quietResolver{} }, rules)
	w.setMTU(576)
	fresh := datagramOf(true, a4, v4, 1, 2)
	expired := ip4(a4, b4, layers.IPProtocolUDP)
	expired.TTL = 1
	frames := [][]byte{udp4(10), udp6(10), udp4(1000), udp6(1000), frame(expired, udp(1, 2), data(4)), tcpFrame("S"), stranger4(1), stranger6(1), {1, 2, 3},
		fresh, datagramOf(true, a4, v4, 1, 3, make([]byte, 1000)...)}
	w.rx[0].frames = slices.Repeat(frames, 10)
	w.worker.poll(true)
	rx := w.worker.config.Rx[0].Queue.(*testRx)
	quiet := &preloaded{pool: w.pool}
	w.worker.config.Rx[0].Queue = quiet
	w.worker.tx[0].queue, w.worker.tx[1].queue = freeing{w.pool}, freeing{w.pool}
	n := testing.AllocsPerRun(100, func() {
		fresh[35]++ // another flow
		for _, f := range frames {
			quiet.frame = f
			w.worker.poll(true)
		}
		w.worker.review(testClock.Now() + holdNs + 1)
	})
	w.worker.config.Rx[0].Queue = rx
	w.worker.review(testClock.Now() + 3*holdNs)
	w.worker.flush()
	if n != 0 {
		t.Errorf("%.1f allocations per poll", n)
	}
}

// CT-9: what control asks is done between bursts; the times between polls are counted.
func TestPollGaps(t *testing.T) {
	w := newWorld(t)
	for range 100 {
		w.worker.poll(true)
	}
	c, _ := w.worker.Counters()
	if n := sum(c.Gaps[:]); n != 100 || c.Polls != 100 {
		t.Errorf("%d gaps in %d polls", n, c.Polls)
	}
}

// FF-12: counters of several workers add up, field by field.
func TestCountersAdd(t *testing.T) {
	w := newWorld(t)
	w.send(0, udp4(1), udp4(2000), tcpFrame("S"), []byte{1})
	c, _ := w.worker.Counters()
	var twice Counters
	twice.Add(&c)
	twice.Add(&c)
	if twice.Received != 2*c.Received || twice.Dropped() != 2*c.Dropped() || twice.Fragments != 2*c.Fragments ||
		twice.Ports[0].RxBytes != 2*c.Ports[0].RxBytes || twice.Ports[1].TxPackets != 2*c.Ports[1].TxPackets ||
		sum(twice.Gaps[:]) != 2*sum(c.Gaps[:]) || twice.Polls != 2*c.Polls || twice.Cycles != 2*c.Cycles || c.Received != 4 {
		t.Errorf("%+v is not twice %+v", twice, c)
	}
}

// An offline worker holds no memory back.
func TestWorkerIsOfflineAfterRun(t *testing.T) {
	var d epoch.Domain
	w := newWorld(t, func(c *Config, _ *world) { c.Epoch = d.Join() })
	w.worker.config.Enter, w.worker.config.Leave = func() error { return nil }, func() {}
	w.worker.config.Group.Stop()
	w.worker.Run()
	freed := false
	d.Retire(func() { freed = true })
	if d.Reclaim(); !freed {
		t.Error("memory waits for a worker that has ended")
	}
}

// lapQueue notes when each poll began, as its worker has it.
type lapQueue struct {
	*testRx
	w      *Worker
	starts []uint64
}

func (q *lapQueue) Rx(dst unsafe.Pointer, max int) int {
	q.starts = append(q.starts, q.w.last)
	return q.testRx.Rx(dst, max)
}

// A poll's time is its own, from its beginning to that of the next: busy is that of polls which
// found packets. FF-12
func TestBusyTimeIsThatOfPollsWithPackets(t *testing.T) {
	w := newWorld(t)
	q := &lapQueue{testRx: w.rx[0], w: w.worker}
	w.worker.config.Rx[0].Queue = q
	var busy uint64
	found := []bool{false, true, true, false, true, false, false}
	w.worker.poll(true) // whose time is taken when the first one begins
	w.worker.poll(true)
	before, _ := w.worker.Counters()
	q.starts = q.starts[:0]
	for _, packets := range found {
		if packets {
			q.frames = append(q.frames, udp4(18))
		}
		w.worker.poll(true)
	}
	w.worker.poll(true)
	for i, packets := range found {
		if packets {
			busy += q.starts[i+1] - q.starts[i]
		}
	}
	after, _ := w.worker.Counters()
	if got := after.BusyCycles - before.BusyCycles; got != busy || busy == 0 {
		t.Errorf("%d cycles were busy, want %d", got, busy)
	}
	if got, want := after.Polls-before.Polls, uint64(len(found)+1); got != want || after.BusyPolls-before.BusyPolls != 3 {
		t.Errorf("%d polls, %d of them busy, want %d and 3", got, after.BusyPolls-before.BusyPolls, want)
	}
}

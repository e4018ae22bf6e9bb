package pipeline

import (
	"bytes"
	stdcontext "context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"ffwd/epoch"
	"ffwd/fib"
	"ffwd/packet"
	"ffwd/policy"
	"ffwd/queue"
	"ffwd/queue/client"

	"github.com/gopacket/gopacket/layers"
)

// queueWorld is a world with verdict queues 0 and 1, and a listener for queue 0.
type queueWorld struct {
	*world
	set      *queue.Set
	queues   *queue.Worker
	listener *client.Listener
	path     string // of the socket
	domain   epoch.Domain
}

func newQueueWorld(t *testing.T, rules ...policy.Rule) *queueWorld {
	t.Helper()
	return newQueueWorldWith(t, withRules(rules...))
}

func newQueueWorldWith(t *testing.T, others ...option) *queueWorld {
	t.Helper()
	q := &queueWorld{}
	var options []queue.Options
	for n := range uint16(2) {
		options = append(options, queue.Options{Number: n, MaxPackets: 128, MaxBytes: 1 << 20, Timeout: time.Hour, Stall: time.Hour})
	}
	var err error
	if q.set, err = queue.NewSet(options, 1); err != nil {
		t.Fatal(err)
	}
	q.queues = q.set.NewWorker(0, [2]uint64{1, 2})
	q.world = newWorld(t, append(others, func(c *Config, _ *world) { c.Queues = q.queues })...)
	q.path = filepath.Join(t.TempDir(), "q")
	socket, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: q.path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	server := queue.Serve(q.set, socket, &q.domain, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if q.listener, err = client.Open(t.Context(), q.path, 0); err != nil {
		t.Fatal(err)
	}
	q.until(func() bool { return q.set.Lookup(0).Listening() })
	q.worker.poll(true)
	t.Cleanup(func() {
		q.listener.Close()
		server.Close()
		q.queues.Drain()
		for q.queues.Held() > 0 {
			q.worker.poll(false)
		}
		q.checkOutcomes()
	})
	return q
}

// checkOutcomes: every packet that a queue was offered has one outcome.
func (q *queueWorld) checkOutcomes() {
	for i := range 2 {
		s, sum := q.stats(i), uint64(0)
		for o, n := range s.Outcomes {
			if packet.QueueOutcome(o) != packet.OutcomeReevaluated {
				sum += n
			}
		}
		if s.Offered != sum+uint64(s.Packets) {
			q.t.Errorf("queue %d: %d packets offered, %v", i, s.Offered, s.Outcomes)
		}
	}
}

func (q *queueWorld) stats(i int) (s queue.Stats) {
	q.queues.Stats(i, &s)
	return s
}

func (q *queueWorld) outcome(o packet.QueueOutcome) uint64 { s := q.stats(0); return s.Outcomes[o] }

func (q *queueWorld) until(done func() bool) {
	q.t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(50 * time.Microsecond) {
		if time.Now().After(end) {
			q.t.Fatal("waited in vain")
		}
	}
}

// receive returns the next n packets for the listener.
func (q *queueWorld) receive(n int) []client.Packet {
	q.t.Helper()
	ctx, cancel := stdcontext.WithTimeout(stdcontext.Background(), 5*time.Second)
	defer cancel()
	var all []client.Packet
	for len(all) < n {
		packets := make([]client.Packet, n-len(all))
		got, err := q.listener.Receive(ctx, packets)
		if err != nil {
			q.t.Fatalf("%v after %d of %d packets", err, len(all), n)
		}
		for _, p := range packets[:got] {
			p.Data = bytes.Clone(p.Data)
			all = append(all, p)
		}
	}
	return all
}

// decide gives a verdict, polls, and returns what left by each port.
func (q *queueWorld) decide(p client.Packet, v client.Verdict) [2][][]byte {
	q.t.Helper()
	if err := q.listener.Decide(&p, v); err != nil {
		q.t.Fatal(err)
	}
	return q.turn()
}

func (q *queueWorld) turn() (out [2][][]byte) {
	q.worker.poll(true)
	for i, tx := range q.tx {
		out[i], tx.frames = tx.frames, nil
	}
	return out
}

var (
	accept   = client.Verdict{Action: client.Accept}
	drop     = client.Verdict{Action: client.Drop}
	queueAll = policy.Rule{Action: policy.Queue, Protocol: policy.AnyProtocol, States: policy.StateSet(31)}
)

func queueTo(hook policy.Hook, to policy.QueueTo) policy.Rule {
	r := queueAll
	r.Hook, r.Queue = hook, to
	return r
}

func dropRule(hook policy.Hook) policy.Rule {
	return policy.Rule{Hook: hook, Action: policy.Drop, Protocol: policy.AnyProtocol, States: policy.StateSet(31)}
}

// A packet that waits is nowhere else; accepted, it leaves as it would have without a
// queue, from either hook, and its flow begins only then. Source: VQ-1, VQ-2, CT-2
func TestQueueAccept(t *testing.T) {
	plain := newWorld(t)
	for name, f := range map[string][]byte{"udp4": udp4(100), "udp6": udp6(100)} {
		want := plain.send(0, f)[1]
		for _, hook := range []policy.Hook{policy.HookIn, policy.HookOut} {
			q := newQueueWorld(t, queueTo(hook, policy.QueueTo{}))
			if out := q.send(0, f); len(out[1]) != 0 || q.queues.Held() != 1 {
				t.Fatalf("%s, hook %s: %d frames left", name, hook, len(out[1]))
			}
			q.checkBalance()
			p := q.receive(1)[0]
			if !bytes.Equal(p.Data, f[14:]) || p.HookName() != hook.String() || p.StateName() != "new" || p.InPort != ifLAN {
				t.Errorf("%s, hook %s: %+v", name, hook, p)
			}
			if stats := q.worker.table.Stats; stats.Flows4+stats.Flows6 != 0 {
				t.Error("a flow before the packet left")
			}
			out := q.decide(p, accept)[1]
			if len(out) != 1 || !bytes.Equal(out[0], want[0]) {
				t.Errorf("%s, hook %s: left %x, want %x", name, hook, out, want)
			}
			if stats := q.worker.table.Stats; stats.Flows4+stats.Flows6 != 1 || q.outcome(packet.OutcomeConfirmed) != 1 {
				t.Error("no flow after the packet left")
			}
		}
	}
}

// Packets that nobody decides leave or stay by their rule. Source: VQ-1, VQ-5
func TestQueueWithoutListener(t *testing.T) {
	for _, bypass := range []bool{false, true} {
		q := newQueueWorld(t, queueTo(policy.HookIn, policy.QueueTo{First: 1, Last: 1, Bypass: bypass}),
			queueTo(policy.HookOut, policy.QueueTo{First: 1, Last: 1, Bypass: true}))
		n := len(q.send(0, udp4(1), udp4(2), udp4(3))[1])
		if bypass && (n != 3 || q.worker.table.Flows4 != 1) || !bypass && (n != 0 || q.drops(packet.QueueRefused) != 3) {
			t.Errorf("bypass %t: %d frames, %d refused", bypass, n, q.drops(packet.QueueRefused))
		}
	}
	q := newQueueWorld(t, queueTo(policy.HookIn, policy.QueueTo{Bypass: true}))
	q.send(0, udp4(1), udp4(2))
	q.listener.Close()
	q.until(func() bool { return !q.set.Lookup(0).Listening() })
	out := q.turn()
	if len(out[1]) != 2 || q.outcome(packet.OutcomeBypassed) != 2 {
		t.Errorf("the listener went, %d frames left", len(out[1]))
	}
}

// Source: VQ-2
func TestQueueDropAndTake(t *testing.T) {
	q := newQueueWorld(t, queueTo(policy.HookIn, policy.QueueTo{}))
	q.send(0, udp4(1), udp4(2), udp4(3))
	p := q.receive(3)
	q.decide(p[0], drop)
	q.decide(p[1], client.Verdict{Action: client.Take})
	if out := q.decide(p[2], accept); len(out[1]) != 1 {
		t.Errorf("%d frames left", len(out[1]))
	}
	c, _ := q.worker.Counters()
	if c.Drops[packet.QueueVerdict] != 1 || c.Punts[packet.PuntTaken] != 1 || q.outcome(packet.OutcomeTaken) != 1 || q.outcome(packet.OutcomeDropped) != 1 {
		t.Errorf("%d dropped, %d taken", c.Drops[packet.QueueVerdict], c.Punts[packet.PuntTaken])
	}
}

// The resolver's case: the first packets of one flow wait at once, and all leave as one
// flow, whether they come back together or not, or the flow was begun by a packet that
// did not wait. Source: VQ-3, CT-6
func TestQueuedPacketsJoinOneFlow(t *testing.T) {
	for _, together := range []bool{true, false} {
		for name, f := range map[string]func(int) []byte{"udp4": udp4, "udp6": udp6} {
			q := newQueueWorld(t, queueTo(policy.HookIn, policy.QueueTo{}))
			q.send(0, f(1))
			q.send(0, f(2), f(3))
			p := q.receive(3)
			left := 0
			for i := range p {
				if err := q.listener.Decide(&p[i], accept); err != nil {
					t.Fatal(err)
				}
				if !together {
					left += len(q.turn()[1])
				}
			}
			left += len(q.turn()[1])
			stats := q.worker.table.Stats
			if left != 3 || stats.Flows4+stats.Flows6 != 1 || stats.Created != 1 || stats.Joined != [packet.NumWaits]uint64{packet.WaitQueue: 2} || q.outcome(packet.OutcomeJoined) != 2 || q.outcome(packet.OutcomeConfirmed) != 1 {
				t.Errorf("%s, together %t: %d left, %+v, %d joined", name, together, left, stats, q.outcome(packet.OutcomeJoined))
			}
		}
	}
}

// A flow that ended while its packet waited is not found by its old place, which may be
// another flow's. Source: VQ-3, VQ-4
func TestQueuedPacketOfAFlowThatEnded(t *testing.T) {
	q := newQueueWorld(t, queueTo(policy.HookIn, policy.QueueTo{}))
	q.setRules(2, policy.Defaults{In: policy.Accept, Out: policy.Accept})
	q.send(0, udp4(1)) // the flow
	q.setRules(3, policy.Defaults{In: policy.Accept, Out: policy.Accept}, queueTo(policy.HookIn, policy.QueueTo{}))
	q.send(0, udp4(2))
	p := q.receive(1)
	q.worker.table.Delete(1)
	q.setRules(4, policy.Defaults{In: policy.Accept, Out: policy.Accept})
	other := frame(ip4(a4, b4, layers.IPProtocolUDP), udp(7, 8), data(5))
	q.send(0, other) // takes the entry
	if out := q.decide(p[0], accept); len(out[1]) != 1 {
		t.Error("the packet is lost")
	}
	if n := q.worker.table.Flows4; n != 2 {
		t.Errorf("%d flows, want the other and a new one", n)
	}
	if i := q.worker.table.Info(1, 0); i.Packets != [2]uint64{1, 0} {
		t.Errorf("the other flow has packets %v", i.Packets)
	}
}

// Established flows count their packet once, and it keeps its direction. Source: VQ-3
func TestQueuedReply(t *testing.T) {
	q := newQueueWorld(t)
	q.send(0, udp4(1))
	q.setRules(2, policy.Defaults{In: policy.Accept, Out: policy.Accept}, queueTo(policy.HookIn, policy.QueueTo{}))
	q.send(1, back(ip4(b4, a4, layers.IPProtocolUDP), udp(2000, 1000), data(9)))
	p := q.receive(1)
	if !p[0].IsReply() || p[0].StateName() != "established" || p[0].Flow == 0 {
		t.Errorf("%+v", p[0])
	}
	mark := uint32(99)
	if out := q.decide(p[0], client.Verdict{Action: client.Accept, CtMark: &mark}); len(out[0]) != 1 {
		t.Fatal("the packet is lost")
	}
	if i := q.worker.table.Info(1, 0); i.Packets != [2]uint64{1, 1} || i.Mark != 99 {
		t.Errorf("%+v", i)
	}
}

// What changed while a packet waited is asked again. Source: VQ-4
func TestQueuedPacketIsJudgedAgain(t *testing.T) {
	defaults := policy.Defaults{In: policy.Accept, Out: policy.Accept}
	to0 := policy.QueueTo{}
	for name, c := range map[string]struct {
		hook       policy.Hook
		change     func(q *queueWorld)
		out        [2]int
		outcome    packet.QueueOutcome
		reevaluted uint64
	}{
		"nothing changed":       {policy.HookIn, func(*queueWorld) {}, [2]int{0, 1}, packet.OutcomeConfirmed, 0},
		"nothing changed, out":  {policy.HookOut, func(*queueWorld) {}, [2]int{0, 1}, packet.OutcomeConfirmed, 0},
		"rules now drop at in":  {policy.HookIn, func(q *queueWorld) { q.setRules(2, defaults, dropRule(policy.HookIn)) }, [2]int{}, packet.OutcomeDropped, 1},
		"rules drop at in, out": {policy.HookOut, func(q *queueWorld) { q.setRules(2, defaults, dropRule(policy.HookIn)) }, [2]int{}, packet.OutcomeDropped, 1},
		"rules now drop at out": {policy.HookIn, func(q *queueWorld) { q.setRules(2, defaults, dropRule(policy.HookOut)) }, [2]int{}, packet.OutcomeDropped, 1},
		"rules queue again":     {policy.HookIn, func(q *queueWorld) { q.setRules(2, defaults, queueTo(policy.HookIn, to0)) }, [2]int{0, 1}, packet.OutcomeConfirmed, 1},
		"the route is gone":     {policy.HookIn, func(q *queueWorld) { q.cutWAN() }, [2]int{1, 0}, packet.OutcomeStale, 0},
		"the route is gone, out": {policy.HookOut, func(q *queueWorld) {
			q.cutWAN() // the answer is an ICMP error
		}, [2]int{1, 0}, packet.OutcomeStale, 0},
		"another way out": {policy.HookOut, func(q *queueWorld) {
			must(q.t, q.table.Add(fib.Route{Prefix: netip.MustParsePrefix("10.2.2.2/32"), Hops: []fib.Hop{{Via: netip.MustParseAddr("10.7.7.2"), Iface: ifTag, Weight: 1}}}))
		}, [2]int{1, 0}, packet.OutcomeConfirmed, 1},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueueWorld(t, queueTo(c.hook, to0))
			q.send(0, udp4(100))
			p := q.receive(1)
			c.change(q)
			out := q.decide(p[0], accept)
			if got := [2]int{len(out[0]), len(out[1])}; got != c.out {
				t.Errorf("%v frames left, want %v", got, c.out)
			}
			if q.outcome(c.outcome) != 1 || q.outcome(packet.OutcomeReevaluated) != c.reevaluted {
				t.Errorf("outcomes %v, want %s and %d reevaluated", q.stats(0).Outcomes, c.outcome, c.reevaluted)
			}
		})
	}
}

// A packet that its listener let pass, and that waits for its next hop's link address
// now, has gone on: it is not stale. VQ-4, SP-3
func TestQueuedPacketAwaitsItsNeighbour(t *testing.T) {
	q := newQueueWorldWith(t, withRules(queueTo(policy.HookIn, policy.QueueTo{})), func(c *Config, _ *world) { c.Resolver = &testResolver{} })
	q.send(0, stranger4(1))
	p := q.receive(1)
	if out := q.decide(p[0], accept); len(out[1]) != 0 || q.outcome(packet.OutcomeConfirmed) != 1 {
		t.Fatalf("%d frames left, outcomes %v", len(out[1]), q.stats(0).Outcomes)
	}
	q.know(ifWAN, s4, macS)
	if out := q.later(1e6); len(out[1]) != 1 {
		t.Fatalf("%d frames left", len(out[1]))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// cutWAN takes the way to host B.
func (q *queueWorld) cutWAN() {
	must(q.t, q.table.Add(fib.Route{Prefix: netip.MustParsePrefix("10.2.2.2/32"), Type: fib.RouteUnreachable}))
	must(q.t, q.table.DeleteNeighbour(ifWAN, b4))
}

// Divert goes on at the next rule, queue behind the hook, repeat at the first rule.
// Source: VQ-2, VQ-6
func TestQueueGoesOn(t *testing.T) {
	marked := queueTo(policy.HookIn, policy.QueueTo{})
	marked.Mark = policy.Bits{Value: 0, Mask: 1}
	mark := uint32(1)
	for name, c := range map[string]struct {
		rule policy.Rule
		v    client.Verdict
		left int
	}{
		"queue":       {queueTo(policy.HookIn, policy.QueueTo{}), accept, 1},
		"divert":      {queueTo(policy.HookIn, policy.QueueTo{Divert: true}), accept, 0},
		"divert, out": {queueTo(policy.HookOut, policy.QueueTo{Divert: true}), accept, 0},
		"repeat":      {marked, client.Verdict{Action: client.Repeat, Mark: &mark}, 0}, // not queued again, and dropped
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueueWorld(t, c.rule, dropRule(c.rule.Hook))
			q.send(0, udp4(1))
			p := q.receive(1)
			if out := q.decide(p[0], c.v); len(out[1]) != c.left {
				t.Errorf("%d frames left", len(out[1]))
			}
		})
	}
	t.Run("repeat for ever", func(t *testing.T) {
		q := newQueueWorld(t, queueTo(policy.HookIn, policy.QueueTo{}))
		q.send(0, udp4(1))
		for range 5 {
			q.decide(q.receive(1)[0], client.Verdict{Action: client.Repeat})
		}
		if out := q.decide(q.receive(1)[0], accept); len(out[1]) != 1 || q.outcome(packet.OutcomeMoved) != 5 {
			t.Errorf("%d frames left, %v", len(out[1]), q.stats(0).Outcomes)
		}
	})
	t.Run("bypassed divert", func(t *testing.T) {
		to := queueTo(policy.HookIn, policy.QueueTo{First: 1, Last: 1, Bypass: true, Divert: true})
		q := newQueueWorld(t, to, to, to, dropRule(policy.HookIn))
		if out := q.send(0, udp4(1)); len(out[1]) != 0 || q.drops(packet.PolicyIn) != 1 {
			t.Errorf("%d frames left", len(out[1]))
		}
	})
}

// Source: VQ-6
func TestTee(t *testing.T) {
	r := queueTo(policy.HookIn, policy.QueueTo{})
	r.Action = policy.Tee
	q := newQueueWorld(t, r)
	for i := range 3 { // the flow's cached decision must not end the copies
		if out := q.send(0, udp4(100+i)); len(out[1]) != 1 {
			t.Error("the packet is lost")
		}
		if p := q.receive(1)[0]; !p.IsCopy() || !bytes.Equal(p.Data, udp4(100 + i)[14:]) {
			t.Errorf("%+v", p)
		}
	}
}

// A rule may spread flows over queues; each flow stays in its own. Source: VQ-1
func TestQueueRange(t *testing.T) {
	to := policy.QueueTo{First: 3, Last: 10}
	seen := map[uint16]int{}
	for i := range 8000 {
		hash := uint64(i) * 0x9e3779b97f4a7c15 >> 7
		n := to.Of(hash)
		if n != to.Of(hash) {
			t.Fatal("not one queue")
		}
		seen[n]++
	}
	for n := to.First; n <= to.Last; n++ {
		if seen[n] < 800 || seen[n] > 1200 {
			t.Errorf("queue %d has %d of 8000 flows", n, seen[n])
		}
	}
	if len(seen) != 8 {
		t.Error(fmt.Sprint(seen))
	}
	all := policy.QueueTo{First: 0, Last: 65535}
	if n := all.Of(1<<32 - 1); n != 65535 {
		t.Error(n)
	}
}

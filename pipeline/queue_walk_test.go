package pipeline

import (
	"bytes"
	stdcontext "context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"ffwd/ct"
	"ffwd/fib"
	"ffwd/packet"
	"ffwd/policy"
	"ffwd/queue/client"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// queueWalk is a random walk: packets of several flows through queue 0, whose listener
// decides out of order, goes and comes back, while rules, routes and flows change.
type queueWalk struct {
	*queueWorld
	r          *rand.Rand
	policies   *ct.Policies
	waiting    []client.Packet // that the listener has seen and not decided
	listening  bool
	generation uint32
	overtaken  bool // rules changed while packets waited: later ones may pass them
	sent, left [4]uint32
	transmits  int
}

// numbered is packet n of a flow.
func numbered(flow int, n uint32) []byte {
	return frame(ip4(a4, b4, layers.IPProtocolUDP), udp(uint16(1000+flow), 2000), gopacket.Payload(binary.BigEndian.AppendUint32(nil, n)))
}

var (
	viaTag  = fib.Route{Prefix: netip.MustParsePrefix("10.2.2.2/32"), Hops: []fib.Hop{{Via: netip.MustParseAddr("10.7.7.2"), Iface: ifTag, Weight: 1}}}
	severed = fib.Route{Prefix: netip.MustParsePrefix("10.2.2.2/32"), Type: fib.RouteUnreachable}
)

// walkRules are what the walk changes between. The first gives flows a timeout policy.
func walkRules() [][]policy.Rule {
	in := queueTo(policy.HookIn, policy.QueueTo{Bypass: true})
	in.Timeout = 1
	out := queueTo(policy.HookOut, policy.QueueTo{})
	return [][]policy.Rule{{in}, {in, dropRule(policy.HookOut)}, {out}, {in, out}, {}}
}

// step does one thing at random.
func (q *queueWalk) step() {
	switch q.r.IntN(12) {
	case 0, 1, 2, 3:
		for range 1 + q.r.IntN(20) {
			flow := q.r.IntN(len(q.sent))
			q.sent[flow]++
			q.rx[0].frames = append(q.rx[0].frames, numbered(flow, q.sent[flow]))
		}
	case 4, 5, 6, 7:
		q.decideSome()
	case 8:
		q.generation++
		sets := walkRules()
		q.setRules(q.generation, policy.Defaults{In: policy.Accept, Out: policy.Accept}, sets[q.r.IntN(len(sets))]...)
		q.overtaken = true
	case 9:
		switch q.r.IntN(3) {
		case 0:
			must(q.t, q.table.Add(severed))
		case 1:
			must(q.t, q.table.Add(viaTag))
		default:
			q.table.Delete(severed.Prefix) // it may not be there
		}
	case 10:
		q.endFlows()
	case 11:
		q.comeOrGo()
	}
}

func (q *queueWalk) endFlows() {
	var flows []uint32
	q.worker.table.Walk(0, 1<<20, func(i uint32) bool { flows = append(flows, i); return true })
	for _, i := range flows {
		q.worker.table.Delete(i)
	}
}

func (q *queueWalk) comeOrGo() {
	q.waiting = nil // their ids are nothing to a listener that comes
	if q.listening {
		q.listener.Close()
		q.until(func() bool { return !q.set.Lookup(0).Listening() })
	} else {
		q.until(func() bool { // the queue is free when the memory of the last one is gone
			q.worker.poll(false) // it lets go, and no other thread has the memory
			q.domain.Reclaim()
			l, err := client.Open(q.t.Context(), q.path, 0)
			if err == nil {
				q.listener = l
			}
			return err == nil
		})
		q.until(func() bool { return q.set.Lookup(0).Listening() })
	}
	q.listening = !q.listening
}

// decideSome looks at what waits and decides part of it, in any order.
func (q *queueWalk) decideSome() {
	if !q.listening {
		return
	}
	ctx, cancel := stdcontext.WithTimeout(q.t.Context(), time.Millisecond)
	defer cancel()
	packets := make([]client.Packet, 64)
	for n, err := q.listener.Receive(ctx, packets); err == nil; n, err = q.listener.Receive(ctx, packets) {
		for _, p := range packets[:n] {
			p.Data = bytes.Clone(p.Data)
			q.waiting = append(q.waiting, p)
		}
	}
	q.r.Shuffle(len(q.waiting), func(i, j int) { q.waiting[i], q.waiting[j] = q.waiting[j], q.waiting[i] })
	n := q.r.IntN(len(q.waiting) + 1)
	for _, p := range q.waiting[:n] {
		v := [...]client.Verdict{accept, accept, accept, drop, {Action: client.Take}, {Action: client.Accept, Packet: p.Data}}[q.r.IntN(6)]
		if err := q.listener.Decide(&p, v); err != nil {
			q.t.Fatal(err)
		}
	}
	q.waiting = q.waiting[n:]
}

// check looks at what left, and at the books: the conservation equation with what waits
// in queues, and one mbuf for each packet that waits.
func (q *queueWalk) check() {
	for _, tx := range q.tx {
		for _, f := range tx.frames {
			if binary.BigEndian.Uint16(f[12:]) == 0x8100 {
				f = f[4:]
			}
			if f[14+9] == 17 { // and no answer to the sender
				q.leaves(int(binary.BigEndian.Uint16(f[34:]))-1000, binary.BigEndian.Uint32(f[42:]))
			}
		}
		tx.frames = nil
	}
	c, _ := q.worker.Counters()
	waits := uint64(q.queues.Held())
	if in, gone := c.Received+c.Created, c.Transmitted+c.Dropped()+c.Punted(); in != gone+c.Held || c.Held != waits {
		q.t.Fatalf("%d packets in, %d gone, %d held, %d wait", in, gone, c.Held, waits)
	}
	if n := len(q.pool.isOut); uint64(n) != waits {
		q.t.Fatalf("%d mbufs are out, %d packets wait", n, waits)
	}
	if waits == 0 {
		q.overtaken = false
	}
}

// leaves checks the order of a flow.
func (q *queueWalk) leaves(flow int, n uint32) {
	if n <= q.left[flow] && !q.overtaken {
		q.t.Fatalf("packet %d of flow %d left behind %d", n, flow, q.left[flow])
	}
	q.left[flow] = max(n, q.left[flow])
	q.transmits++
}

// Whatever comes, waits and is decided in whatever order, while listeners, rules, routes
// and flows come and go: after each step every packet and mbuf is accounted for, each flow
// leaves in its order, and in the end nothing holds the flows' timeout policy.
// Source: VQ-1, VQ-3, VQ-4, VQ-5, FF-12, TO-4
func TestQueueWalk(t *testing.T) {
	transmits := 0
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			q := &queueWalk{r: rand.New(rand.NewPCG(seed, 0)), listening: true, generation: 1}
			q.queueWorld = newQueueWorldWith(t, withRegistry(&q.policies, ct.Kind{Family: 4, Protocol: packet.ProtoUDP}), withRules(walkRules()[0]...))
			for range 300 {
				q.step()
				for more := true; more; more = len(q.rx[0].frames) > 0 {
					q.worker.poll(true)
				}
				q.check()
			}
			q.queues.Drain()
			for q.queues.Held() > 0 {
				q.worker.poll(false)
			}
			q.check()
			q.endFlows()
			if s := q.policies.List()[0]; s.Flows != 0 || s.Queued != 0 {
				t.Errorf("the policy is held: %+v", s)
			}
			transmits += q.transmits
		})
	}
	if transmits < 1000 {
		t.Errorf("no more than %d packets left: the walk stands", transmits)
	}
}

// What the queue's walk shows of the first packets of a flow holds without a queue: met in
// one burst, all of them leave, as one flow. Source: CT-6
func TestFirstPacketsInOneBurst(t *testing.T) {
	for name, f := range map[string]func(int) []byte{"udp4": udp4, "udp6": udp6} {
		w := newWorld(t)
		if out := w.send(0, f(30), f(31), f(32)); len(out[1]) != 3 {
			t.Errorf("%s: %d packets left", name, len(out[1]))
		}
		if s := w.worker.table.Stats; s.Created != 1 || s.Flows4+s.Flows6 != 1 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

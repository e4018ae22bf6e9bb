package queue

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"ffwd/packet"
	"ffwd/queue/client"
)

// Packets of one flow leave in the order they came, whatever the order of verdicts, and
// no flow waits for another: a model says who may leave. Source: VQ-1
func TestOrder(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := newBed(t, 1, plain(0))
		l := b.listen(0)
		type state struct {
			flow          int
			decided, gone bool
			drop          bool
		}
		var model []state
		var packets []client.Packet
		for len(model) < 40 {
			flow := r.IntN(6) // 0 has no key: its addresses decide
			model = append(model, state{flow: flow})
			b.push(b.workers[0], b.packet(flow, len(model)-1, 60), in0)
		}
		b.poll()
		packets = b.receive(l, 40)
		for _, i := range r.Perm(40) {
			model[i].decided, model[i].drop = true, r.IntN(4) == 0
			v := client.Verdict{Action: client.Accept}
			if model[i].drop {
				v.Action = client.Drop
			}
			b.decide(l, &packets[i], v)
			var want []int
			for j := range model {
				blocked := false
				for k := range j {
					blocked = blocked || model[k].flow == model[j].flow && !model[k].gone
				}
				if m := &model[j]; m.decided && !m.gone && (m.drop || !blocked) {
					m.gone = true
					want = append(want, j)
				}
			}
			var got []int
			for _, p := range b.poll() {
				got = append(got, number(p.Network()))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("seed %d: after the verdict for %d left %v, want %v", seed, i, got, want)
			}
		}
	}
}

// Where more is decided than one poll takes, queues take turns. Source: VQ-1
func TestQueuesTakeTurns(t *testing.T) {
	b := newBed(t, 1, plain(0), plain(1))
	for number, l := range []*client.Listener{b.listen(0), b.listen(1)} {
		number := uint16(number)
		for i := range 20 {
			b.push(b.workers[0], b.packet(i, i, 60), packet.Queueing{Queue: number})
		}
		b.workers[0].Flush(b.nowNs)
		for _, p := range b.receive(l, 20) {
			b.decide(l, &p, client.Verdict{Action: client.Accept})
		}
	}
	left := [2]int{}
	for range 4 {
		for _, r := range b.release(b.workers[0], 5) {
			left[r.Queue]++
		}
	}
	if left != [2]int{10, 10} {
		t.Errorf("%v packets left in four polls, want half of each queue", left)
	}
}

// Packets without a flow keep the order of their addresses, and nobody can choose addresses
// by which others' packets wait for a verdict about theirs. Source: VQ-1
func TestOrderOfChosenAddresses(t *testing.T) {
	b := newBed(t, 1, plain(0))
	l := b.listen(0)
	const fifth = 0xcccccccccccccccd // of 1, modulo 2^64
	at := func(number int, first uint64) packet.Packet {
		p := b.packet(0, number, 60)
		p.Flags = packet.IsIPv6
		h := p.IPv6()
		// Of all of these 3*first ^ 5*second is the same.
		binary.LittleEndian.PutUint64(h[8:], first)
		binary.LittleEndian.PutUint64(h[16:], (first*3^1234567)*fifth)
		return p
	}
	b.push(b.workers[0], at(0, 1), in0)
	b.push(b.workers[0], at(1, 2), in0)
	b.push(b.workers[0], at(2, 1), in0)
	b.poll()
	packets := b.receive(l, 3)
	b.decide(l, &packets[1], client.Verdict{Action: client.Accept})
	b.decide(l, &packets[2], client.Verdict{Action: client.Accept})
	if got := b.poll(); len(got) != 1 || number(got[0].Network()) != 1 {
		t.Errorf("%d packets left, want the one of its own addresses", len(got))
	}
	b.decide(l, &packets[0], client.Verdict{Action: client.Accept})
	if got := b.poll(); len(got) != 2 || number(got[0].Network()) != 0 {
		t.Errorf("%d packets left, want the other two", len(got))
	}
}

// When a listener goes, or stalls, while more wait than one poll releases, what comes next
// leaves behind them; nothing is lost, and once all have left nothing waits any more.
// Source: VQ-1, VQ-5
func TestOrderWhenListenersGo(t *testing.T) {
	const flows, waiting = 5, 700
	q := packet.Queueing{Options: packet.QueueBypass | packet.QueueFailOpen}
	for name, lose := range map[string]func(*bed, *client.Listener){
		"gone": func(b *bed, l *client.Listener) {
			l.Close()
			for b.set.Lookup(0).Listening() {
				time.Sleep(50 * time.Microsecond)
			}
		},
		"stalled": func(b *bed, _ *client.Listener) { b.nowNs += int64(time.Second) },
	} {
		for _, decidedFirst := range []bool{false, true} { // a long chain is ready at one verdict
			t.Run(fmt.Sprint(name, " ", decidedFirst), func(t *testing.T) {
				o := plain(0)
				o.MaxPackets, o.MaxBytes, o.Stall = 1024, 1<<20, time.Second
				b := newBed(t, 1, o)
				l, w := b.listen(0), b.workers[0]
				sent, left := 0, [flows]int{}
				leaves := func(n int) {
					if n < left[n%flows] {
						t.Fatalf("packet %d left behind %d of its flow", n, left[n%flows])
					}
					left[n%flows] = n
				}
				push := func() packet.Verdict {
					p := b.packet(1+sent%flows, sent, 60)
					v := b.push(w, p, q)
					if v == packet.Continue {
						leaves(sent)
					}
					sent++
					return v
				}
				for range waiting {
					if v := push(); v != packet.Held {
						t.Fatalf("packet %d: %d", sent, v)
					}
				}
				if decidedFirst {
					w.Flush(b.nowNs)
					for _, p := range b.receive(l, waiting)[flows:] {
						b.decide(l, &p, client.Verdict{Action: client.Accept})
					}
					b.until("the verdicts to be read", func() bool { return b.stats(0).Verdicts == waiting-flows })
				}
				lose(b, l)
				for range 20 {
					for _, r := range b.poll() {
						leaves(number(r.Network()))
					}
					for range 30 {
						if v := push(); v == packet.Drop {
							t.Fatalf("packet %d was dropped", sent-1)
						}
					}
				}
				if n := w.Held(); n != 0 {
					t.Errorf("%d packets wait", n)
				}
				if v := push(); v != packet.Continue {
					t.Errorf("with nothing left to wait for: %d", v)
				}
			})
		}
	}
}

// What has to wait for those before it, and finds no room, is what a full queue refuses, or
// lets pass. Source: VQ-1
func TestListenerGoesFromAFullQueue(t *testing.T) {
	o := plain(0)
	o.MaxPackets = 8
	for _, c := range []struct {
		options uint8
		want    packet.Verdict
		outcome packet.QueueOutcome
	}{
		{packet.QueueBypass, packet.Drop, packet.OutcomeRefused},
		{packet.QueueBypass | packet.QueueFailOpen, packet.Continue, packet.OutcomeFailedOpen},
	} {
		b := newBed(t, 1, o)
		l, w := b.listen(0), b.workers[0]
		q := packet.Queueing{Options: c.options}
		for i := range 8 {
			b.push(w, b.packet(1, i, 60), q)
		}
		l.Close()
		for b.set.Lookup(0).Listening() {
			time.Sleep(50 * time.Microsecond)
		}
		b.release(w, 1)
		b.push(w, b.packet(1, 8, 60), q)
		if v := b.push(w, b.packet(1, 9, 60), q); v != c.want || b.stats(0).Outcomes[c.outcome] != 1 {
			t.Errorf("options %d: %d, %v", c.options, v, b.stats(0).Outcomes)
		}
		for i, r := range b.until("the rest", func() bool { return w.Held() == 0 }) {
			if number(r.Network()) != 1+i || r.Decision != packet.QueueAccept {
				t.Errorf("options %d: packet %d came after %d", c.options, number(r.Network()), i)
			}
		}
	}
}

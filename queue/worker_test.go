package queue

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"ffwd/packet"
	"ffwd/queue/client"
)

var in0 = packet.Queueing{Queue: 0}

// Source: VQ-2
func TestListenerSeesThePacket(t *testing.T) {
	b := newBed(t, 2, plain(0))
	l := b.listen(0)
	p := b.packet(7, 4711, 100)
	p.Mark, p.CtMark, p.State = 5, 6, packet.CtEstablished
	p.Flags |= packet.ReplyDir
	want := bytes.Clone(p.Network())
	b.push(b.workers[1], p, packet.Queueing{Queue: 0, Hook: 1, Zone: 9, Options: packet.QueueDivert})
	b.poll()
	got := b.receive(l, 1)[0]
	if !bytes.Equal(got.Data, want) {
		t.Errorf("data %x, want %x", got.Data, want)
	}
	flow := got.Flow
	got.Flow, got.ID, got.ReceivedNs = 0, 0, 0
	if text := fmt.Sprintf("%+v", got.Packet); text != "{Flags:10 Queue:0 ID:0 Flow:0 ReceivedNs:0 Mark:5 CtMark:6 InPort:1 OutPort:2 Zone:9 Hook:1 State:2 Length:100 Worker:1}" {
		t.Error(text)
	}
	if flow == 0 || flow == p.Hash {
		t.Errorf("flow %#x of hash %#x", flow, p.Hash)
	}
	again := b.packet(7, 1, 100)
	again.Flags |= packet.KeySwapped // the other direction
	b.push(b.workers[0], again, in0)
	b.poll()
	second := b.receive(l, 1)[0]
	if second.Flow != flow || second.OutPort != 0 || second.HookName() != "in" {
		t.Errorf("%+v", second.Packet)
	}
	if w := second.Waiting(); w < 0 || w > time.Minute {
		t.Errorf("waiting for %v", w)
	}
}

// Source: VQ-2
func TestCopyIsCut(t *testing.T) {
	o := plain(0)
	o.CopyBytes = 64
	b := newBed(t, 1, o)
	for _, c := range []struct{ want, got int }{{0, 64}, {20, 20}, {1000, 64}} {
		l := b.listen(0, client.CopyBytes(c.want))
		b.push(b.workers[0], b.packet(1, 1, 100), in0)
		b.poll()
		if p := b.receive(l, 1)[0]; len(p.Data) != c.got || p.Length != 100 {
			t.Errorf("asked for %d: got %d of %d bytes", c.want, len(p.Data), p.Length)
		}
		if err := l.SetCopyBytes(33); err != nil {
			t.Fatal(err)
		}
		b.until("the limit to hold", func() bool { return b.set.Lookup(0).binding.Load().copy.Load() == 33 })
		b.push(b.workers[0], b.packet(1, 1, 100), in0)
		b.poll()
		if p := b.receive(l, 1)[0]; len(p.Data) != 33 {
			t.Errorf("%d bytes", len(p.Data))
		}
		l.Close()
		b.until("the listener to go", func() bool { return b.workers[0].Held() == 0 })
	}
}

// Every verdict does what it says, single and for many alike. Source: VQ-2
func TestVerdicts(t *testing.T) {
	mark, ctMark := uint32(11), uint32(12)
	for _, many := range []bool{false, true} {
		for _, c := range []struct {
			v    client.Verdict
			want packet.QueueDecision
		}{
			{client.Verdict{Action: client.Drop}, packet.QueueDrop},
			{client.Verdict{Action: client.Accept}, packet.QueueAccept},
			{client.Verdict{Action: client.Accept, Mark: &mark}, packet.QueueAccept},
			{client.Verdict{Action: client.Repeat, Mark: &mark, CtMark: &ctMark}, packet.QueueRepeat},
			{client.Verdict{Action: client.Take}, packet.QueueTake},
		} {
			t.Run(fmt.Sprintf("%v %t", c.v.Action, many), func(t *testing.T) {
				b := newBed(t, 2, plain(0))
				l := b.listen(0)
				for i := range 10 {
					b.push(b.workers[i%2], b.packet(1+i%3, i, 60), in0)
				}
				b.poll()
				packets := b.receive(l, 10)
				if many {
					if err := l.DecideAll(packets, c.v); err != nil {
						t.Fatal(err)
					}
				} else {
					for i := range packets {
						b.decide(l, &packets[i], c.v)
					}
				}
				all := b.until("verdicts", func() bool { return b.workers[0].Held()+b.workers[1].Held() == 0 })
				if len(all) != 10 {
					t.Fatalf("%d packets", len(all))
				}
				for _, r := range all {
					if r.Decision != c.want || r.Cause != packet.CauseVerdict {
						t.Errorf("decision %d, cause %d", r.Decision, r.Cause)
					}
					if r.NewMark != (c.v.Mark != nil) || r.NewMark && r.Mark != mark {
						t.Errorf("mark %d %t", r.Mark, r.NewMark)
					}
					if r.NewCtMark != (c.v.CtMark != nil) || r.NewCtMark && r.CtMark != ctMark {
						t.Errorf("connection mark %d %t", r.CtMark, r.NewCtMark)
					}
				}
				if s := b.stats(0); s.Verdicts != 10 || s.Latency.Count() != 10 {
					t.Errorf("%d verdicts, %d latencies", s.Verdicts, s.Latency.Count())
				}
			})
		}
	}
}

// Source: VQ-2
func TestDecideUpToLeavesLaterOnes(t *testing.T) {
	b := newBed(t, 1, plain(0))
	l := b.listen(0)
	for i := range 10 {
		b.push(b.workers[0], b.packet(i+1, i, 60), in0)
	}
	b.poll()
	packets := b.receive(l, 10)
	b.decide(l, &packets[2], client.Verdict{Action: client.Drop})
	if err := l.DecideUpTo(&packets[4], client.Verdict{Action: client.Accept}); err != nil {
		t.Fatal(err)
	}
	all := b.poll()
	if len(all) != 5 || b.workers[0].Held() != 5 {
		t.Fatalf("%d came back, %d wait", len(all), b.workers[0].Held())
	}
	if all[0].Decision != packet.QueueDrop || number(all[0].Network()) != 2 {
		t.Error("the packet that was decided before is not dropped")
	}
	b.decide(l, &packets[1], client.Verdict{Action: client.Drop}) // not there any more
	b.poll()
	if s := b.stats(0); s.Unknown != 1 {
		t.Errorf("%d unknown", s.Unknown)
	}
}

// A rewritten packet is in the mbuf, if an mbuf can hold it. Source: VQ-2
func TestRewrite(t *testing.T) {
	const room = bufferBytes - 128 - 14
	b := newBed(t, 1, plain(0))
	l := b.listen(0)
	for _, n := range []int{1, 20, 59, 60, 61, 1500, room, room + 1, 8000} {
		b.push(b.workers[0], b.packet(1, 1, 60), in0)
		b.poll()
		p := b.receive(l, 1)
		other := bytes.Repeat([]byte{byte(n)}, n)
		b.decide(l, &p[0], client.Verdict{Action: client.Accept, Packet: other})
		r := b.poll()[0]
		if n > room {
			if r.Decision != packet.QueueDrop || r.Rewritten {
				t.Errorf("%d bytes: decision %d, rewritten %t", n, r.Decision, r.Rewritten)
			}
			continue
		}
		if !r.Rewritten || !bytes.Equal(r.Network(), other) || int(r.Mbuf.PktLen) != 14+n || int(r.Mbuf.DataLen) != 14+n {
			t.Errorf("%d bytes: %x", n, r.Network())
		}
	}
	if s := b.stats(0); s.TooLong != 2 {
		t.Errorf("%d too long", s.TooLong)
	}
}

// Without a listener a packet passes by bypass only, with a full queue by fail_open
// only, and the budgets are what they say. Source: VQ-1
func TestBudgets(t *testing.T) {
	o := plain(0)
	o.MaxPackets, o.MaxBytes = 8, 1000
	for _, c := range []struct {
		options uint8
		gone    packet.Verdict
		full    packet.Verdict
	}{
		{0, packet.Drop, packet.Drop},
		{packet.QueueBypass, packet.Continue, packet.Drop},
		{packet.QueueFailOpen, packet.Drop, packet.Continue},
		{packet.QueueBypass | packet.QueueFailOpen, packet.Continue, packet.Continue},
	} {
		for _, size := range []int{60, 200} {
			room := min(8, 1000/size)
			b := newBed(t, 1, o)
			q := packet.Queueing{Options: c.options}
			if v := b.push(b.workers[0], b.packet(1, 1, size), q); v != c.gone {
				t.Errorf("options %d, nobody listens: %d, want %d", c.options, v, c.gone)
			}
			l := b.listen(0)
			for i := range room + 3 {
				want := packet.Held
				if i >= room {
					want = c.full
				}
				if v := b.push(b.workers[0], b.packet(i, i, size), q); v != want {
					t.Errorf("options %d, packet %d of %d bytes: %d, want %d", c.options, i, size, v, want)
				}
			}
			b.poll()
			packets := b.receive(l, room)
			b.decide(l, &packets[0], client.Verdict{Action: client.Accept})
			b.poll()
			if v := b.push(b.workers[0], b.packet(1, 1, size), q); v != packet.Held {
				t.Errorf("after a verdict there is no room: %d", v)
			}
		}
	}
}

// A packet that nobody decides leaves in time, by its rule's fail_open. Source: VQ-5
func TestTimeout(t *testing.T) {
	o := plain(0)
	o.Timeout = 10 * time.Millisecond
	b := newBed(t, 1, o)
	l := b.listen(0)
	b.push(b.workers[0], b.packet(1, 0, 60), in0)
	b.nowNs += 5_000_000
	b.push(b.workers[0], b.packet(1, 1, 60), packet.Queueing{Options: packet.QueueFailOpen})
	b.poll()
	packets := b.receive(l, 2)
	b.decide(l, &packets[1], client.Verdict{Action: client.Accept}) // waits for the one before
	b.nowNs += 5_000_000
	if n := len(b.poll()); n != 0 {
		t.Fatalf("%d packets left in time", n)
	}
	b.nowNs += 1
	all := b.poll()
	if len(all) != 2 || all[0].Cause != packet.CauseExpired || all[0].Decision != packet.QueueDrop || all[1].Cause != packet.CauseVerdict {
		t.Fatalf("%+v", all)
	}
	b.decide(l, &packets[0], client.Verdict{Action: client.Accept})
	b.push(b.workers[0], b.packet(1, 2, 60), packet.Queueing{Options: packet.QueueFailOpen})
	b.nowNs += 10_000_001
	if all := b.poll(); len(all) != 1 || all[0].Decision != packet.QueueAccept {
		t.Fatalf("%+v", all)
	}
	if s := b.stats(0); s.Unknown != 1 || s.Outcomes[packet.OutcomeExpired] != 1 || s.Outcomes[packet.OutcomeFailedOpen] != 1 {
		t.Errorf("%+v", s)
	}
}

// A verdict for a packet that has left is none for the one that has its slot now. Source: VQ-2
func TestStaleVerdict(t *testing.T) {
	o := plain(0)
	o.MaxPackets = 1
	b := newBed(t, 1, o)
	l := b.listen(0)
	b.push(b.workers[0], b.packet(1, 1, 60), in0)
	b.poll()
	first := b.receive(l, 1)[0]
	b.decide(l, &first, client.Verdict{Action: client.Accept})
	if n := len(b.poll()); n != 1 {
		t.Fatalf("%d packets left", n)
	}
	b.push(b.workers[0], b.packet(1, 2, 60), in0)
	b.decide(l, &first, client.Verdict{Action: client.Accept})
	if n := len(b.poll()); n != 0 || b.workers[0].Held() != 1 || b.stats(0).Unknown != 1 {
		t.Errorf("%d packets left by a verdict for another, %d verdicts were for none", n, b.stats(0).Unknown)
	}
}

// A listener that does nothing is taken for gone until it moves. Source: VQ-5
func TestStall(t *testing.T) {
	o := plain(0)
	o.Stall = 100 * time.Millisecond
	b := newBed(t, 1, o)
	l := b.listen(0)
	open := packet.Queueing{Options: packet.QueueFailOpen}
	for range 3 {
		b.push(b.workers[0], b.packet(1, 1, 60), open)
	}
	b.nowNs += 99_000_000
	if n := len(b.poll()); n != 0 {
		t.Fatalf("%d packets left in time", n)
	}
	b.nowNs += 1_000_000
	b.poll() // finds out; the packets go at the next
	if all := b.poll(); len(all) != 3 || all[0].Decision != packet.QueueAccept {
		t.Fatalf("%d packets left", len(all))
	}
	if v := b.push(b.workers[0], b.packet(1, 1, 60), open); v != packet.Continue {
		t.Errorf("a stalled queue takes packets: %d", v)
	}
	b.receive(l, 3)
	if _, err := l.Receive(expired(), make([]client.Packet, 1)); err == nil { // gives the room back
		t.Fatal("a packet")
	}
	b.poll()
	if v := b.push(b.workers[0], b.packet(1, 1, 60), open); v != packet.Held {
		t.Errorf("a queue that moves again takes no packets: %d", v)
	}
	if s := b.stats(0); s.Stalls != 1 {
		t.Errorf("%d stalls", s.Stalls)
	}

	// One that comes after a stalled one begins anew.
	b.nowNs += 200_000_000
	b.poll()
	if s := b.stats(0); s.Stalls != 2 {
		t.Errorf("%d stalls", s.Stalls)
	}
	l.Close()
	b.listen(0)
	if v := b.push(b.workers[0], b.packet(1, 1, 60), open); v != packet.Held {
		t.Errorf("a new listener's queue takes no packets: %d", v)
	}
}

// A packet may be moved to another queue, and not in circles for ever. Source: VQ-2
func TestMove(t *testing.T) {
	b := newBed(t, 1, plain(0), plain(3))
	l0, l3 := b.listen(0), b.listen(3)
	b.push(b.workers[0], b.packet(1, 1, 60), in0)
	b.poll()
	p := b.receive(l0, 1)
	b.decide(l0, &p[0], client.Verdict{Action: client.Move, Queue: 3})
	b.poll()
	p = b.receive(l3, 1)
	if p[0].Queue != 3 || number(p[0].Data) != 1 {
		t.Errorf("%+v", p[0])
	}
	b.decide(l3, &p[0], client.Verdict{Action: client.Accept})
	if all := b.poll(); len(all) != 1 || all[0].Queue != 3 || all[0].Decision != packet.QueueAccept {
		t.Errorf("%+v", all)
	}

	b.push(b.workers[0], b.packet(1, 2, 60), in0)
	b.poll()
	for range maxMoves {
		p = b.receive(l0, 1)
		b.decide(l0, &p[0], client.Verdict{Action: client.Move, Queue: 0})
		if all := b.poll(); len(all) != 0 {
			t.Fatalf("%+v", all)
		}
	}
	p = b.receive(l0, 1)
	b.decide(l0, &p[0], client.Verdict{Action: client.Move, Queue: 0})
	if all := b.poll(); len(all) != 1 || all[0].Decision != packet.QueueDrop {
		t.Fatalf("%+v", all)
	}

	b.push(b.workers[0], b.packet(1, 3, 60), packet.Queueing{Options: packet.QueueBypass})
	b.push(b.workers[0], b.packet(2, 4, 60), in0)
	b.poll()
	l3.Close()
	b.until("queue 3 to be free", func() bool { return !b.set.Lookup(3).Listening() })
	p = b.receive(l0, 2)
	if err := l0.DecideAll(p, client.Verdict{Action: client.Move, Queue: 3}); err != nil {
		t.Fatal(err)
	}
	if all := b.poll(); len(all) != 2 || all[0].Decision != packet.QueueAccept || all[1].Decision != packet.QueueDrop {
		t.Fatalf("%+v", all)
	}
}

// A copy needs no verdict, and never holds anything. Source: VQ-6
func TestCopies(t *testing.T) {
	b := newBed(t, 1, plain(0))
	w := b.workers[0]
	p := b.packet(1, 1, 60)
	if w.Copy(&p, in0, b.nowNs) {
		t.Error("a copy for nobody")
	}
	l := b.listen(0)
	for range 3 {
		if !w.Copy(&p, in0, b.nowNs) {
			t.Error("no room")
		}
	}
	b.push(w, b.packet(1, 2, 60), in0)
	b.poll()
	got := b.receive(l, 4)
	if !got[0].IsCopy() || got[3].IsCopy() {
		t.Errorf("%+v", got)
	}
	if err := l.DecideAll(got, client.Verdict{Action: client.Accept}); err != nil {
		t.Fatal(err)
	}
	if all := b.poll(); len(all) != 1 || number(all[0].Network()) != 2 {
		t.Errorf("%+v", all)
	}
	full := 0
	for w.Copy(&p, in0, b.nowNs) {
		full++
	}
	if s := b.stats(0); full < 100 || s.Copies != 3+uint64(full) || s.CopiesLost != 2 {
		t.Errorf("%d copies, %d lost", s.Copies, s.CopiesLost)
	}
	b.free = append(b.free, p.Mbuf)
}

// The packet path allocates nothing. Source: FF-1
func TestNoAllocation(t *testing.T) {
	b := newBed(t, 1, plain(0))
	l := b.listen(0)
	w, dst, packets := b.workers[0], make([]packet.Released, 64), make([]client.Packet, 64)
	p := b.packet(1, 1, 60)
	if n := testing.AllocsPerRun(1000, func() {
		for range 16 {
			w.Push(&p, in0, b.nowNs)
		}
		w.Flush(b.nowNs)
		n, err := l.Receive(t.Context(), packets)
		if err != nil || n != 16 {
			t.Fatal(n, err)
		}
		if err := l.DecideAll(packets[:n], client.Verdict{Action: client.Accept}); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < 16; {
			n += w.Release(dst, b.nowNs)
		}
		for range 16 {
			w.Count(0, packet.OutcomeConfirmed)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	b.free = append(b.free, p.Mbuf)
}

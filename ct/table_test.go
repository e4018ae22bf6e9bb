package ct

import (
	"errors"
	"testing"
	"time"
	"unsafe"

	"ffwd/mem"
	"ffwd/packet"

	"pgregory.net/rapid"
)

const second = int64(time.Second)

func TestEntrySizes(t *testing.T) {
	if n := unsafe.Sizeof(Flow{}); n != 64 {
		t.Errorf("the hot part of a flow takes %d bytes, not one cache line", n)
	}
	if n := unsafe.Sizeof(bucket{}); n != 64 {
		t.Errorf("a bucket takes %d bytes, not one cache line", n)
	}
	if NumStates > stateMask+1 {
		t.Errorf("%d states do not fit stateMask", NumStates)
	}
}

// CT-11
func TestBytesPerFlow(t *testing.T) {
	for _, flows := range []int{1000, 65536, 1_000_000, 10_000_000} {
		l := newLayout(1+flows, flows/fill+1, 0, 0)
		if per := float64(l.total) / float64(flows); per > 128 {
			t.Errorf("%d flows: %.1f bytes per IPv4 flow", flows, per)
		}
	}
	l4, l6 := newLayout(1+1_000_000, 1_000_000/fill+1, 0, 0), newLayout(1+1_000_000, 1_000_000/fill+1, 1_000_000, 0)
	if per := float64(l6.total) / 1e6; per > 192 {
		t.Errorf("%.1f bytes per IPv6 flow", per)
	}
	t.Logf("bytes per flow: IPv4 %.1f, IPv6 %.1f", float64(l4.total)/1e6, float64(l6.total)/1e6)
}

func TestSizeOutOfBounds(t *testing.T) {
	for _, o := range []Options{{MaxFlows: MinFlows - 1}, {MaxFlows: MaxFlows + 1}, {MaxFlows: 1000, MaxFlowsIPv6: -1}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	if _, err := mem.Map(0, mem.Plain); !errors.Is(err, mem.ErrSize) {
		t.Error(err)
	}
}

// The branch-free match against a loop.
func TestMatchOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b bucket
		var tags [slots]uint8
		for i := range tags {
			tags[i] = rapid.SampledFrom([]uint8{0, 1, 0x7f, 0x80, 0x81, 0xff, 0xfe}).Draw(t, "tag")
			b.setTag(i, tags[i])
		}
		for _, want := range []uint8{0, 1, 0x7f, 0x80, 0xff} {
			mask := uint32(0)
			for i, tag := range tags {
				if tag == want {
					mask |= 1 << i
				}
			}
			if got := b.match(want); got != mask {
				t.Fatalf("tags %x: match(%x) = %012b, want %012b", tags, want, got, mask)
			}
		}
	})
}

// CT-1, CT-2, CT-10: the table against a plain map, with both families, both
// directions, random order, deletion, expiry and a full table.
func TestAgainstPlainMap(t *testing.T) {
	type want struct {
		packets  [2]uint64
		original tuple
		seen     int64
		start    int64
		stream   bool // was answered, and lasts longer than two seconds
	}
	timeouts := NewTimeouts(map[State]time.Duration{UDPUnreplied: 10 * time.Second, UDPReplied: 30 * time.Second})
	rapid.Check(t, func(t *rapid.T) {
		table, err := New(Options{MaxFlows: MinFlows, MaxFlowsIPv6: 16, Secret: NewSecret()})
		if err != nil {
			t.Fatal(err)
		}
		defer table.Close()
		events := NewEvents(256)
		if !table.Report(events) {
			t.Fatal("no room for a reader")
		}
		model := map[tuple]*want{} // under both directions
		live := [2]int{}
		now := int64(0)
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			now += rapid.OneOf(rapid.Int64Range(0, second/2), rapid.Int64Range(0, 12*second)).Draw(t, "pause")
			i := rapid.IntRange(0, 99).Draw(t, "flow")
			of, family := udp4(i), 0
			if rapid.Bool().Draw(t, "ipv6") {
				of, family = udp6(i), 1
			}
			if rapid.Bool().Draw(t, "back") {
				of = of.reversed()
			}
			// Expiry is late by at most one slot: leave the model no such doubt.
			table.Expire(now, 1<<20)
			events.Take(func(*Event) bool { return true })
			for k, w := range model {
				limit := 10 * second
				if w.stream {
					limit = 30 * second
				}
				if now-w.seen > limit+second/4 {
					if k == w.original {
						live[b2i(k.src.Is6())]--
					}
					delete(model, k)
				} else if now-w.seen > limit-second/100 {
					return // within the tolerance: stop here
				}
			}
			p := send(table, now, timeouts, of)
			w := model[of]
			events.Take(func(e *Event) bool { // what gave way to this one was never answered
				if o := e.Flow.Original; e.Kind == EventDestroy {
					gone := tuple{o.Src, o.Dst, o.SrcPort, o.DstPort, e.Flow.Proto}
					if live[family] != [2]int{MinFlows, 16}[family] || model[gone] == nil || model[gone].packets[Reply] != 0 {
						t.Fatalf("%v went: %+v", gone, model[gone])
					}
					delete(model, gone)
					delete(model, gone.reversed())
					live[family]--
				}
				return true
			})
			if w == nil {
				if live[family] == [2]int{MinFlows, 16}[family] {
					if p.Flow != 0 {
						t.Fatal("a full table took a flow")
					}
					continue
				}
				live[family]++
				w = &want{original: of, packets: [2]uint64{1}, seen: now, start: now}
				model[of], model[of.reversed()] = w, w
				if p.State != packet.CtNew || p.Flow == 0 {
					t.Fatalf("%v: state %v flow %d, want a new flow", of, p.State, p.Flow)
				}
			} else {
				dir := b2i(of != w.original)
				if w.packets[Reply] > 0 {
					if lasts := now - w.start - 2*second; lasts > -second/100 && lasts < second/100 {
						return // within a tick: stop here
					} else if lasts > 0 {
						w.stream = true
					}
				}
				w.packets[dir]++
				w.seen = now
				state := packet.CtNew
				if w.packets[Reply] > 0 {
					state = packet.CtEstablished
				}
				if p.State != state || p.Is(packet.ReplyDir) != (dir == Reply) {
					t.Fatalf("%v: state %v reply %v, want %v %v", of, p.State, p.Is(packet.ReplyDir), state, dir)
				}
			}
			if i := table.Info(p.Flow, now); i.Packets != w.packets || i.Original.Src != w.original.src || i.Original.SrcPort != w.original.sport {
				t.Fatalf("%v: %+v, want %+v", of, i, w)
			}
			if int(table.Flows4) != live[0] || int(table.Flows6) != live[1] {
				t.Fatalf("%d and %d flows, want %v", table.Flows4, table.Flows6, live)
			}
		}
		table.Expire(now+3600*second, 1<<30)
		if table.Flows4+table.Flows6 != 0 {
			t.Fatalf("%d flows outlived their deadline", table.Flows4+table.Flows6)
		}
		for i := range table.numBuckets {
			if b := table.bucket(i); b.passing != 0 || b.tagsLow != 0 || b.tagsHigh != 0 {
				t.Fatalf("bucket %d of an empty table: %+v", i, *b)
			}
		}
	})
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// CT-7: every entry can be used, and what is given back can be used again.
func TestFillEmptyFill(t *testing.T) {
	const n = 10_000
	table := newTable(t, n, 0)
	timeouts := DefaultTimeouts()
	for round := range 3 {
		now := int64(round) * 3600 * second
		for i := range n + 10 {
			send(table, now, timeouts, udp4(i))
			send(table, now, timeouts, udp4(i).reversed()) // or it would give way to others
		}
		if table.Flows4 != n || table.Full != uint64(20*(round+1)) {
			t.Fatalf("round %d: %d flows, %d refused", round, table.Flows4, table.Full)
		}
		for i := range n {
			if p := send(table, now, timeouts, udp4(i).reversed()); !p.Is(packet.ReplyDir) {
				t.Fatalf("round %d: flow %d was lost", round, i)
			}
		}
		table.Expire(now+1800*second, 1<<30)
		if table.Flows4 != 0 {
			t.Fatalf("round %d: %d left", round, table.Flows4)
		}
	}
}

// CT-9: a step of expiry does no more than its budget, and the rest later.
func TestExpiryIsBounded(t *testing.T) {
	const n = 1000
	table := newTable(t, n, 0)
	for i := range n {
		send(table, 0, DefaultTimeouts(), udp4(i))
	}
	expired, calls := 0, 0
	for ; expired < n && calls < 10_000; calls++ {
		got := table.Expire(60*second, 10)
		if got > 10 {
			t.Fatalf("%d flows in a step of 10", got)
		}
		expired += got
	}
	if expired != n || calls < n/10 {
		t.Fatalf("%d expired in %d calls", expired, calls)
	}
}

// A flow is never removed before its deadline and at most 0.14 s after it, at
// any distance and across the wrap of the tick counter.
func TestExpiryTime(t *testing.T) {
	wrap := int64(1) << (32 + tickShift)
	for _, start := range []int64{0, 12345 * second, wrap - 5*second, wrap - 3600*second} {
		for _, timeout := range []time.Duration{time.Second, 30 * time.Second, 35 * time.Second, time.Hour, 3 * time.Hour, 5 * 24 * time.Hour, 20 * 24 * time.Hour} {
			table, err := New(Options{MaxFlows: MinFlows, Secret: NewSecret(), StartNs: start})
			if err != nil {
				t.Fatal(err)
			}
			send(table, start, NewTimeouts(map[State]time.Duration{UDPUnreplied: timeout}), udp4(1))
			if table.Expire(start+int64(timeout)-second/100, 1<<30); table.Flows4 != 1 {
				t.Errorf("start %d: timeout of %v came early", start, timeout)
			}
			if table.Expire(start+int64(timeout)+second/7, 1<<30); table.Flows4 != 0 {
				t.Errorf("start %d: timeout of %v came late", start, timeout)
			}
			table.Close()
		}
	}
}

// A shorter timeout counts from the flow's next packet (TCP close, reload).
func TestShortenedTimeout(t *testing.T) {
	table := newTable(t, MinFlows, 0)
	send(table, 0, NewTimeouts(map[State]time.Duration{UDPUnreplied: time.Hour}), udp4(1))
	send(table, second, NewTimeouts(map[State]time.Duration{UDPUnreplied: time.Second}), udp4(1))
	if table.Expire(3*second, 1<<20); table.Flows4 != 0 {
		t.Fatal("the flow kept its old deadline")
	}
}

// CT-6: the first packets of a flow met in one burst end as one flow.
func TestClashInOneBurst(t *testing.T) {
	table := newTable(t, MinFlows, 0)
	timeouts := DefaultTimeouts()
	b := &packet.Burst{N: 3}
	load(&b.Pkts[0], &table.secret, udp4(1), 0)
	load(&b.Pkts[1], &table.secret, udp4(1), 0)
	load(&b.Pkts[2], &table.secret, udp4(1).reversed(), 0)
	table.Lookup(b, timeouts)
	for i := range b.Live() {
		if b.Pkts[i].State != packet.CtNew || !table.Confirm(&b.Pkts[i], 0, timeouts) {
			t.Fatalf("packet %d: %v", i, b.Pkts[i].State)
		}
	}
	info := table.Info(b.Pkts[0].Flow, 0)
	if table.Flows4 != 1 || table.Joined != [packet.NumWaits]uint64{2} || info.Packets != [2]uint64{2, 1} || info.State != UDPAnswered {
		t.Fatalf("%d flows, %d joined, %+v", table.Flows4, table.Joined, info)
	}
}

// CT-10: a tuple in two zones is two flows.
func TestZonesAreApart(t *testing.T) {
	table := newTable(t, MinFlows, 0)
	b := &packet.Burst{N: 2}
	load(&b.Pkts[0], &table.secret, udp4(1), 1)
	load(&b.Pkts[1], &table.secret, udp4(1), 2)
	for i := range b.Live() {
		table.Confirm(&b.Pkts[i], 0, DefaultTimeouts())
	}
	if table.Flows4 != 2 {
		t.Fatalf("%d flows", table.Flows4)
	}
}

// CT-8: two secrets order the same tuples differently.
func TestHashIsKeyed(t *testing.T) {
	a, b := NewSecret(), NewSecret()
	same := 0
	for i := range 1000 {
		var p, q packet.Packet
		load(&p, &a, udp4(i), 0)
		load(&q, &b, udp4(i), 0)
		if p.Hash>>56 == q.Hash>>56 {
			same++
		}
	}
	if same > 20 { // 4 expected
		t.Fatalf("%d of 1000 tags agree under two secrets", same)
	}
}

// A keyed hash must still spread: neighbouring tuples into all buckets and to
// all workers alike.
func TestHashSpreads(t *testing.T) {
	const n, parts = 100_000, 16
	s := NewSecret()
	for _, family := range []func(int) tuple{udp4, udp6} {
		var buckets, owners [parts]int
		for i := range n {
			var p packet.Packet
			load(&p, &s, family(i), 0)
			buckets[uint64(uint32(p.Hash))*parts>>32]++
			owners[Owner(p.Hash, parts)]++
		}
		for i := range parts {
			for _, got := range []int{buckets[i], owners[i]} {
				if got < n/parts*9/10 || got > n/parts*11/10 {
					t.Fatalf("%d of %d in part %d", got, n, i)
				}
			}
		}
	}
}

// FF-6: a decision holds for its generation, direction and hook only, and until rules could
// see another flow.
func TestDecisionCache(t *testing.T) {
	var f Flow
	f.Remember(6, Reply, HookOut, 99)
	f.Remember(7, Original, HookIn, 1)
	f.Remember(7, Original, HookOut, 2)
	f.Remember(7, Reply, HookIn, 3)
	for _, c := range []struct {
		name string
		gen  uint32
		dir  int
		hook Hook
		want uint16
	}{
		{"as stored", 7, Original, HookIn, 1},
		{"other hook", 7, Original, HookOut, 2},
		{"other direction", 7, Reply, HookIn, 3},
		{"of the ruleset before", 7, Reply, HookOut, 0},
		{"new ruleset", 8, Original, HookIn, 0},
	} {
		if got := f.Decision(c.gen, c.dir, c.hook); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	f.SetMark(0)
	if f.Decision(7, Original, HookIn) != 1 {
		t.Error("forgot for the same mark")
	}
	f.SetMark(5)
	if f.Decision(7, Original, HookIn) != 0 || f.Mark() != 5 {
		t.Error("a new mark did not make the flow forget")
	}
}

// CT-9: a walk that its visitor ends goes on behind that flow.
func TestWalkGoesOnWhereItWasEnded(t *testing.T) {
	table := newTable(t, MinFlows, MinFlows)
	for i := range 10 {
		send(table, 0, DefaultTimeouts(), udp4(i))
	}
	seen := map[uint32]bool{}
	steps := 0
	for at := uint32(1); at != 0; steps++ {
		at = table.Walk(at, 1000, func(i uint32) bool {
			if seen[i] {
				t.Errorf("flow %d is visited twice", i)
			}
			seen[i] = true
			return false
		})
	}
	if len(seen) != 10 || steps != 11 {
		t.Errorf("%d of 10 flows in %d steps, want 11", len(seen), steps)
	}
}

// CT-7: when the table is full, flows that were never answered give way to new ones,
// and answered ones do not.
func TestEarlyDrop(t *testing.T) {
	table := newTable(t, 1000, 0)
	for i := range 1000 {
		send(table, 0, DefaultTimeouts(), udp4(i))
		if i < 500 {
			send(table, 0, DefaultTimeouts(), udp4(i).reversed())
		}
	}
	for i := range 10_000 {
		send(table, second, DefaultTimeouts(), udp4(1000+i))
	}
	if table.Flows4 != 1000 || table.EarlyDropped+table.Full != 10_000 || table.EarlyDropped < 9000 {
		t.Errorf("%d flows, %d gave way, %d refused", table.Flows4, table.EarlyDropped, table.Full)
	}
	for i := range 500 {
		if p := send(table, second, DefaultTimeouts(), udp4(i)); p.State != packet.CtEstablished {
			t.Fatalf("answered flow %d gave way: %v", i, p.State)
		}
	}
}

// CT-7: however few flows of a family there may be beside the other's.
func TestEarlyDropOfFew(t *testing.T) {
	const few = 1024
	for name, c := range map[string]struct {
		table *Table
		of    func(int) tuple
	}{"IPv4": {newTable(t, few, 128*few), udp4}, "IPv6": {newTable(t, 128*few, few), udp6}} {
		for i := range 3 * few {
			send(c.table, 0, DefaultTimeouts(), c.of(i))
		}
		if c.table.EarlyDropped != 2*few || c.table.Full != 0 || c.table.Flows4+c.table.Flows6 != few {
			t.Errorf("%s: %d gave way of %d that had to, %d refused", name, c.table.EarlyDropped, 2*few, c.table.Full)
		}
	}
}

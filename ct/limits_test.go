package ct

import (
	"net/netip"
	"testing"

	"ffwd/packet"

	"pgregory.net/rapid"
)

// limitTuple is a UDP flow from one of a few sources, and its port.
func limitTuple(source, port int) tuple {
	of := tuple{netip.AddrFrom4([4]byte{10, 0, 0, byte(source)}), netip.MustParseAddr("10.0.0.100"), uint16(port), 53, packet.ProtoUDP}
	if source%2 == 1 {
		of.src, of.dst = netip.AddrFrom16([16]byte{0xfd, 15: byte(source)}), netip.MustParseAddr("fd::80")
	}
	if port%2 == 1 { // the source is the high end
		of.dst = netip.MustParseAddr("1.1.1.1")
		if source%2 == 1 {
			of.dst = netip.MustParseAddr("fc::1")
		}
	}
	return of
}

// limited sends a packet past the limits of rules that match it, and enters its flow if
// it may. It says where it ended: "over" at a rule, or the reason, or "" when it has a flow.
func limited(t *Table, nowNs int64, of tuple, limits ...uint8) string {
	b := &packet.Burst{N: 1, NowNs: nowNs}
	p := &b.Pkts[0]
	load(p, &t.secret, of, 0)
	t.Lookup(b, DefaultTimeouts())
	for _, limit := range limits {
		if t.Exceeds(p, limit) {
			return "over"
		}
	}
	if p.Flow == 0 && !t.Confirm(p, nowNs, DefaultTimeouts()) {
		return t.Refusal().String()
	}
	return ""
}

// CT-7: after any order of connections opened, expired and deleted, on two workers, every
// limit counts those that there are, and no more than it may are entered. The oracle is
// a list of the flows.
func TestLimitsAgainstModel(t *testing.T) {
	const total, perSource, ofSource = 1, 2, 3
	secret := Secret{0x9ae16a3b2f90404f, 0xc3a5c85c97cb3127, 0xb492b66fbe98f273, 0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb}
	limits := &Limits{1: {Max: 12}, 2: {Max: 4, PerSource: true}}
	rapid.Check(t, func(r *rapid.T) {
		type opened struct {
			source int
			rules  []uint8
		}
		tallies, now := &Tallies{}, int64(0)
		var tables [2]*Table
		var live [2]map[tuple]opened
		for w := range tables {
			table, err := New(Options{MaxFlows: 4096, MaxFlowsIPv6: 4096, Secret: secret, Tallies: tallies})
			if err != nil {
				r.Fatal(err)
			}
			defer table.Close()
			table.Use(Settings{MaxPerSource: 6, Limits: limits})
			tables[w], live[w] = table, map[tuple]opened{}
		}
		count := func(rule uint8, source int) (n int) {
			for w := range live {
				for _, o := range live[w] {
					if rule == ofSource && o.source == source {
						n++
					}
					for _, l := range o.rules {
						if l == rule && (rule == total || o.source == source) {
							n++
						}
					}
				}
			}
			return n
		}
		for range rapid.IntRange(1, 80).Draw(r, "steps") {
			w := rapid.IntRange(0, 1).Draw(r, "worker")
			table := tables[w]
			switch rapid.IntRange(0, 5).Draw(r, "step") {
			case 0:
				table.Walk(1, 10_000, func(i uint32) bool {
					info := table.Info(i, now)
					delete(live[w], tuple{info.Original.Src, info.Original.Dst, info.Original.SrcPort, info.Original.DstPort, info.Proto})
					table.Delete(i)
					return false
				})
			case 1:
				now += 31 * second
				for w := range tables {
					tables[w].Expire(now, 1_000_000)
					clear(live[w])
				}
			default:
				source := rapid.IntRange(0, 3).Draw(r, "source")
				of := limitTuple(source, 2*rapid.IntRange(0, 20).Draw(r, "port")+w) // no flow is both workers'
				rules := rapid.SampledFrom([][]uint8{nil, {total}, {perSource}, {total, perSource}}).Draw(r, "rules")
				want := ""
				if _, known := live[w][of]; !known {
					for _, rule := range rules {
						if count(rule, source) >= int(limits[rule].Max) {
							want = "over"
						}
					}
					if want == "" && count(ofSource, source) >= 6 {
						want = "ct_source_limit"
					}
				}
				if got := limited(table, now, of, rules...); got != want {
					r.Fatalf("source %d with rules %v: %q, want %q", source, rules, got, want)
				} else if _, known := live[w][of]; got == "" && !known {
					live[w][of] = opened{source, rules}
				}
			}
			if got, want := int(tallies.Flows(total)), count(total, 0); got != want {
				r.Fatalf("the limit on all counts %d of %d", got, want)
			}
		}
		for w := range tables {
			tables[w].Expire(now+1000*second, 1_000_000)
			for i := range tables[w].tally.sources {
				if n := uint32(tables[w].tally.sources[i].Load()); n != 0 {
					r.Fatalf("a source counts %d flows when there are none", n)
				}
			}
		}
		if tallies.Flows(total)+tallies.Flows(perSource) != 0 {
			r.Fatal("a limit counts flows when there are none")
		}
	})
}

// CT-7: packets that passed a rule in one burst do not pass its limit together: the limit
// is asked again where flows are entered.
func TestLimitWithinBurst(t *testing.T) {
	table := newTable(t, 1000, 0)
	table.Use(Settings{Limits: &Limits{7: {Max: 3}}})
	b := &packet.Burst{N: 10}
	for i := range b.Live() {
		load(&b.Pkts[i], &table.secret, udp4(i), 0)
	}
	table.Lookup(b, DefaultTimeouts())
	entered := 0
	for i := range b.Live() {
		if table.Exceeds(&b.Pkts[i], 7) {
			t.Fatalf("packet %d exceeds what nobody has used", i)
		}
	}
	for i := range b.Live() {
		if table.Confirm(&b.Pkts[i], 0, DefaultTimeouts()) {
			entered++
		} else if table.Refusal() != packet.CtRuleLimit {
			t.Errorf("packet %d: %s", i, table.Refusal())
		}
	}
	if entered != 3 || table.RuleLimited != 7 || table.tallies.Flows(7) != 3 {
		t.Errorf("%d entered, %d refused, %d count", entered, table.RuleLimited, table.tallies.Flows(7))
	}
}

// CT-7: a flow counts for two limits; to a third it is one too many.
func TestThirdLimit(t *testing.T) {
	table := newTable(t, 1000, 0)
	table.Use(Settings{Limits: &Limits{1: {Max: 9}, 2: {Max: 9}, 3: {Max: 9}}})
	if got := limited(table, 0, udp4(1), 1, 2, 1, 3); got != "over" {
		t.Errorf("third limit: %q", got)
	}
	if got := limited(table, 0, udp4(1), 1, 2, 1); got != "" {
		t.Errorf("two limits, one of them twice: %q", got)
	}
}

// CT-7: sources without number push out those with one flow, never one near its limit,
// and the memory stays what it was.
func TestSourcesAreBounded(t *testing.T) {
	table := newTable(t, 20_000, 0)
	table.Use(Settings{MaxPerSource: 5})
	heavy := func(port int) string {
		return limited(table, 0, tuple{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.2.1"), uint16(port), 53, packet.ProtoUDP})
	}
	for port := range 5 {
		if got := heavy(port); got != "" {
			t.Fatal(got)
		}
	}
	for i := range 15_000 { // 1,256 sources have room
		if got := limited(table, 0, udp4(i)); got != "" {
			t.Fatalf("source %d: %s", i, got)
		}
	}
	if got := heavy(5); got != "ct_source_limit" {
		t.Errorf("the heavy source got its sixth flow: %q", got)
	}
	if table.SourcesEvicted < 13_000 || table.SourcesEvicted+table.SourcesFull > 15_000 || table.SourceLimited != 1 {
		t.Errorf("%d evicted, %d without room, %d limited", table.SourcesEvicted, table.SourcesFull, table.SourceLimited)
	}
	table.Expire(1000*second, 1_000_000)
	for i := range table.tally.sources {
		if n := uint32(table.tally.sources[i].Load()); n != 0 {
			t.Fatalf("an entry counts %d flows when there are none", n)
		}
	}
}

// CT-7: entries of sources count exactly the flows that count for them, whatever was
// evicted. More sources than one bucket has entries open and end flows; each flow says by
// which entries it is counted.
func TestEvictedFlowsTakeNothingAlong(t *testing.T) {
	const perSource = 1
	rapid.Check(t, func(r *rapid.T) {
		table, err := New(Options{MaxFlows: 100, MaxFlowsIPv6: 20, Secret: NewSecret()})
		if err != nil {
			r.Fatal(err)
		}
		defer table.Close()
		table.Use(Settings{MaxPerSource: 5, Limits: &Limits{perSource: {Max: 5, PerSource: true}}})
		now := int64(0)
		for range rapid.IntRange(1, 150).Draw(r, "steps") {
			now += rapid.SampledFrom([]int64{0, 0, 5 * second}).Draw(r, "pause")
			table.Expire(now, 1_000_000)
			of := limitTuple(rapid.IntRange(0, 19).Draw(r, "source"), rapid.IntRange(0, 5).Draw(r, "port"))
			limited(table, now, of, rapid.SampledFrom([][]uint8{nil, {perSource}}).Draw(r, "rules")...)
		}
		want := map[uint64]uint32{}
		table.Walk(1, 10_000, func(i uint32) bool {
			if table.cold[i].slot&countedSource != 0 {
				want[table.openedBy(i, 0)]++
			}
			if table.cold[i].slot&countedFirst != 0 {
				want[table.openedBy(i, perSource)]++
			}
			return true
		})
		used := 0
		for i := range table.tally.sources {
			used += b2i(table.tally.sources[i].Load() != 0)
		}
		if used != len(want) {
			r.Errorf("%d entries are used by %d sources", used, len(want))
		}
		for source, flows := range want {
			if got := table.tallies.ofSource(source); got != flows {
				r.Errorf("a source counts %d of %d flows; %d were evicted", got, flows, table.SourcesEvicted)
			}
		}
	})
}

// CT-7: what is kept for flows of priority nobody else gets, and they get it although the
// table is full for all others, and whatever their source has.
func TestReserve(t *testing.T) {
	for _, family := range []func(int) tuple{udp4, udp6} {
		table := newTable(t, 100, 100)
		table.Use(Settings{Reserve: 10, MaxPerSource: 1})
		answered := func(of tuple, priority bool) bool {
			b := &packet.Burst{N: 1}
			p := &b.Pkts[0]
			load(p, &table.secret, of, 0)
			table.Lookup(b, DefaultTimeouts())
			p.Priority = priority
			if !table.Confirm(p, 0, DefaultTimeouts()) {
				return false
			}
			send(table, 0, DefaultTimeouts(), of.reversed()) // early drop spares it
			return true
		}
		for i := range 90 {
			if !answered(family(i), false) {
				t.Fatalf("flow %d of 90 refused", i)
			}
		}
		for i := range 5 {
			if answered(family(90+i), false) || table.Refusal() != packet.CtTableFull {
				t.Fatal("an ordinary flow took of the reserve")
			}
		}
		one := family(0) // has its flow
		for i := range 10 {
			if one.sport = uint16(5000 + i); !answered(one, true) {
				t.Fatalf("flow %d of priority refused: %s", i, table.Refusal())
			}
		}
		if answered(family(2000), true) || table.Reserved != 10 || table.Full != 6 {
			t.Errorf("reserved %d, full %d", table.Reserved, table.Full)
		}
	}
}

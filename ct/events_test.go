package ct

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"ffwd/packet"
)

// CT-10: a connection's life as events, and a ring that is full loses and counts.
func TestEvents(t *testing.T) {
	w := newWire(t)
	e := NewEvents(16)
	if !w.table.Report(e) {
		t.Fatal("no room for a reader")
	}
	w.lead(TCPTimeWait)
	w.table.Expire(w.now+3600*second, 1<<20)
	var got []string
	e.Take(func(ev *Event) bool {
		got = append(got, ev.Kind.String()+" "+ev.Flow.State.String())
		return true
	})
	want := []string{"NEW SYN_SENT", "UPDATE SYN_RECV", "UPDATE ESTABLISHED", "UPDATE FIN_WAIT", "UPDATE CLOSE_WAIT",
		"UPDATE LAST_ACK", "UPDATE TIME_WAIT", "DESTROY TIME_WAIT"}
	if len(got) != len(want) {
		t.Fatalf("%q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("event %d: %s, want %s", i, got[i], want[i])
		}
	}
	for i := range 40 {
		send(w.table, w.now, DefaultTimeouts(), udp4(i))
	}
	n := 0
	e.Take(func(ev *Event) bool { n++; return ev.Kind == EventNew })
	if n != 16 || e.Lost() != 24 {
		t.Errorf("%d events, %d lost; want 16 and 24", n, e.Lost())
	}
	ended := send(w.table, w.now, DefaultTimeouts(), udp4(50)).Flow
	w.table.Delete(ended)
	e.Take(func(*Event) bool { return true })
	w.table.SetMark(ended, 5) // by a packet that came in one burst with what ended its flow
	e.Take(func(ev *Event) bool { t.Errorf("%v of a flow that has ended", ev.Kind); return true })
	w.table.Silence(e)
	send(w.table, w.now, DefaultTimeouts(), udp4(51))
	e.Take(func(*Event) bool { t.Error("an event after the reader left"); return true })
}

// CT-10: several readers each get every event, and each loses its own; a change of the
// mark is one, and setting the mark that there is none.
func TestEventReaders(t *testing.T) {
	table := newTable(t, MinFlows, 0)
	var rings [MaxReaders]*Events
	for i := range rings {
		rings[i] = NewEvents(1 << i)
		if !table.Report(rings[i]) {
			t.Fatalf("no room for reader %d", i)
		}
	}
	if table.Report(NewEvents(4)) {
		t.Error("a reader more than there may be")
	}
	flow := send(table, 0, DefaultTimeouts(), udp4(1)).Flow
	table.SetMark(flow, 7)
	table.SetMark(flow, 7)
	table.Silence(rings[3])
	table.Delete(flow)
	for i, e := range rings {
		want := []string{"NEW 0", "UPDATE 7", "DESTROY 7"}
		if i == 3 {
			want = want[:2]
		}
		kept := min(len(want), 1<<i)
		var got []string
		e.Take(func(ev *Event) bool {
			got = append(got, fmt.Sprint(ev.Kind, " ", ev.Flow.Mark))
			return true
		})
		if !slices.Equal(got, want[:kept]) || e.Lost() != uint64(len(want)-kept) {
			t.Errorf("reader %d: %q, %d lost; want %q", i, got, e.Lost(), want)
		}
	}
	if !table.Report(rings[3]) {
		t.Error("the place of one that left is not given again")
	}
}

// CT-10: filters choose by each part of a flow.
func TestFilters(t *testing.T) {
	table := newTable(t, MinFlows, MinFlows)
	p := send(table, 0, DefaultTimeouts(), udp4(5))
	table.Flow(p.Flow).SetMark(0x12)
	info := table.Info(p.Flow, 0)
	info.Packets, info.Bytes, info.Age = [2]uint64{3, 1}, [2]uint64{300, 60}, time.Minute
	span := func(least, most uint64) *Span { return &Span{least, most} }
	port := func(n uint16) *uint16 { return &n }
	proto := func(n uint8) *uint8 { return &n }
	for _, tc := range []struct {
		name string
		f    Filter
		want bool
	}{
		{"all", Filter{}, true},
		{"protocol", Filter{Proto: proto(packet.ProtoUDP)}, true}, {"another protocol", Filter{Proto: proto(6)}, false},
		{"source", Filter{Src: netip.MustParsePrefix("10.0.0.0/24")}, true}, {"another source", Filter{Src: netip.MustParsePrefix("10.0.1.0/24")}, false},
		{"destination", Filter{Dst: netip.MustParsePrefix("192.0.2.1/32")}, true}, {"another", Filter{Dst: netip.MustParsePrefix("192.0.2.2/32")}, false},
		{"ports", Filter{SrcPort: port(5), DstPort: port(53)}, true}, {"another port", Filter{SrcPort: port(53)}, false},
		{"answers", Filter{ReplySrc: netip.MustParsePrefix("192.0.2.1/32"), ReplyDst: netip.MustParsePrefix("10.0.0.0/24"), ReplySrcPort: port(53), ReplyDstPort: port(5)}, true},
		{"another's answers", Filter{ReplySrc: netip.MustParsePrefix("10.0.0.0/24")}, false}, {"answers to another", Filter{ReplyDst: netip.MustParsePrefix("10.0.1.0/24")}, false},
		{"answers from another port", Filter{ReplySrcPort: port(5)}, false}, {"answers to another port", Filter{ReplyDstPort: port(53)}, false},
		{"zone", Filter{Zone: port(0)}, true}, {"another zone", Filter{Zone: port(1)}, false},
		{"mark", Filter{Mark: 0x12, MarkMask: ^uint32(0)}, true}, {"mark in a mask", Filter{Mark: 0x10, MarkMask: 0xf0}, true},
		{"another mark", Filter{Mark: 1, MarkMask: 1}, false},
		{"state", Filter{State: "unreplied"}, true}, {"another state", Filter{State: "ASSURED"}, false},
		{"family", Filter{Family: 4}, true}, {"the other", Filter{Family: 6}, false},
		{"packets", Filter{Packets: [2]*Span{span(3, 3), span(1, 9)}}, true}, {"fewer packets", Filter{Packets: [2]*Span{nil, span(2, 9)}}, false},
		{"bytes", Filter{Bytes: [2]*Span{span(0, 300), span(60, 60)}}, true}, {"more bytes", Filter{Bytes: [2]*Span{span(0, 299), nil}}, false},
		{"more bytes back", Filter{Bytes: [2]*Span{nil, span(0, 59)}}, false}, {"more packets", Filter{Packets: [2]*Span{span(0, 2), nil}}, false},
		{"age", Filter{Age: span(0, uint64(time.Minute))}, true}, {"older", Filter{Age: span(0, uint64(time.Minute)-1)}, false},
	} {
		if got := tc.f.Match(&info); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

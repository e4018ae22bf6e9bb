package ct

import (
	"net/netip"
	"testing"

	"ffwd/packet"
)

// CT-10: a connection's life as events, and a ring that is full loses and counts.
func TestEvents(t *testing.T) {
	w := newWire(t)
	e := NewEvents(16)
	w.table.Report(e)
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
	w.table.Report(nil)
	send(w.table, w.now, DefaultTimeouts(), udp4(50))
	e.Take(func(*Event) bool { t.Error("an event after the reader left"); return true })
}

// CT-10: filters choose by each part of a flow.
func TestFilters(t *testing.T) {
	table := newTable(t, MinFlows, MinFlows)
	p := send(table, 0, DefaultTimeouts(), udp4(5))
	table.Flow(p.Flow).SetMark(0x12)
	info := table.Info(p.Flow, 0)
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
		{"zone", Filter{Zone: port(0)}, true}, {"another zone", Filter{Zone: port(1)}, false},
		{"mark", Filter{Mark: 0x12, MarkMask: ^uint32(0)}, true}, {"mark in a mask", Filter{Mark: 0x10, MarkMask: 0xf0}, true},
		{"another mark", Filter{Mark: 1, MarkMask: 1}, false},
		{"state", Filter{State: "unreplied"}, true}, {"another state", Filter{State: "ASSURED"}, false},
		{"family", Filter{Family: 4}, true}, {"the other", Filter{Family: 6}, false},
	} {
		if got := tc.f.Match(&info); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

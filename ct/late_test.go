package ct

import (
	"testing"
	"time"

	"ffwd/packet"
)

// CT-9, TO-8: a flow whose deadline has passed is over, although the wheel has not come
// by: its next packet is the first of a new one, whichever loop it takes.
func TestPastItsDeadline(t *testing.T) {
	deadline := func(table *Table) int64 {
		i := uint32(0)
		table.Walk(1, 1000, func(flow uint32) bool { i = flow; return false })
		return int64(table.flow(i).deadline)
	}
	stream := func(table *Table) int64 { // settled: joined in one cache line
		send(table, 0, DefaultTimeouts(), udp4(1))
		send(table, second, DefaultTimeouts(), udp4(1).reversed())
		send(table, 3*second, DefaultTimeouts(), udp4(1))
		return deadline(table)
	}
	for _, late := range []struct {
		ticks int64
		want  packet.CtState
	}{{-1, packet.CtEstablished}, {0, packet.CtNew}, {1, packet.CtNew}} {
		table := newTable(t, MinFlows, 0)
		at := stream(table) + late.ticks
		p := send(table, at<<tickShift, DefaultTimeouts(), udp4(1))
		if p.State != late.want || table.Flows4 != 1 {
			t.Errorf("UDP, %d ticks behind its deadline: %s, want %s", late.ticks, p.State, late.want)
		}
		w := newWire(t)
		w.open()
		w.now = (deadline(w.table) + late.ticks) << tickShift
		p = w.pass(toServer, seg{flags: fA, seq: 1, ack: 1, size: 10, win: 1000})
		if p.State != late.want || w.table.Flows4 != 1 {
			t.Errorf("TCP, %d ticks behind its deadline: %s, want %s", late.ticks, p.State, late.want)
		}
	}
}

// TO-2: shorter timeouts reach a connection in use at its next packet, and it ends by them
// soon after, though the wheel has it where the longer ones would have it.
func TestShorterTimeoutsEndConnectionsSoon(t *testing.T) {
	w := newWire(t)
	w.open()
	w.pass(toServer, seg{flags: fA, seq: 1, ack: 1, size: 10, win: 1000}) // unacknowledged: into an early slot
	w.pass(toClient, seg{flags: fA, seq: 1, ack: 11, win: 2000})
	short := NewTimeouts(map[State]time.Duration{
		TCPEstablished: 10 * time.Second, TCPUnacknowledged: 5 * time.Second, TCPMaxRetrans: 5 * time.Second,
	})
	send(w.table, w.now+second, short, w.of, tcpBytes(seg{flags: fA, seq: 11, ack: 1, win: 1001})...)
	w.table.Expire(w.now+10*second, 1<<20)
	if w.table.Flows4 != 1 {
		t.Fatal("the connection ended before its time")
	}
	if w.table.Expire(w.now+12*second+int64(earlyMost)<<tickShift, 1<<20); w.table.Flows4 != 0 {
		t.Error("the connection outlives its timeout by more than a look of the wheel")
	}
}

// CT-9, TO-8: a connection that the wheel has moved back to where its longest timeout has
// it comes forward again when data is under way, and ends in time.
func TestConnectionComesForwardAgain(t *testing.T) {
	w := newWire(t)
	w.open()
	for seq := uint32(1); seq < 40; seq += 10 {
		w.pass(toServer, seg{flags: fA, seq: seq, ack: 1, size: 10, win: 1000})
		w.pass(toClient, seg{flags: fA, seq: 1, ack: seq + 10, win: 2000})
		w.now += 2 * int64(earlyMost) << tickShift
		if w.table.Expire(w.now, 1<<20); w.table.Flows4 != 1 {
			t.Fatal("the connection ended before its time")
		}
	}
	w.pass(toServer, seg{flags: fA, seq: 41, ack: 1, size: 10, win: 1000})
	unacknowledged := int64(DefaultTimeouts().at(TCPUnacknowledged)) << tickShift
	if w.table.Expire(w.now+unacknowledged-second, 1<<20); w.table.Flows4 != 1 {
		t.Fatal("the connection ended before its time")
	}
	if w.table.Expire(w.now+unacknowledged+second, 1<<20); w.table.Flows4 != 0 {
		t.Error("the connection outlives its timeout")
	}
}

// CT-4, CT-10: ticks go round in 52 days, and are compared as if they did in 26. A connection that lasts longer
// is as old as it is, and a flow that is answered only then is a stream two seconds later.
func TestFlowsOutliveTheTicks(t *testing.T) {
	const day = 24 * 3600 * second
	patient := NewTimeouts(map[State]time.Duration{UDPUnreplied: 20 * 24 * time.Hour})
	for _, begin := range []int64{0, 5*second + 1, 51 * day} {
		for _, days := range []int64{1, 10, 27, 40, 52, 53, 110, 800} {
			table, now, end := newTable(t, MinFlows, 0), begin, begin+days*day
			for ; now < end; now += min(15*day, end-now) {
				send(table, now, patient, udp4(1))
			}
			send(table, now, patient, udp4(1).reversed())
			send(table, now+3*second, patient, udp4(1))
			info := table.Info(1, now+3*second)
			if info.State != UDPReplied || !info.Assured {
				t.Errorf("answered after %d days from %d on: %v", days, begin, info.State)
			}
			if age := int64(info.Age); age < days*day+3*second-second/50 || age > days*day+3*second+second/50 {
				t.Errorf("after %d days and 3 s from %d on it is %v old", days, begin, info.Age)
			}
		}
	}
}

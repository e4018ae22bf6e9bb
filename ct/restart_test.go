package ct

import (
	"net/netip"
	"testing"
	"time"

	"ffwd/packet"
)

// CT-2: a connection that reuses the ports of one that has ended is a new one.
func TestRestartIsNew(t *testing.T) {
	out := tuple{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), 1024, 80, packet.ProtoTCP}
	back := out.reversed()
	table := newTable(t, MinFlows, MinFlows)
	to := DefaultTimeouts()
	send(table, 0, to, out, tcp(packet.TCPSyn)...)
	send(table, 0, to, back, tcp(packet.TCPRst|packet.TCPAck)...)
	p := send(table, 0, to, out, tcp(packet.TCPSyn)...)
	if p.State != packet.CtNew {
		t.Errorf("a SYN that opens a new connection is %v to the rules, want new", p.State)
	}
}

// CT-4: a protocol without ports has one flow between two hosts, and lives as long as
// the generic timeout says.
func TestGenericProtocols(t *testing.T) {
	a := tuple{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), 0, 0, 89}
	table := newTable(t, MinFlows, MinFlows)
	p := send(table, 0, DefaultTimeouts(), a)
	if i := table.Info(p.Flow, 0); i.Expires < 590*time.Second || i.State != Generic {
		t.Errorf("%v lives %v, want the generic 600s", i.State, i.Expires)
	}
	if q := send(table, 0, DefaultTimeouts(), a.reversed()); q.Flow != p.Flow || !q.Is(packet.ReplyDir) {
		t.Errorf("the answer is in flow %d, not %d", q.Flow, p.Flow)
	}
	a.proto = packet.ProtoGRE
	p = send(table, 0, DefaultTimeouts(), a)
	send(table, 0, DefaultTimeouts(), a.reversed())
	if i := table.Info(p.Flow, 0); i.State != GREUnreplied || i.Assured || i.Expires > 30*time.Second {
		t.Errorf("GRE, one packet each way: %+v", i)
	}
	for range 3 { // the second and third by the short loop
		send(table, 0, DefaultTimeouts(), a)
	}
	if i := table.Info(p.Flow, 0); i.State != GREReplied || !i.Assured || i.Expires < 179*time.Second || i.Packets != [2]uint64{4, 1} {
		t.Errorf("GRE: %+v", i)
	}
}

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

// A protocol without a tracker lives as long as the generic timeout says.
func TestSCTPHasTheGenericTimeout(t *testing.T) {
	a := tuple{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), 1024, 80, packet.ProtoSCTP}
	table := newTable(t, MinFlows, MinFlows)
	p := send(table, 0, DefaultTimeouts(), a)
	i := table.Info(p.Flow, 0)
	if i.Expires < 590*time.Second {
		t.Errorf("an SCTP flow lives %v, want the generic 600s", i.Expires)
	}
}

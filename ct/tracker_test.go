package ct

import (
	"net/netip"
	"testing"

	"ffwd/packet"
)

// CT-2, CT-4: what may start a flow and what may not.
func TestAdmission(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	c, d := netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
	for _, tc := range []struct {
		name string
		of   tuple
		l4   []byte
		want packet.CtState
	}{
		{"UDP", tuple{a, b, 1, 2, packet.ProtoUDP}, nil, packet.CtNew},
		{"SYN", tuple{a, b, 1, 2, packet.ProtoTCP}, tcp(packet.TCPSyn), packet.CtNew},
		{"SYN/ACK with no SYN", tuple{a, b, 1, 2, packet.ProtoTCP}, tcp(packet.TCPSyn | packet.TCPAck), packet.CtInvalid},
		{"RST with no flow", tuple{a, b, 1, 2, packet.ProtoTCP}, tcp(packet.TCPRst), packet.CtInvalid},
		{"FIN with no flow", tuple{a, b, 1, 2, packet.ProtoTCP}, tcp(packet.TCPFin | packet.TCPAck), packet.CtInvalid},
		{"no flags", tuple{a, b, 1, 2, packet.ProtoTCP}, tcp(0), packet.CtInvalid},
		{"ACK in mid-stream", tuple{a, b, 1, 2, packet.ProtoTCP}, tcp(packet.TCPAck), packet.CtNew},
		{"echo request", tuple{a, b, 7, 7, packet.ProtoICMP}, []byte{packet.ICMPEchoRequest}, packet.CtNew},
		{"echo reply with no request", tuple{a, b, 7, 7, packet.ProtoICMP}, []byte{packet.ICMPEchoReply}, packet.CtInvalid},
		{"ICMPv6 echo request", tuple{c, d, 7, 7, packet.ProtoICMPv6}, []byte{packet.ICMPv6EchoRequest}, packet.CtNew},
		{"ICMPv6 echo reply with no request", tuple{c, d, 7, 7, packet.ProtoICMPv6}, []byte{packet.ICMPv6EchoReply}, packet.CtInvalid},
	} {
		table := newTable(t, MinFlows, MinFlows)
		if p := send(table, 0, DefaultTimeouts(), tc.of, tc.l4...); p.State != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, p.State, tc.want)
		}
		if got, want := table.Flows4+table.Flows6, uint64(b2i(tc.want == packet.CtNew)); got != want {
			t.Errorf("%s: %d flows, want %d", tc.name, got, want)
		}
	}
}

// A TCP connection's life by its flags.
func TestTCPStates(t *testing.T) {
	out := tuple{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), 1024, 80, packet.ProtoTCP}
	back := out.reversed()
	const syn, ack, fin, rst = packet.TCPSyn, packet.TCPAck, packet.TCPFin, packet.TCPRst
	type step struct {
		of    tuple
		flags uint8
		want  State
	}
	for name, steps := range map[string][]step{
		"open and close": {
			{out, syn, TCPSynSent}, {back, syn | ack, TCPSynRecv}, {out, ack, TCPEstablished}, {back, ack, TCPEstablished},
			{out, fin | ack, TCPFinWait}, {back, ack, TCPCloseWait}, {back, fin | ack, TCPLastAck}, {out, ack, TCPTimeWait},
		},
		"reset":            {{out, syn, TCPSynSent}, {back, rst | ack, TCPClose}},
		"repeated SYN":     {{out, syn, TCPSynSent}, {out, syn, TCPSynSent}},
		"ports used again": {{out, syn, TCPSynSent}, {back, rst | ack, TCPClose}, {out, syn, TCPSynSent}, {back, syn | ack, TCPSynRecv}},
		"mid-stream":       {{out, ack, TCPEstablished}, {back, ack, TCPEstablished}},
	} {
		table := newTable(t, MinFlows, 0)
		for i, s := range steps {
			p := send(table, 0, DefaultTimeouts(), s.of, tcp(s.flags)...)
			if got := table.Info(p.Flow, 0).State; got != s.want {
				t.Errorf("%s, step %d: %v, want %v", name, i, got, s.want)
			}
		}
	}
}

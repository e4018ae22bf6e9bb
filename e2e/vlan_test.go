package e2e

import (
	"net"
	"testing"
)

const vlanID = 100

// The client is behind a VLAN, the server is not. AF_XDP sees the tag in the frame;
// a packet socket gets it beside the frame, and net_af_packet puts it back.
func TestVLAN(t *testing.T) {
	runChecks(t, []variant{kernel, afPacket, afXDP}, topology{vlan: vlanID}, []check{
		{"ping", checkPing},
		{"ping sizes", checkPingSizes},
		{"hop limit", checkHopLimit},
		{"udp", checkUDP},
		{"download", checkDownload},
		{"other tag", checkOtherTag},
	})
}

// FF-2: a tag without a sub-port is counted, and goes nowhere.
func checkOtherTag(t *testing.T, b *bed) {
	if b.ffwd == nil {
		return
	}
	before := b.ffwd.report(t).reason("unknown_vlan")
	to, err := net.ParseMAC(b.client.gwMAC)
	if err != nil {
		t.Fatal(err)
	}
	const frames = 5
	for range frames {
		frame := make([]byte, 60)
		copy(frame, to)
		frame[6], frame[12] = 2, 8 // from anybody, IPv4
		b.trunk.send(vlanID+1, frame)
	}
	eventually(t, "unknown_vlan does not count 5", func() bool {
		return b.ffwd.report(t).reason("unknown_vlan") == before+frames
	})
}

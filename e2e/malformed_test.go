package e2e

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ffwd/capture"
)

// everywhere leads every address to wan, as capture.Kind.Expect wants it.
var everywhere = []fileRoute{{netip.MustParsePrefix("0.0.0.0/0"), "wan"}, {netip.MustParsePrefix("::/0"), "wan"}}

// Every kind of malformed frame meets the fate it should, and is counted for the
// right reason. FF-2, FF-4, FF-12, FF-14, SP-5
func TestMalformedFramesAreCounted(t *testing.T) {
	var in bytes.Buffer
	counts, err := capture.Malformed(&in, 1, 50*len(capture.Kinds()), capture.KindRandomHeader, capture.KindRandomFrame)
	if err != nil {
		t.Fatal(err)
	}
	want, forwarded, received := map[string]uint64{}, uint64(0), uint64(0)
	for kind, n := range counts {
		received += uint64(n)
		if e := kind.Expect(); e.Fate == capture.Forwarded {
			forwarded += uint64(n)
		} else {
			want[e.Reason.String()] += uint64(n)
		}
	}
	f := &files{routes: everywhere, burst: 64, noCT: true} // pieces without their others are forwarded
	r := f.run(t, in.Bytes())
	if r.Received != received || r.Transmitted != forwarded || r.Created != 0 {
		t.Errorf("received %d, transmitted %d, created %d, want %d, %d and 0", r.Received, r.Transmitted, r.Created, received, forwarded)
	}
	for _, reasons := range []map[string]uint64{want, r.Drops, r.Punts} {
		for reason := range reasons {
			if r.reason(reason) != want[reason] {
				t.Errorf("%s: %d counted, want %d", reason, r.reason(reason), want[reason])
			}
		}
	}
}

// Random bytes meet any fate, but are counted, and nothing breaks.
func TestRandomFrames(t *testing.T) {
	for seed := range uint64(3) {
		var in bytes.Buffer
		const frames = 30_000
		if _, err := capture.Malformed(&in, seed, frames); err != nil {
			t.Fatal(err)
		}
		f := &files{routes: everywhere, burst: 64}
		if r := f.run(t, in.Bytes()); r.Received != frames {
			t.Errorf("seed %d: received %d of %d", seed, r.Received, frames)
		}
	}
}

// The same frames from a wire, with the kernel's drivers between. Without those that
// the kernel keeps from a packet socket: fragments of what never becomes whole, and
// half a VLAN tag.
func TestMalformedFramesFromTheWire(t *testing.T) {
	without := []capture.Kind{capture.KindRandomHeader, "vlan_truncated"}
	for _, kind := range capture.Kinds() {
		if strings.HasPrefix(string(kind), "ipv4_fragment") {
			without = append(without, kind)
		}
	}
	var in bytes.Buffer
	if _, err := capture.Malformed(&in, 4, 5000, without...); err != nil {
		t.Fatal(err)
	}
	runChecks(t, []variant{afPacket, afXDP}, topology{}, []check{{"frames", func(t *testing.T, b *bed) {
		mac, err := net.ParseMAC(b.client.gwMAC)
		if err != nil {
			t.Fatal(err)
		}
		wire, before, sent := b.client.sniff(t), b.ffwd.report(t).Received, uint64(0)
		for rest := in.Bytes()[24:]; len(rest) > 0; { // file header; record headers of 16 bytes
			n := binary.LittleEndian.Uint32(rest[8:])
			frame := bytes.Clone(rest[16 : 16+n])
			rest = rest[16+n:]
			if bytes.HasPrefix(frame, capture.DefaultDstMAC[:]) {
				copy(frame, mac)
			}
			// The kernel refuses what is no frame, or too long for the link.
			if _, err := unix.Write(wire.fd, frame); err != nil {
				continue
			}
			if sent++; sent%128 == 0 { // no faster than they are taken
				eventually(t, "frames are lost", func() bool { return b.ffwd.report(t).Received+64 >= before+sent })
			}
		}
		if r := b.ffwd.report(t); sent < 4000 || r.reason("bad_checksum") == 0 || r.reason("martian") == 0 {
			t.Errorf("%d frames sent, drops %v", sent, r.Drops)
		}
		b.client.ping(t, b.server.ipv4, "-c", "5", "-i", "0.01")
	}}})
}

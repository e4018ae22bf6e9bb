package e2e

import (
	"bytes"
	"net/netip"
	"testing"

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
	f := &files{routes: everywhere, burst: 64}
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

package pipeline

import (
	"ffwd/ct"
	"ffwd/packet"
)

// Verify looks for wrong L4 checksums in what came from a wire, if it is asked to. What the
// host's kernel or a listener sends has not travelled.
//
// Needs:  Parse.
// Writes: Broken.
// Source: CT-2.
type Verify struct{ *context }

// Process verifies the burst.
func (s *Verify) Process(b *packet.Burst) {
	if s.snap.Tracking.Checksum {
		ct.Verify(b)
	}
}

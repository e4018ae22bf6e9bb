package ct

import "ffwd/packet"

// Flow is the hot part of a flow's entry: exactly one cache line, all that a
// packet of an established flow reads and writes. 64 bytes.
type Flow struct {
	key
	bytes     [2]uint64 // L3 bytes per direction
	packets   [2]uint32 // low half; the high half is in the cold part
	deadline  uint32    // tick at which the flow expires
	verdict   uint32    // generation of the decisions, see verdict.go
	decisions [4]uint16
	mark      uint32 // the connection's
	policy    uint16 // timeout policy, 0 is the protocol's default
	state     State
	flags     uint8
}

// Flags of a flow.
const (
	translated = 1  // the reply tuple is not the original one reversed, see twin.go
	settled    = 2  // nothing that a packet says changes its state, but that there was a reply
	assured    = 4  // early drop spares it
	early      = 8  // it is in the wheel for its shorter timeout already, see Table.refresh
	noted      = 64 // cold.note is valid

	origSwapped = packet.KeySwapped // the original direction's packets have KeySwapped set
	seenReply   = packet.ReplyDir   // a packet had it
)

// Directions index counters and cached verdicts.
const (
	Original = 0
	Reply    = 1
)

// cold is what only slow events touch: expiry links, start time, the counters'
// high halves. 20 bytes.
type cold struct {
	prev, next  uint32 // expiry list, or next alone in the free list
	start       uint32 // when it was confirmed, see startOf
	packetsHigh [2]uint16
	slot        uint16 // of the expiry wheel, and what counts the flow, see limits.go
	note        uint16 // of the TCP tracker, see reset.go
}

// addresses are an IPv6 flow's two ends in key order. 32 bytes.
type addresses struct{ low, high [16]byte }

// Ticks are the unit of deadlines: 2^20 ns, about a millisecond. 32 bits of them
// last 52 days; comparisons are by signed difference, so a deadline may lie up
// to 26 days ahead.
const tickShift = 20

// Tick returns the tick of a monotonic time in nanoseconds.
func Tick(nowNs int64) uint32 { return uint32(nowNs >> tickShift) }

// An answered UDP flow is a stream two seconds after it began. When that was is in the cold
// part; in the flow are 8 bits of it, which tell young flows at once. Older ones, which are
// none for long, are looked at exactly. The 8 bits go round in 69 seconds: of flows that
// idle so long without an end, one packet in 37 may be taken for young.
const (
	ageShift = 8 // 0.27 s
	young    = streamTicks>>ageShift - 1
)

// age returns for how many units of 2^ageShift ticks the flow has been there, modulo 256,
// rounded up or down.
func (f *Flow) age(now uint32) uint32 { return uint32(uint8(now>>ageShift) - uint8(f.verdict)) }

// startShift makes the unit of a flow's start, 17 ms: 32 bits of it last two years.
// Sessions of routing protocols outlive the 52 days of ticks.
const startShift = 24

// startOf is a flow's start as the cold part has it.
func startOf(nowNs int64) uint32 { return uint32(nowNs >> startShift) }

// lasted returns for how many ticks a flow has been there, a few more at most, modulo 2^32.
func (c *cold) lasted(now uint32) uint32 { return now - c.start<<(startShift-tickShift) }

// born notes when the flow began.
func (f *Flow) born(now uint32) { f.verdict = f.verdict&^0xff | now>>ageShift&0xff }

// direction returns Original or Reply for a packet whose key is swapped or not.
func (f *Flow) direction(keySwapped bool) int {
	if keySwapped != (f.flags&origSwapped != 0) {
		return Reply
	}
	return Original
}

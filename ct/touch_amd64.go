package ct

import (
	"unsafe"

	"ffwd/packet"
)

// touch joins the packets of the common case: a flow that was found at once, and whose
// tracker and place in the wheel stay as they are. All that takes is its cache line, and
// of IPv6 its addresses. It stops at the first packet that wants more and returns how
// many came before.
//
// IPv4 is in assembly: the compiler does not keep what touchPlain needs in registers, and
// takes twice the instructions (TestTouch holds the two together).
func (t *Table) touch(heads packet.Heads, candidates []uint32, now uint32, timeouts *Timeouts) int {
	n := heads.Len()
	if n == 0 {
		return 0
	}
	_ = candidates[n-1+ahead]
	first, stride := heads.Place()
	at := touchSettled(first, stride, n, &candidates[0], t.flowBase, now, timeouts)
	if at < n && heads.At(at).Is(packet.IsIPv6) {
		at += t.touchPlain(heads.From(at), candidates[at:], now, timeouts)
	}
	return at
}

// touchTCP joins the common segments of established connections: data in sequence or an
// acknowledgement, inside the windows, from a side whose largest window is known, see
// touchTCPPlain. It stops at the first packet that wants more and returns how many came
// before. IPv4 is in assembly, for the reason that touch is.
func (t *Table) touchTCP(heads packet.Heads, candidates []uint32, now uint32, timeouts *Timeouts) int {
	n := heads.Len()
	if n == 0 {
		return 0
	}
	_ = candidates[n-1]
	first, stride := heads.Place()
	at := touchSegments(first, stride, n, &candidates[0], t.flowBase, t.windowBase, now, timeouts)
	if at < n && heads.At(at).Is(packet.IsIPv6) {
		at += t.touchTCPPlain(heads.From(at), candidates[at:], now, timeouts)
	}
	return at
}

// joinPlain is touchAny for packets of IPv4 in frames of which a run knows more, and of which
// nobody wants to know the flow: 39 instructions in place of 55 for a datagram.
func (t *Table) joinPlain(run *packet.Run, at, n int, now uint32, timeouts *Timeouts) int {
	from := at
	for at < n {
		at += joinSettled(&run.Heads[at], &run.Size[at], n-at, &t.sought[at], t.flowBase, now, timeouts)
		if at == n {
			break
		}
		segments := joinSegments(&run.Heads[at], &run.Size[at], n-at, &t.sought[at], t.flowBase, t.windowBase, now, timeouts)
		if at += segments; segments == 0 {
			break
		}
	}
	return at - from
}

//go:noescape
func joinSettled(heads *packet.Head, sizes *uint16, n int, candidates *uint32, flows unsafe.Pointer, now uint32, timeouts *Timeouts) int

//go:noescape
func joinSegments(heads *packet.Head, sizes *uint16, n int, candidates *uint32, flows, windows unsafe.Pointer, now uint32, timeouts *Timeouts) int

//go:noescape
func touchSegments(heads *packet.Head, stride uintptr, n int, candidates *uint32, flows, windows unsafe.Pointer, now uint32, timeouts *Timeouts) int

//go:noescape
func touchSettled(heads *packet.Head, stride uintptr, n int, candidates *uint32, flows unsafe.Pointer, now uint32, timeouts *Timeouts) int

// What they know of packet.Head, Flow, window and constants: what differs does not compile.
var (
	_ [unsafe.Offsetof(packet.Head{}.Flow)]struct{}    = [36]struct{}{}
	_ [unsafe.Offsetof(packet.Head{}.Len)]struct{}     = [40]struct{}{}
	_ [unsafe.Offsetof(packet.Head{}.L3)]struct{}      = [42]struct{}{}
	_ [unsafe.Offsetof(packet.Head{}.Verdict)]struct{} = [46]struct{}{}
	_ [unsafe.Offsetof(packet.Head{}.State)]struct{}   = [47]struct{}{}

	_ [unsafe.Offsetof(packet.Head{}.L4)]struct{} = [43]struct{}{}

	_ [ahead]struct{} = [8]struct{}{}

	_ [unsafe.Sizeof(Flow{})]struct{}            = [64]struct{}{}
	_ [unsafe.Offsetof(Flow{}.bytes)]struct{}    = [16]struct{}{}
	_ [unsafe.Offsetof(Flow{}.packets)]struct{}  = [32]struct{}{}
	_ [unsafe.Offsetof(Flow{}.deadline)]struct{} = [40]struct{}{}
	_ [unsafe.Offsetof(Flow{}.verdict)]struct{}  = [44]struct{}{}
	_ [unsafe.Offsetof(Flow{}.policy)]struct{}   = [60]struct{}{}
	_ [unsafe.Offsetof(Flow{}.state)]struct{}    = [62]struct{}{}
	_ [unsafe.Offsetof(Flow{}.flags)]struct{}    = [63]struct{}{}
	_ [unsafe.Sizeof(Timeouts{})]struct{}        = [1 << 7]struct{}{}

	_ [unsafe.Sizeof(window{})]struct{}        = [32]struct{}{}
	_ [unsafe.Offsetof(side{}.end)]struct{}    = [0]struct{}{}
	_ [unsafe.Offsetof(side{}.maxEnd)]struct{} = [4]struct{}{}
	_ [unsafe.Offsetof(side{}.maxAck)]struct{} = [8]struct{}{}
	_ [unsafe.Offsetof(side{}.maxWin)]struct{} = [12]struct{}{}
	_ [unsafe.Offsetof(side{}.bits)]struct{}   = [14]struct{}{}
	_ [unsafe.Offsetof(side{}.more)]struct{}   = [15]struct{}{}

	_ [packet.Continue]struct{}                      = [1]struct{}{}
	_ [packet.IsIPv6]struct{}                        = [1]struct{}{}
	_ [packet.CtNew]struct{}                         = [1]struct{}{}
	_ [origSwapped]struct{}                          = [1 << 4]struct{}{}
	_ [seenReply]struct{}                            = [1 << 5]struct{}{}
	_ [settled]struct{}                              = [2]struct{}{}
	_ [UDPAnswered]struct{}                          = [2]struct{}{}
	_ [young]struct{}                                = [6]struct{}{}
	_ [ageShift]struct{}                             = [8]struct{}{}
	_ [packet.CtEstablished]struct{}                 = [2]struct{}{}
	_ [packet.IsFragment]struct{}                    = [2]struct{}{}
	_ [assured]struct{}                              = [4]struct{}{}
	_ [odd]struct{}                                  = [65]struct{}{}
	_ [early]struct{}                                = [8]struct{}{}
	_ [TCPEstablished]struct{}                       = [10]struct{}{}
	_ [TCPUnacknowledged]struct{}                    = [17]struct{}{}
	_ [scaleMask]struct{}                            = [15]struct{}{}
	_ [sideUnacked]struct{}                          = [0x40]struct{}{}
	_ [sideAcked]struct{}                            = [0x80]struct{}{}
	_ [0xff &^ (retransMask | connLastBack)]struct{} = [0xdc]struct{}{}
	_ [connLastEnd]struct{}                          = [0x40]struct{}{}
	_ [connLastBack]struct{}                         = [1 << 5]struct{}{}
	_ [maxAckLag]struct{}                            = [66000]struct{}{}
)

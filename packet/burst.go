package packet

import "unsafe"

// MaxBurst is the largest number of packets in one burst.
const MaxBurst = 256

// A Verdict is what is to become of a packet. Stages mark it; the worker acts on
// it after the last stage, in one place.
type Verdict uint8

// The zero verdict is drop, so that forgetting fails closed.
const (
	Drop     Verdict = iota
	Continue         // still under way; after the last stage: dropped as "unfinished"
	Transmit         // leave by Egress as one frame
	Fragment         // leave by Egress in RFC 791 fragments
	Reject           // drop, and answer with the ICMP error in Answer
	Punt             // to the slow path, byte for byte as received
	Held             // already owned by somebody else (handoff ring)
	Await            // keep until the next hop's address on its link is known
	Queue            // to a listener in another process
)

// CtState is a packet's relation to its flow, as rules match it. Source: CT-2.
type CtState uint8

// The zero state is invalid, so that forgetting fails closed.
const (
	CtInvalid CtState = iota
	CtNew
	CtEstablished
	CtRelated
	CtUntracked
)

// String returns the word that rules and listings use.
func (s CtState) String() string {
	return [...]string{"invalid", "new", "established", "related", "untracked"}[s]
}

// Flags of a packet.
const (
	IsIPv6        = 1 << iota // the network header is IPv6
	IsFragment                // not a whole datagram: MF set or offset not zero
	LaterFragment             // offset not zero: there is no L4 header
	HasPorts                  // PortsLE is valid (TCP, UDP, SCTP, or the ICMP echo id in both)
	KeySwapped                // the flow key's low end is the packet's destination
	ReplyDir                  // travels against the flow's first packet
	LinkMulticast             // the frame was broadcast or multicast
	Broken                    // the L4 header is cut short, or says what cannot be: conntrack calls it invalid
)

// Packet is what the stages know of one received frame, in the burst; the frame
// itself stays in its mbuf.
type Packet struct {
	Head
	Mbuf *Mbuf

	NextHop unsafe.Pointer // *fib.Adjacency, set by the Route stage, valid in this poll
	Mark    uint32         // set by rules and listeners; 0 on arrival
	CtMark  uint32         // for the flow that this packet may start
	Via     uint32         // fib.NextHopID that a rule chose, 0 when none did: see Burst.Chosen

	// How its addresses are translated, 0 when they are not: see Burst.Translated. What a new
	// packet has is its own until its flow is confirmed.
	Translation uint32

	Ingress uint16 // interface index
	Egress  uint16 // interface index, set by the Route stage
	MTU     uint16 // bytes of the egress interface or route, set by the Route stage; or see ParameterProblem
	DataOff uint16 // bytes from the mbuf's buffer to Data
	Policy  uint16 // timeout policy for the flow that a new packet may start, 0 is none

	Reason Reason // why it was dropped, rejected or punted
	Answer Answer // the ICMP error of a rejected packet

	// For the flow that a new packet may start: the limits of rules that it counts for, and
	// whether it may have what is kept for flows of priority. Source: CT-7.
	Limits   [2]uint8
	Priority bool
	Waited   Wait // for what it waited outside of the pipeline
}

// Wait is what a packet waited for outside of the pipeline, while others may have begun
// its flow. Source: CT-6.
type Wait uint8

// What packets wait for. One that never waited can meet its flow at confirmation only
// because another of the same burst was quicker.
const (
	WaitNone      Wait = iota
	WaitQueue          // a verdict
	WaitNeighbour      // the link address of the next hop
	NumWaits
)

// Answer names what answers a rejected packet, an ICMP error unless it says so, alike
// for IPv4 and IPv6. Source: FF-6 to FF-10, FF-14.
type Answer uint8

// The answers the switch sends.
const (
	NoAnswer Answer = iota
	TimeExceeded
	NetUnreachable
	HostUnreachable
	AdminProhibited
	TooBig // "fragmentation needed" or "packet too big", with Packet.MTU
	PortUnreachable
	Redirect         // forwarded all the same: the sender may ask the next hop itself
	ParameterProblem // IPv4 only; Packet.MTU is the offset of the fault in the header
	BeyondScope      // IPv6 only: a link-local source, and the next hop is on another link
	TCPReset         // no ICMP error, but what a closed port answers; TCP only
	NumAnswers
)

// Burst is what one poll of one queue gave: N packets, in arrival order.
// A worker owns its bursts; they are never shared.
type Burst struct {
	N     int
	NowNs int64 // the burst clock: monotonic nanoseconds, read once
	// Divert: a packet that is still under way may have a punt reason already. It
	// is the slow path's, once the hooks have let it pass.
	Divert bool
	// Glean: a packet's next hop has no known address on its link.
	Glean bool
	// Chosen: rules chose the next hop of packets that have Via.
	Chosen bool
	// Translated: there are packets with Translation.
	Translated bool
	// Departed: behind Route, every packet's verdict is Transmit already.
	Departed bool
	// Strays: there are fragments or ICMP errors, which a device does not lead to the
	// worker that owns their flow.
	Strays bool
	Pkts   [MaxBurst]Packet
}

// Live returns the packets of the burst.
func (b *Burst) Live() []Packet { return b.Pkts[:b.N] }

// Load makes the burst the frames in mbufs, which came in on an interface, with
// nothing known of them yet, and returns the bytes of all of them.
//
// All packets are cleared at once, in the widest stores there are, and the rest
// is set field by field. A composite literal is built aside and copied, and the
// copy waits for its own stores (8 ns per packet, pipeline.BenchmarkParse).
func (b *Burst) Load(mbufs []*Mbuf, ingress uint16) (bytes uint64) {
	b.N, b.Divert, b.Strays = len(mbufs), false, false
	pkts := b.Live()
	clear(pkts)
	for i, m := range mbufs {
		p := &pkts[i]
		off := m.DataOff
		p.Mbuf, p.Data = m, unsafe.Add(m.BufAddr, uintptr(off))
		n := m.DataLen
		p.Len, p.Ingress, p.DataOff, p.L3 = n, ingress, off, EthernetLen
		bytes += uint64(n)
	}
	return bytes
}

// DropFor marks the packet as dropped for r.
func (p *Packet) DropFor(r Reason) { p.Verdict, p.Reason = Drop, r }

// PuntLater marks the packet for the slow path because of r, but leaves it under
// way: the rules are asked first. Its burst's Divert must say so.
func (p *Packet) PuntLater(r Reason) { p.Verdict, p.Reason = Continue, r }

// Diverted reports whether the packet is under way, but only to the slow path.
func (p *Packet) Diverted() bool { return p.Verdict == Continue && p.Reason != Unfinished }

// PuntFor marks the packet for the slow path because of r.
func (p *Packet) PuntFor(r Reason) { p.Verdict, p.Reason = Punt, r }

// RejectFor marks the packet as dropped for r and answered with a.
func (p *Packet) RejectFor(r Reason, a Answer) { p.Verdict, p.Reason, p.Answer = Reject, r, a }

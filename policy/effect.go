package policy

import "net/netip"

// RejectWith says how the sender of a rejected packet is told.
type RejectWith uint8

// The zero value leaves the choice to the packet's protocol.
const (
	RejectDefault   RejectWith = iota // TCP: a reset, else port unreachable; as nftables does
	TCPReset                          // RFC 9293 3.10.7.1; for TCP only
	PortUnreachable                   // as if nobody listened there
	HostUnreachable
	NetUnreachable
	AdminProhibited // RFC 1812 5.2.7.1 code 13
	rejectCount
)

var rejectNames = [...]string{
	RejectDefault: "default", TCPReset: "tcp_reset", PortUnreachable: "port_unreachable",
	HostUnreachable: "host_unreachable", NetUnreachable: "net_unreachable", AdminProhibited: "admin_prohibited",
}

func (r RejectWith) String() string { return name(rejectNames[:], int(r)) }

// Bits are those bits of a 32-bit mark that Mask names, with the values in Value, which
// has no others. The zero Bits hold for any mark and change none.
type Bits struct{ Value, Mask uint32 }

// In tells whether the mark has the bits.
func (b Bits) In(mark uint32) bool { return mark&b.Mask == b.Value }

// Set returns the mark with the bits set and all others as they were.
func (b Bits) Set(mark uint32) uint32 { return mark&^b.Mask | b.Value }

// QueueTo is where a rule gives packets, or copies of them, for somebody else to decide.
// Source: VQ-1, VQ-6.
type QueueTo struct {
	First, Last uint16 // numbers of queues, both ends in it; flows are spread over them
	Bypass      bool   // nobody listens: accept
	FailOpen    bool   // the queue is full, or its listener too slow: accept
	Divert      bool   // a packet that is accepted goes on at the next rule
}

// Mirror is the port that gets copies of packets. Source: VQ-6.
type Mirror struct {
	To   uint16 // index of an interface, whose physical port it is; 0: none does
	Only bool   // and no listener
}

// Of returns the queue of a flow with this hash.
func (q *QueueTo) Of(hash uint64) uint16 {
	return q.First + uint16(uint64(uint32(hash))*(uint64(q.Last-q.First)+1)>>32)
}

// Translation is the addresses, both ends among them, and ports that flows are given; one
// of each is chosen for a flow. Without addresses they are the interface's own. Source: FF-6.
type Translation struct {
	First, Last netip.Addr
	Ports       PortRange // 0-0: the packet's own, where that can be
}

func (t Translation) family() uint8 {
	switch {
	case !t.First.IsValid():
		return 0
	case t.First.Is4():
		return 4
	}
	return 6
}

// fits tells whether an action of a protocol can do it. Addresses of IPv6 differ in their
// lower half at most.
func (t Translation) fits(a Action, protocol int) bool {
	first, last := t.First.As16(), t.Last.As16()
	named := a == DNAT || a == SNAT
	return named == t.First.IsValid() && named == t.Last.IsValid() &&
		(!named || t.First.BitLen() == t.Last.BitLen() && !t.Last.Less(t.First) && [8]byte(first[:]) == [8]byte(last[:])) &&
		(t.Ports == PortRange{} || t.Ports.First != 0 && t.Ports.First <= t.Ports.Last && hasPorts(protocol))
}

// Effect is what a rule does to a packet that matches: all that the policy stage needs
// of it, in one place. Action decides last; the rest is done whatever it says.
type Effect struct {
	Action     Action
	RejectWith RejectWith  // Action Reject
	Queue      QueueTo     // Actions Queue and Tee
	Mirror     Mirror      // Action Tee
	To         Translation // Actions that translate
	SetMark    Bits        // of the packet
	SetCtMark  Bits        // of its connection
	NextHop    uint32      // that the packet goes by if it goes on; 0 is the route's
	Timeout    uint16      // policy of its connection, if that is new; 0 is none
	Limit      uint8       // the rule is for new connections above this limit only; 0 is none
	Priority   bool        // of its connection, if that is new
}

// Effect returns what the rule with this index does. It is not to be written.
func (s *Ruleset) Effect(index int) *Effect { return &s.effects[index] }

func (r *Rule) effect() Effect {
	return Effect{Action: r.Action, RejectWith: r.RejectWith, Queue: r.Queue, Mirror: r.Mirror, To: r.To, SetMark: r.SetMark, SetCtMark: r.SetCtMark,
		NextHop: r.NextHop, Timeout: r.Timeout, Limit: r.Limit, Priority: r.Priority}
}

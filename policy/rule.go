package policy

import (
	"errors"
	"fmt"
	"net/netip"
)

// Hook is a place in the packet's path where rules are asked (FF-6).
type Hook uint8

const (
	HookIn  Hook = iota // before the route lookup
	HookOut             // the egress port is known
	hookCount
)

// Action is what a rule decides. The zero Action is Drop, so that forgetting
// fails closed.
type Action uint8

const (
	Drop     Action = iota
	Accept          // on to the next hook
	Reject          // drop, and tell the sender: Rule.RejectWith
	Continue        // on to the next rule, after what else the rule does
	Queue           // to a listener, who decides: Rule.Queue
	Tee             // a copy to a listener or a port, and on to the next rule

	// As Accept, with other addresses for the flow that a new packet starts: Rule.To.
	DNAT       // HookIn: to another destination
	Redirect   // HookIn: to the ingress interface's own address
	SNAT       // HookOut: from another source
	Masquerade // HookOut: from the egress interface's own address
	actionCount
)

// Translates tells whether the action is one that gives flows other addresses, at its hook.
func (a Action) Translates() bool { return a >= DNAT && a <= Masquerade }

// hook is where the action makes sense, if it translates.
func (a Action) hook() Hook {
	if a == SNAT || a == Masquerade {
		return HookOut
	}
	return HookIn
}

// Terminal tells whether the action ends the walk through the rules of a hook.
func (a Action) Terminal() bool { return a != Continue && a != Tee }

// State is a packet's state in connection tracking. The zero State is Invalid,
// so that forgetting fails closed.
// Source: CT-2.
type State uint8

const (
	Invalid State = iota
	New
	Established
	Related
	Untracked
	stateCount
)

// StateSet is a set of States; the empty set in a Rule stands for any state.
type StateSet uint8

const anyState = StateSet(1<<stateCount - 1)

// States returns the set of the states given.
func States(states ...State) StateSet {
	var s StateSet
	for _, state := range states {
		s |= 1 << state
	}
	return s
}

// Has tells whether the state is in the set.
func (s StateSet) Has(state State) bool { return s>>state&1 != 0 }

var (
	hookNames   = [...]string{HookIn: "in", HookOut: "out"}
	actionNames = [...]string{Drop: "drop", Accept: "accept", Reject: "reject", Continue: "continue", Queue: "queue", Tee: "tee",
		DNAT: "dnat", Redirect: "redirect", SNAT: "snat", Masquerade: "masquerade"}
	stateNames = [...]string{
		Invalid: "invalid", New: "new", Established: "established",
		Related: "related", Untracked: "untracked",
	}
)

func (h Hook) String() string   { return name(hookNames[:], int(h)) }
func (a Action) String() string { return name(actionNames[:], int(a)) }
func (s State) String() string  { return name(stateNames[:], int(s)) }

func name(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("unknown(%d)", i)
}

// AnyProtocol in Rule.Protocol matches every L4 protocol.
const AnyProtocol = -1

// PortRange is a range of L4 ports in host order with both ends in it.
type PortRange struct{ First, Last uint16 }

// Rule is one line of the ordered list. A packet matches when it is in every
// list that is given; an empty list stands for any.
type Rule struct {
	ID       uint32 // the operator's handle; 0 = none, else unique in the list
	Hook     Hook
	Action   Action
	InPorts  []uint16 // interface indices
	OutPorts []uint16 // interface indices; HookOut only

	// Prefixes without host bits. All of them in one rule are of one family,
	// and a rule that has some matches packets of that family only.
	Src, Dst []netip.Prefix

	Family uint8 // 4 or 6 for packets of that family only, as prefixes say it; 0 without a say

	Protocol int // 0..255 or AnyProtocol

	// Ports, for TCP, UDP and SCTP only. A packet whose ports cannot be seen,
	// such as a later fragment, does not match a rule that has some.
	SrcPorts, DstPorts []PortRange

	States StateSet

	// Marks that the packet and its connection must have when the rule is asked.
	Mark, CtMark Bits

	RejectWith         RejectWith  // Action Reject
	Queue              QueueTo     // Actions Queue and Tee
	Mirror             Mirror      // Action Tee
	To                 Translation // Actions that translate
	SetMark, SetCtMark Bits        // what the rule sets, before its Action
	NextHop            uint32      // that packets which go on go by, by its number in the routing table; 0 is the route's. HookIn only
	Timeout            uint16      // timeout policy for new flows, by its index; 0 is none
	Limit              uint8       // the rule is for new connections above this limit only; 0 is none
	Priority           bool        // of new flows: they may have what is kept for them
	Comment            string
}

// Protocols with ports, by IANA number.
const (
	protoTCP  = 6
	protoUDP  = 17
	protoSCTP = 132
)

// ErrRule is in every error that Compile returns for a rule.
var ErrRule = errors.New("bad rule")

// check tells what is wrong with the rule. conf has found the same with file and
// line before; this guards against a caller that did not ask it.
func (r *Rule) check() error {
	switch {
	case r.Hook >= hookCount:
		return fmt.Errorf("%w: hook %d", ErrRule, r.Hook)
	case r.Action >= actionCount:
		return fmt.Errorf("%w: action %d", ErrRule, r.Action)
	case r.RejectWith >= rejectCount || r.RejectWith != RejectDefault && r.Action != Reject:
		return fmt.Errorf("%w: action %s with %s", ErrRule, r.Action, r.RejectWith)
	case r.Queue != QueueTo{} && r.Action != Queue && r.Action != Tee, r.Queue.Last < r.Queue.First:
		return fmt.Errorf("%w: action %s with queues %+v", ErrRule, r.Action, r.Queue)
	case r.Mirror != Mirror{} && r.Action != Tee, r.Mirror.Only && (r.Mirror.To == 0 || r.Queue != QueueTo{}):
		return fmt.Errorf("%w: action %s with %+v", ErrRule, r.Action, r.Mirror)
	case r.Action.Translates() && r.Hook != r.Action.hook(), r.To != Translation{} && !r.Action.Translates():
		return fmt.Errorf("%w: action %s at hook %s to %+v", ErrRule, r.Action, r.Hook, r.To)
	case !r.To.fits(r.Action, r.Protocol):
		return fmt.Errorf("%w: action %s of protocol %d to %+v", ErrRule, r.Action, r.Protocol, r.To)
	case r.RejectWith == TCPReset && r.Protocol != protoTCP:
		return fmt.Errorf("%w: a TCP reset for protocol %d", ErrRule, r.Protocol)
	case r.NextHop != 0 && (r.Hook != HookIn || r.Action == Drop || r.Action == Reject):
		return fmt.Errorf("%w: action %s at hook %s with a next hop", ErrRule, r.Action, r.Hook)
	case r.Family != 0 && r.Family != 4 && r.Family != 6:
		return fmt.Errorf("%w: family %d", ErrRule, r.Family)
	case len(r.OutPorts) > 0 && r.Hook != HookOut:
		return fmt.Errorf("%w: egress ports in hook %s", ErrRule, r.Hook)
	case r.Protocol < AnyProtocol || r.Protocol > 255:
		return fmt.Errorf("%w: protocol %d", ErrRule, r.Protocol)
	case r.namesPorts() && !hasPorts(r.Protocol):
		return fmt.Errorf("%w: ports of protocol %d", ErrRule, r.Protocol)
	case r.Limit != 0 && r.Action != Drop && r.Action != Reject:
		return fmt.Errorf("%w: action %s above a limit", ErrRule, r.Action)
	case r.States&^anyState != 0:
		return fmt.Errorf("%w: states %#x", ErrRule, uint8(r.States))
	}
	for _, b := range [...]Bits{r.Mark, r.CtMark, r.SetMark, r.SetCtMark} {
		if b.Value&^b.Mask != 0 {
			return fmt.Errorf("%w: mark %#x has bits outside the mask %#x", ErrRule, b.Value, b.Mask)
		}
	}
	for _, list := range [][]PortRange{r.SrcPorts, r.DstPorts} {
		for _, p := range list {
			if p.First > p.Last {
				return fmt.Errorf("%w: port range %d-%d is reversed", ErrRule, p.First, p.Last)
			}
		}
	}
	_, err := r.family()
	return err
}

func hasPorts(protocol int) bool {
	return protocol == protoTCP || protocol == protoUDP || protocol == protoSCTP
}

// namesPorts tells whether the rule asks for L4 ports.
func (r *Rule) namesPorts() bool { return len(r.SrcPorts)+len(r.DstPorts) > 0 }

// family returns 4 or 6 for a rule of one family and 0 for one of both.
func (r *Rule) family() (uint8, error) {
	family := r.Family
	if to := r.To.family(); to != 0 {
		if family != 0 && family != to {
			return 0, fmt.Errorf("%w: family %d to %s", ErrRule, family, r.To.First)
		}
		family = to
	}
	for _, list := range [][]netip.Prefix{r.Src, r.Dst} {
		for _, p := range list {
			if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
				return 0, fmt.Errorf("%w: prefix %s", ErrRule, p)
			}
			f := uint8(6)
			if p.Addr().Is4() {
				f = 4
			}
			if family != 0 && f != family {
				return 0, fmt.Errorf("%w: prefix %s: IPv4 and IPv6 in one rule", ErrRule, p)
			}
			family = f
		}
	}
	return family, nil
}

package control

import (
	"fmt"
	"time"

	"ffwd/conf"
	"ffwd/ct"
	"ffwd/policy"
)

// compileRules translates and compiles the configuration's rules. bound has the
// timeout policy of each, limits its limit, hops its next hop.
func (s *Switch) compileRules(c *conf.Config, bound []uint16, limits *limitPlan, hops heldHops, generation uint32) (*policy.Ruleset, error) {
	rules := make([]policy.Rule, len(c.Rules))
	for i := range c.Rules {
		rules[i] = s.rule(&c.Rules[i])
		rules[i].Timeout, rules[i].Limit = bound[i], limits.byRule[i]
		if h := hops[i]; h.table != nil {
			rules[i].NextHop, rules[i].Family = uint32(h.id), h.family
		}
	}
	defaults := policy.Defaults{In: action(c.Policy.DefaultIn), Out: action(c.Policy.DefaultOut)}
	set, err := policy.Compile(rules, defaults, generation)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	return set, nil
}

func (s *Switch) rule(r *conf.Rule) policy.Rule {
	out := policy.Rule{
		Action: action(r.Action), InPorts: s.indices(r.InPorts), OutPorts: s.indices(r.OutPorts),
		Src: r.Src, Dst: r.Dst, Protocol: policy.AnyProtocol,
		SrcPorts: portRanges(r.SrcPorts), DstPorts: portRanges(r.DstPorts), Comment: r.Comment,
		Mark: policy.Bits(r.Mark), CtMark: policy.Bits(r.CTMark),
		RejectWith: rejectWith[r.RejectWith], Queue: queueTo(r), Mirror: s.copiesOf(r), SetMark: policy.Bits(r.SetMark), SetCtMark: policy.Bits(r.SetCTMark),
		Priority: r.Priority,
	}
	if r.Hook == conf.HookOut {
		out.Hook = policy.HookOut
	}
	if r.Action.Translates() {
		out.To = policy.Translation{First: r.To.First, Last: r.To.Last, Ports: policy.PortRange(r.ToPorts)}
	}
	if number, given := r.Protocol.Number(); given {
		out.Protocol = int(number)
	}
	for _, state := range r.State {
		out.States |= policy.States(ctStates[state])
	}
	return out
}

var ctStates = map[conf.State]policy.State{
	conf.StateNew:         policy.New,
	conf.StateEstablished: policy.Established,
	conf.StateRelated:     policy.Related,
	conf.StateInvalid:     policy.Invalid,
	conf.StateUntracked:   policy.Untracked,
}

// action fails closed: a word it does not know is a drop.
func action(a conf.Action) policy.Action {
	switch a {
	case conf.ActionAccept:
		return policy.Accept
	case conf.ActionReject:
		return policy.Reject
	case conf.ActionContinue:
		return policy.Continue
	case conf.ActionQueue, conf.ActionDivert:
		return policy.Queue
	case conf.ActionTee:
		return policy.Tee
	case conf.ActionDNAT:
		return policy.DNAT
	case conf.ActionRedirect:
		return policy.Redirect
	case conf.ActionSNAT:
		return policy.SNAT
	case conf.ActionMasquerade:
		return policy.Masquerade
	}
	return policy.Drop
}

// rejectWith has the zero value for what is left out.
var rejectWith = map[conf.RejectWith]policy.RejectWith{
	conf.RejectTCPReset:        policy.TCPReset,
	conf.RejectPortUnreachable: policy.PortUnreachable,
	conf.RejectHostUnreachable: policy.HostUnreachable,
	conf.RejectNetUnreachable:  policy.NetUnreachable,
	conf.RejectAdminProhibited: policy.AdminProhibited,
}

func queueTo(r *conf.Rule) policy.QueueTo {
	first, last, _ := r.Queue.Bounds()
	return policy.QueueTo{First: first, Last: last, Bypass: r.Bypass, FailOpen: r.FailOpen, Divert: r.Action == conf.ActionDivert}
}

// copiesOf is where a rule's copies leave. Its zero value is nowhere, as the index of a
// name that is empty.
func (s *Switch) copiesOf(r *conf.Rule) policy.Mirror {
	_, _, listener := r.Queue.Bounds()
	return policy.Mirror{To: s.index[r.TeePort], Only: r.TeePort != "" && !listener}
}

func (s *Switch) indices(names []string) []uint16 {
	var list []uint16
	for _, name := range names {
		list = append(list, s.index[name])
	}
	return list
}

func portRanges(ranges []conf.PortRange) []policy.PortRange {
	var list []policy.PortRange
	for _, r := range ranges {
		list = append(list, policy.PortRange(r))
	}
	return list
}

// timeouts translates the configuration's timeouts.
func timeouts(c *conf.Timeouts) *ct.Timeouts {
	set := map[ct.State]time.Duration{}
	for state, d := range map[ct.State]conf.Duration{
		ct.Generic:      c.Generic,
		ct.UDPUnreplied: c.UDP.Unreplied, ct.UDPReplied: c.UDP.Replied,
		ct.ICMPQuery: c.ICMP, ct.ICMPv6Query: c.ICMPv6,
		ct.GREUnreplied: c.GRE.Unreplied, ct.GREReplied: c.GRE.Replied,

		ct.TCPSynSent: c.TCP.SynSent, ct.TCPSynRecv: c.TCP.SynRecv, ct.TCPEstablished: c.TCP.Established,
		ct.TCPFinWait: c.TCP.FinWait, ct.TCPCloseWait: c.TCP.CloseWait, ct.TCPLastAck: c.TCP.LastAck,
		ct.TCPTimeWait: c.TCP.TimeWait, ct.TCPClose: c.TCP.Close, ct.TCPSynSent2: c.TCP.SynSent2,
		ct.TCPUnacknowledged: c.TCP.Unacknowledged, ct.TCPMaxRetrans: c.TCP.MaxRetrans,

		ct.SCTPClosed: c.SCTP.Closed, ct.SCTPCookieWait: c.SCTP.CookieWait, ct.SCTPCookieEchoed: c.SCTP.CookieEchoed,
		ct.SCTPEstablished: c.SCTP.Established, ct.SCTPShutdownSent: c.SCTP.ShutdownSent,
		ct.SCTPShutdownRecd: c.SCTP.ShutdownRecd, ct.SCTPShutdownAckSent: c.SCTP.ShutdownAckSent,
		ct.SCTPHeartbeatSent: c.SCTP.HeartbeatSent,
	} {
		set[state] = time.Duration(d)
	}
	return ct.NewTimeouts(set)
}

package conf

import (
	"net/netip"
	"slices"
	"strings"
)

func (v *validator) rules() {
	if n := len(v.c.Rules); n > maxRules {
		v.faults.add("rules", "has %d rules, more than %d", n, maxRules)
		return
	}
	for i := range v.c.Rules {
		r, at := &v.c.Rules[i], element("rules", i)
		v.rulePorts(at+".in_ports", r.InPorts)
		v.rulePorts(at+".out_ports", r.OutPorts)
		if len(r.OutPorts) > 0 && r.Hook == HookIn {
			v.faults.add(at+".out_ports", "is not known in hook in, before the route lookup; want hook out")
		}
		v.ruleFamily(at, r)
		v.ruleL4(at, r)
		v.ruleAction(at, r)
		v.ruleQueue(at, r)
		v.ruleState(at+".state", r)
		v.ruleLimit(at, r)
		v.ruleTranslation(at, r)
		v.ruleHops(at, r)
		v.ruleTimeout(at+".timeout", r)
		if strings.ContainsAny(r.Comment, "\n\r") {
			v.faults.add(at+".comment", "is longer than a line")
		}
	}
}

// ruleState refuses states where nobody tracks connections: every packet would be
// invalid.
func (v *validator) ruleState(at string, r *Rule) {
	twice(v, at, r.State)
	if len(r.State) > 0 && !v.c.CT.Enabled {
		v.faults.add(at, "is not known without connection tracking: ct.enabled is false")
	}
}

// ruleAction checks what the rule does. A rule that goes on and does nothing else is a
// slip, and so is one that connections cannot be marked by.
func (v *validator) ruleAction(at string, r *Rule) {
	sets := !r.SetMark.IsZero() || !r.SetCTMark.IsZero() || r.Timeout != "" || r.Priority || r.Via.IsValid() || len(r.Hops) > 0
	switch {
	case r.RejectWith != "" && r.Action != ActionReject:
		v.faults.add(at+".reject_with", "needs action reject; this is %s", r.Action)
	case r.RejectWith == RejectTCPReset && r.Protocol != ProtocolTCP:
		v.faults.add(at+".reject_with", "tcp_reset needs protocol tcp; this is %s", r.Protocol)
	case r.Action == ActionContinue && !sets:
		v.faults.add(at+".action", "continue does nothing without set_mark, set_ct_mark, timeout, via, hops or priority")
	}
	if v.c.CT.Enabled {
		return
	}
	for _, key := range []struct {
		name string
		mark Mark
	}{{"ct_mark", r.CTMark}, {"set_ct_mark", r.SetCTMark}} {
		if !key.mark.IsZero() {
			v.faults.add(at+"."+key.name, "needs connections, but ct.enabled is false")
		}
	}
}

// ruleLimit checks what rules say of the number of connections.
func (v *validator) ruleLimit(at string, r *Rule) {
	v.within(at+".conn_max", r.ConnMax, 0, maxFlows, "")
	if r.ConnMax == 0 {
		if r.ConnMaxPer != "" {
			v.faults.add(at+".conn_max_per", "needs conn_max")
		}
	} else if v.limits++; v.limits == maxLimits+1 {
		v.faults.add(at+".conn_max", "is in more than %d rules", maxLimits)
	}
	for _, key := range []struct {
		name  string
		given bool
	}{{"conn_max", r.ConnMax != 0}, {"priority", r.Priority}} {
		switch {
		case !key.given:
		case !v.c.CT.Enabled:
			v.faults.add(at+"."+key.name, "needs connections, but ct.enabled is false")
		case len(r.State) > 0 && !slices.Contains(r.State, StateNew):
			v.faults.add(at+"."+key.name, "is about new connections, which state leaves out")
		}
	}
	if r.ConnMax != 0 && r.Action != ActionDrop && r.Action != ActionReject {
		v.faults.add(at+".conn_max", "is for connections that are too many: it needs action drop or reject, before the rule that accepts; this is %s", r.Action)
	}
}

// policy checks the hooks' defaults, which have no arguments.
func (v *validator) policy() {
	for _, d := range []struct {
		path   string
		action Action
	}{{"policy.default_in", v.c.Policy.DefaultIn}, {"policy.default_out", v.c.Policy.DefaultOut}} {
		if d.action != ActionAccept && d.action != ActionDrop {
			v.faults.add(d.path, "%s is for rules; want accept or drop, or a last rule that says %s", d.action, d.action)
		}
	}
}

func (v *validator) rulePorts(at string, names []string) {
	for i, name := range names {
		if _, known := v.portIndex[name]; !known {
			v.faults.add(element(at, i), "%s", v.unknownPort(name))
		}
	}
	twice(v, at, names)
}

// ruleFamily checks the prefixes, and that they and the protocol are of one
// family: a rule for both can match nothing.
func (v *validator) ruleFamily(at string, r *Rule) {
	var first netip.Prefix
	for _, list := range []struct {
		path     string
		prefixes []netip.Prefix
	}{{at + ".src", r.Src}, {at + ".dst", r.Dst}} {
		for i, p := range list.prefixes {
			here := element(list.path, i)
			switch {
			case !p.IsValid():
				v.faults.add(here, "is not an address with a prefix length")
				continue
			case p.Addr().Is4In6():
				v.faults.add(here, "%s is IPv4-mapped; write the IPv4 prefix", p)
				continue
			case p != p.Masked():
				v.faults.add(here, "%s has host bits set; want %s", p, p.Masked())
			}
			if !first.IsValid() {
				first = p
			}
			if p.Addr().Is4() != first.Addr().Is4() {
				v.faults.add(here, "%s is not of the family of %s; write a rule for each", p, first)
			}
		}
		twice(v, list.path, list.prefixes)
	}
	if to := r.To.First; first.IsValid() && to.IsValid() && to.Is4() != first.Addr().Is4() {
		v.faults.add(at+".to", "%s is not of the family of %s; write a rule for each", r.To, first)
	}
	switch {
	case !first.IsValid():
	case first.Addr().Is4() && r.Protocol == ProtocolICMPv6:
		v.faults.add(at+".protocol", "icmpv6 is not carried by IPv4, as in %s", first)
	case !first.Addr().Is4() && r.Protocol == ProtocolICMP:
		v.faults.add(at+".protocol", "icmp is not carried by IPv6, as in %s; want icmpv6", first)
	}
}

func (v *validator) ruleL4(at string, r *Rule) {
	for _, list := range []struct {
		path  string
		ports []PortRange
	}{{at + ".src_ports", r.SrcPorts}, {at + ".dst_ports", r.DstPorts}} {
		switch {
		case len(list.ports) == 0:
		case r.Protocol.IsZero():
			v.faults.add(list.path, "needs a protocol: tcp, udp or sctp")
		case !r.Protocol.HasPorts():
			v.faults.add(list.path, "protocol %s has none; want tcp, udp or sctp", r.Protocol)
		}
		for i, p := range list.ports {
			if p.First > p.Last { // a file's were looked at when they were decoded
				v.faults.add(element(list.path, i), "%s is reversed", p)
			}
		}
		twice(v, list.path, list.ports)
	}
}

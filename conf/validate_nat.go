package conf

import "slices"

// Translates tells whether the action gives connections other addresses.
func (a Action) Translates() bool {
	return slices.Contains([]Action{ActionDNAT, ActionRedirect, ActionSNAT, ActionMasquerade}, a)
}

// ruleTranslation checks what a rule says of other addresses. Source: FF-6.
func (v *validator) ruleTranslation(at string, r *Rule) {
	v.translationTarget(at, r)
	if !r.Action.Translates() {
		return
	}
	hook := HookOut
	if r.Action == ActionDNAT || r.Action == ActionRedirect {
		hook = HookIn
	}
	if r.Hook != hook {
		v.faults.add(at+".hook", "%s is for hook %s", r.Action, hook)
	}
	switch {
	case !v.c.CT.Enabled:
		v.faults.add(at+".action", "%s needs connections, but ct.enabled is false", r.Action)
	case v.c.CT.MaxTranslations == 0:
		v.faults.add(at+".action", "%s needs ct.max_translations, which is 0", r.Action)
	case len(r.State) > 0 && !slices.Contains(r.State, StateNew):
		v.faults.add(at+".state", "leaves out new connections, which %s is about", r.Action)
	}
}

// translationTarget checks the addresses and ports.
func (v *validator) translationTarget(at string, r *Rule) {
	named := r.Action == ActionDNAT || r.Action == ActionSNAT
	switch {
	case named && r.To.IsZero():
		v.faults.add(at+".to", "is missing: %s needs an address, a range or a prefix", r.Action)
	case !named && !r.To.IsZero():
		v.faults.add(at+".to", "needs action dnat or snat; this is %s", r.Action)
	case named:
		if err := r.To.check(); err != nil { // a file's was looked at when it was decoded
			v.faults.add(at+".to", "%v", err)
		}
	}
	ipv4 := r.To.First.Is4()
	switch {
	case r.To.IsZero():
	case ipv4 && r.Protocol == ProtocolICMPv6:
		v.faults.add(at+".protocol", "icmpv6 is not carried by IPv4, as in %s", r.To)
	case !ipv4 && r.Protocol == ProtocolICMP:
		v.faults.add(at+".protocol", "icmp is not carried by IPv6, as in %s; want icmpv6", r.To)
	}
	switch {
	case r.ToPorts == PortRange{}:
	case !r.Action.Translates():
		v.faults.add(at+".to_ports", "needs action dnat, redirect, snat or masquerade; this is %s", r.Action)
	case r.Protocol != ProtocolTCP && r.Protocol != ProtocolUDP && r.Protocol != ProtocolSCTP:
		v.faults.add(at+".to_ports", "needs protocol tcp, udp or sctp; this is %s", r.Protocol)
	case r.ToPorts.First == 0:
		v.faults.add(at+".to_ports", "%s begins with 0, which is no port", r.ToPorts)
	case r.ToPorts.First > r.ToPorts.Last:
		v.faults.add(at+".to_ports", "%s is reversed", r.ToPorts)
	}
}

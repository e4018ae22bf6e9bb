package conf

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
)

// maxPolicyName is what the kernel's policies have room for.
// Source: CTNL_TIMEOUT_NAME_MAX, 32 with the NUL.
const maxPolicyName = 31

// maxTimeoutPolicies is the bound of the registry, ct.MaxPolicies, less some for
// what is made at run time and what drains.
const maxTimeoutPolicies = 1024

// TimeoutPolicy is a named set of timeouts, which rules give to new flows of its
// family and protocol (TO-1, TO-3). A timeout left out is that of [ct.timeouts].
type TimeoutPolicy struct {
	Name     string              `toml:"name" json:"name"`
	Family   Family              `toml:"family" json:"family"`
	Protocol Tracker             `toml:"protocol" json:"protocol"`
	Timeouts map[string]Duration `toml:"timeouts,omitempty" json:"timeouts"` // by the keys of [ct.timeouts.PROTOCOL]
}

// Kind names the flows that the policy fits, as in "ipv4 tcp".
func (p *TimeoutPolicy) Kind() string { return fmt.Sprintf("%s %s", p.Family, p.Protocol) }

// soleTimeout is the key of the one timeout of a protocol that has no states, as
// nfct and nft call it.
const soleTimeout = "timeout"

// Of returns the timeouts of a protocol by key, to be read or written.
func (t *Timeouts) Of(protocol Tracker) map[string]*Duration {
	all := reflect.ValueOf(t).Elem()
	set := map[string]*Duration{}
	for _, f := range tomlFields(all.Type()) {
		if f.key != string(protocol) {
			continue
		}
		field := all.Field(f.index)
		if d, sole := field.Addr().Interface().(*Duration); sole {
			set[soleTimeout] = d
			continue
		}
		for _, state := range tomlFields(field.Type()) {
			if d, isDuration := field.Field(state.index).Addr().Interface().(*Duration); isDuration {
				set[state.key] = d
			}
		}
	}
	return set
}

// With returns the timeouts with those of a policy put over them.
func (t Timeouts) With(p *TimeoutPolicy) Timeouts {
	set := t.Of(p.Protocol)
	for key, d := range p.Timeouts {
		if to := set[key]; to != nil {
			*to = d
		}
	}
	return t
}

// ParseTimeouts reads timeouts as they are written, by state.
func ParseTimeouts(texts map[string]string) (map[string]Duration, Faults) {
	timeouts, faults := make(map[string]Duration, len(texts)), Faults(nil)
	for _, state := range sortedKeys(texts) {
		var d Duration
		if err := d.UnmarshalText([]byte(texts[state])); err != nil {
			faults.add(join("timeouts", state), "%v", err)
			continue
		}
		timeouts[state] = d
	}
	return timeouts, faults
}

// Validate returns every fault of a policy that did not come in a Config.
func (p *TimeoutPolicy) Validate() Faults {
	v := &validator{c: &Config{}}
	v.words(&place{}, reflect.ValueOf(p).Elem())
	v.timeoutPolicy("", p)
	return v.faults
}

func (v *validator) timeoutPolicies() {
	list := v.c.TimeoutPolicies
	if n := len(list); n > maxTimeoutPolicies {
		v.faults.add("timeout_policies", "has %d policies, more than %d", n, maxTimeoutPolicies)
		return
	}
	v.policies = make(map[string]*TimeoutPolicy, len(list))
	for i := range list {
		p, at := &list[i], element("timeout_policies", i)
		v.timeoutPolicy(at, p)
		if v.policies[p.Name] != nil {
			v.faults.add(join(at, "name"), "%q is the name of an earlier policy", p.Name)
			continue
		}
		v.policies[p.Name] = p
	}
	if len(list) > 0 && !v.c.CT.Enabled {
		v.faults.add("timeout_policies", "have no use without connection tracking: ct.enabled is false")
	}
}

func (v *validator) timeoutPolicy(at string, p *TimeoutPolicy) {
	if fault := policyNameFault(p.Name); fault != "" {
		v.faults.add(join(at, "name"), "%s", fault)
	}
	switch {
	case p.Protocol == TrackerICMP && p.Family == FamilyIPv6:
		v.faults.add(join(at, "protocol"), "icmp is not carried by IPv6; want icmpv6")
	case p.Protocol == TrackerICMPv6 && p.Family == FamilyIPv4:
		v.faults.add(join(at, "protocol"), "icmpv6 is not carried by IPv4; want icmp")
	}
	var t Timeouts
	keys := sortedKeys(t.Of(p.Protocol))
	for _, key := range sortedKeys(p.Timeouts) {
		here := join(join(at, "timeouts"), key)
		switch near := nearest(key, keys); {
		case len(keys) == 0: // the protocol has its fault
		case slices.Contains(keys, key):
			v.timeout(here, p.Timeouts[key])
		case near != "":
			v.faults.add(here, "is no timeout of %s; did you mean %q?", p.Protocol, near)
		default:
			v.faults.add(here, "is no timeout of %s; want one of %s", p.Protocol, strings.Join(keys, ", "))
		}
	}
}

// policyNameFault says what is wrong with a policy's name, or "". It must be one
// word on a command line and in a listing.
func policyNameFault(name string) string {
	switch {
	case name == "":
		return fmt.Sprintf("is missing; want 1 to %d letters, digits or any of _-.:", maxPolicyName)
	case len(name) > maxPolicyName:
		return fmt.Sprintf("%.40q is %d characters long, more than %d", name, len(name), maxPolicyName)
	case strings.HasPrefix(name, "-"):
		return fmt.Sprintf("%q begins like an option", name)
	case strings.ContainsFunc(name, func(r rune) bool {
		return r > 0x7f || !isBareByte(byte(r)) && r != '.' && r != ':'
	}):
		return fmt.Sprintf("%q is not made of letters, digits and _-.: alone", name)
	}
	return ""
}

// timeout checks one idle time.
func (v *validator) timeout(at string, d Duration) {
	switch t := time.Duration(d); {
	case t < minTimeout:
		v.faults.add(at, "%s is below %s", d, Duration(minTimeout))
	case t > maxTimeout:
		v.faults.add(at, "%s is above %s (24 days: deadlines are 32-bit milliseconds)", d, Duration(maxTimeout))
	case t%minTimeout != 0:
		v.faults.add(at, "%s is not in whole milliseconds", d)
	}
}

// ruleTimeout checks the policy that a rule gives to new flows. known are those
// that the switch has besides the file's.
func (v *validator) ruleTimeout(at string, r *Rule) {
	if r.Timeout == "" {
		return
	}
	p := v.policies[r.Timeout]
	switch {
	case r.Action == ActionDrop || r.Action == ActionReject:
		v.faults.add(at, "has no use in a rule that lets nothing pass: no flow comes of it")
	case len(r.State) > 0 && !slices.Contains(r.State, StateNew):
		v.faults.add(at, "is given to new flows, which this rule's state leaves out")
	case p == nil && slices.Contains(v.known, r.Timeout):
	case p == nil:
		v.faults.add(at, "there is no timeout policy %q%s", r.Timeout, v.nearestPolicy(r.Timeout))
	case !r.mayCarry(p):
		v.faults.add(at, "%q is for %s, which this rule does not match", r.Timeout, p.Kind())
	}
}

func (v *validator) nearestPolicy(name string) string {
	if near := nearest(name, append(sortedKeys(v.policies), v.known...)); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

// mayCarry tells whether some flow that the rule matches is of the policy's kind.
func (r *Rule) mayCarry(p *TimeoutPolicy) bool {
	for _, list := range [][]netip.Prefix{r.Src, r.Dst} {
		if len(list) > 0 && list[0].Addr().Is4() != (p.Family == FamilyIPv4) { // a rule's are of one family
			return false
		}
	}
	if r.Protocol.IsZero() {
		return true
	}
	name := r.Protocol.String()
	if !slices.Contains(p.Protocol.words(), name) {
		name = string(TrackerGeneric)
	}
	return name == string(p.Protocol)
}

package conf

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// policyDoc is a document with one policy; line 5 is its first key.
func policyDoc(keys string) string { return onePort + "[[timeout_policies]]\n" + keys }

// Source: TO-1. Names of the states: libnetfilter_cttimeout. Length of the name:
// CTNL_TIMEOUT_NAME_MAX.
func TestTimeoutPolicyFaults(t *testing.T) {
	const tcp = "family = \"ipv4\"\nprotocol = \"tcp\"\n"
	name := func(s string) string { return policyDoc("name = \"" + s + "\"\n" + tcp) }
	var cases []faultCase
	for _, tc := range []struct{ name, doc, want string }{
		{"whole", policyDoc("name = \"web\"\n" + tcp + "timeouts = { established = \"2h\", close = \"1ms\" }\n"), ""},
		{"no values", name("web"), ""},
		{"31 characters", name(strings.Repeat("n", 31)), ""},
		{"32 characters", name(strings.Repeat("n", 32)), "5: timeout_policies[0].name: \"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\" is 32 characters long, more than 31"},
		{"all kinds of characters", name("_a-B.9:z"), ""},
		{"empty name", name(""), "5: timeout_policies[0].name: is missing; want 1 to 31 letters, digits or any of _-.:"},
		{"a space", name("a b"), "5: timeout_policies[0].name: \"a b\" is not made of letters, digits and _-.: alone"},
		{"not ASCII", name("é"), "5: timeout_policies[0].name: \"é\" is not made of letters, digits and _-.: alone"},
		{"an option", name("-a"), "5: timeout_policies[0].name: \"-a\" begins like an option"},
		{"everything missing", policyDoc(""),
			"4: timeout_policies[0].family: is missing; want ipv4, ipv6\n" +
				"4: timeout_policies[0].protocol: is missing; want tcp, udp, icmp, icmpv6, sctp, gre, generic\n" +
				"4: timeout_policies[0].name: is missing; want 1 to 31 letters, digits or any of _-.:"},
		{"wrong words", policyDoc("name = \"a\"\nfamily = \"ipv5\"\nprotocol = \"ospf\"\n"),
			"6: timeout_policies[0].family: \"ipv5\" is unknown; did you mean \"ipv4\"?\n" +
				"7: timeout_policies[0].protocol: \"ospf\" is unknown; want tcp, udp, icmp, icmpv6, sctp, gre, generic"},
		{"icmp over IPv6", policyDoc("name = \"a\"\nfamily = \"ipv6\"\nprotocol = \"icmp\"\n"),
			"7: timeout_policies[0].protocol: icmp is not carried by IPv6; want icmpv6"},
		{"icmpv6 over IPv4", policyDoc("name = \"a\"\nfamily = \"ipv4\"\nprotocol = \"icmpv6\"\n"),
			"7: timeout_policies[0].protocol: icmpv6 is not carried by IPv4; want icmp"},
		{"values", name("a") + "[timeout_policies.timeouts]\nestablished = \"0s\"\nsyn_sent = \"-1s\"\nfin_wait = \"576h0m1s\"\nlast_ack = \"1500us\"\nclose = 10\ntime_wait = \"99999999999h\"\n",
			"9: timeout_policies[0].timeouts.established: 0s is below 1ms\n" +
				"10: timeout_policies[0].timeouts.syn_sent: -1s is below 1ms\n" +
				"11: timeout_policies[0].timeouts.fin_wait: 576h0m1s is above 576h (24 days: deadlines are 32-bit milliseconds)\n" +
				"12: timeout_policies[0].timeouts.last_ack: 1.5ms is not in whole milliseconds\n" +
				"13: timeout_policies[0].timeouts.close: is an integer; want a string\n" +
				"14: timeout_policies[0].timeouts.time_wait: \"99999999999h\" is not a duration like \"30s\", \"2m\" or \"120h\""},
		{"states", name("a") + "[timeout_policies.timeouts]\nestablishd = \"1s\"\nreplied = \"1s\"\n",
			"9: timeout_policies[0].timeouts.establishd: is no timeout of tcp; did you mean \"established\"?\n" +
				"10: timeout_policies[0].timeouts.replied: is no timeout of tcp; want one of close, close_wait, established, fin_wait, last_ack, max_retrans, syn_recv, syn_sent, syn_sent2, time_wait, unacknowledged"},
		{"not a table", policyDoc("name = \"a\"\n" + tcp + "timeouts = \"1h\"\n"), "8: timeout_policies[0].timeouts: is a string; want a table"},
		{"twice", name("a") + "[[timeout_policies]]\nname = \"a\"\nfamily = \"ipv6\"\nprotocol = \"udp\"\n",
			"9: timeout_policies[1].name: \"a\" is the name of an earlier policy"},
		{"no tracking", name("a") + "[ct]\nenabled = false\n", "4: timeout_policies: have no use without connection tracking: ct.enabled is false"},
	} {
		cases = append(cases, faultCase{tc.name, tc.doc, tc.want, "TO-1"})
	}
	checkFaults(t, cases)
}

// TO-3: a rule names a policy that its flows can take.
func TestRuleTimeout(t *testing.T) {
	const policies = "[[timeout_policies]]\nname = \"web\"\nfamily = \"ipv4\"\nprotocol = \"tcp\"\n" +
		"[[timeout_policies]]\nname = \"rest\"\nfamily = \"ipv4\"\nprotocol = \"generic\"\n"
	for rule, want := range map[string]string{
		"timeout = \"web\"":                              "",
		"timeout = \"web\"\nprotocol = \"tcp\"":          "",
		"timeout = \"web\"\nsrc = [\"10.0.0.0/8\"]":      "",
		"timeout = \"web\"\nstate = [\"new\"]":           "",
		"timeout = \"rest\"\nprotocol = 89":              "",
		"timeout = \"live\"":                             "",
		"timeout = \"wbe\"":                              "there is no timeout policy \"wbe\"; did you mean \"web\"?",
		"timeout = \"liev\"":                             "there is no timeout policy \"liev\"; did you mean \"live\"?",
		"timeout = \"other\"":                            "there is no timeout policy \"other\"",
		"timeout = \"web\"\nprotocol = \"udp\"":          "\"web\" is for ipv4 tcp, which this rule does not match",
		"timeout = \"rest\"\nprotocol = \"gre\"":         "\"rest\" is for ipv4 generic, which this rule does not match",
		"timeout = \"web\"\ndst = [\"fd00::/8\"]":        "\"web\" is for ipv4 tcp, which this rule does not match",
		"timeout = \"web\"\nstate = [\"established\"]":   "is given to new flows, which this rule's state leaves out",
		"timeout = \"web\"\naction = \"drop\"\nsrc = []": "src",
	} {
		actions := []string{"action = \"accept\"\n", "action = \"continue\"\n"}
		if strings.Contains(rule, "action") {
			rule, want = strings.TrimSuffix(rule, "\nsrc = []"), "has no use in a rule that lets nothing pass: no flow comes of it"
			actions = []string{""}
		}
		for _, action := range actions {
			_, err := Parse("", []byte(onePort+policies+"[[rules]]\n"+action+rule+"\n"), "live")
			got := ""
			if err != nil {
				_, got, _ = strings.Cut(err.Error(), "rules[0].timeout: ")
			}
			if got != want || (err == nil) != (want == "") {
				t.Errorf("%s%s: %v, want %q", action, rule, err, want)
			}
		}
	}
}

// Every protocol has timeouts, each under one key, and a policy's are put over
// those of the whole switch without touching them.
func TestTimeoutsOf(t *testing.T) {
	all := Default().CT.Timeouts
	for _, protocol := range TrackerTCP.words() {
		set := all.Of(Tracker(protocol))
		if len(set) == 0 {
			t.Errorf("%s has no timeouts", protocol)
		}
		for key, d := range set {
			p := TimeoutPolicy{Name: "a", Family: FamilyIPv4, Protocol: Tracker(protocol), Timeouts: map[string]Duration{key: Duration(time.Hour + time.Minute)}}
			if protocol == "icmpv6" {
				p.Family = FamilyIPv6
			}
			if faults := p.Validate(); len(faults) > 0 {
				t.Error(faults)
			}
			with := all.With(&p)
			if got := *with.Of(p.Protocol)[key]; got != p.Timeouts[key] || *d == got {
				t.Errorf("%s %s: %s over %s", protocol, key, got, d)
			}
			*with.Of(p.Protocol)[key] = *d
			if with != all {
				t.Errorf("%s %s changed others", protocol, key)
			}
		}
	}
}

// A policy that came by the control socket is held to what a file is, and its
// faults name the key.
func TestValidatePolicy(t *testing.T) {
	p := TimeoutPolicy{Name: "a/b", Family: "ip", Protocol: "tcp", Timeouts: map[string]Duration{"close": 0, "open": 1}}
	var paths []string
	for _, f := range p.Validate() {
		paths = append(paths, f.Path)
	}
	if want := []string{"family", "name", "timeouts.close", "timeouts.open"}; !slices.Equal(paths, want) {
		t.Errorf("%q, want %q", paths, want)
	}
}

func TestDiffPolicies(t *testing.T) {
	with := func(close string) *Config {
		return mustParse(t, policyDoc("name = \"web\"\nfamily = \"ipv4\"\nprotocol = \"tcp\"\ntimeouts = { close = \""+close+"\" }\n"))
	}
	c := Diff(with("5s"), with("6s"))
	if len(c.Reload) != 1 || !c.TimeoutPolicies || c.NeedsRestart() || c.Reload[0].String() != "timeout_policies[0].timeouts: { close = \"5s\" } -> { close = \"6s\" }" {
		t.Errorf("%+v", c)
	}
	if c := Diff(mustParse(t, onePort), with("5s")); !c.TimeoutPolicies || c.Reload[0].String() != "timeout_policies[0]: web added" {
		t.Errorf("%+v", c)
	}
}

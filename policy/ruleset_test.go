package policy

import (
	"errors"
	"net/netip"
	"testing"
)

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		out[i] = netip.MustParsePrefix(text)
	}
	return out
}

// key makes the Key of a TCP packet; edit changes it.
func key(src, dst string, edit func(*Key)) *Key {
	k := &Key{SrcPort: 40000, DstPort: 80, InPort: 1, OutPort: 2, Protocol: protoTCP, HasPorts: true, State: New}
	k.setAddrs(netip.MustParseAddr(src), netip.MustParseAddr(dst))
	if edit != nil {
		edit(k)
	}
	return k
}

func (k *Key) setAddrs(src, dst netip.Addr) {
	k.Src, k.Dst, k.Family = src.As16(), dst.As16(), 6
	if src.Is4() {
		k.Src, k.Dst, k.Family = [16]byte{}, [16]byte{}, 4
		s, d := src.As4(), dst.As4()
		copy(k.Src[12:], s[:])
		copy(k.Dst[12:], d[:])
	}
}

func compile(t testing.TB, defaults Defaults, rules ...Rule) *Ruleset {
	t.Helper()
	s, err := Compile(rules, defaults, 1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var acceptAll = Defaults{In: Accept, Out: Accept}

// FF-6, CT-2: what one rule matches, and what it does not.
func TestMatchOneRule(t *testing.T) {
	v4 := func(edit func(*Key)) *Key { return key("10.1.1.2", "10.2.2.2", edit) }
	v6 := func(edit func(*Key)) *Key { return key("fd01::2", "fd02::2", edit) }
	for _, tc := range []struct {
		name string
		rule Rule // Drop in HookIn, unless it says otherwise
		key  *Key
		want bool
	}{
		{"any, IPv4", Rule{Protocol: AnyProtocol}, v4(nil), true},
		{"any, IPv6", Rule{Protocol: AnyProtocol}, v6(nil), true},
		{"protocol", Rule{Protocol: 6}, v4(nil), true},
		{"other protocol", Rule{Protocol: 17}, v4(nil), false},
		{"protocol 0", Rule{Protocol: 0}, v4(nil), false},
		{"protocol 0, hop-by-hop", Rule{Protocol: 0}, v6(func(k *Key) { k.Protocol = 0 }), true},
		{"protocol 255", Rule{Protocol: 255}, v4(func(k *Key) { k.Protocol = 255 }), true},

		{"source", Rule{Protocol: -1, Src: prefixes("10.1.1.0/24")}, v4(nil), true},
		{"source, first outside", Rule{Protocol: -1, Src: prefixes("10.1.1.0/31")}, v4(nil), false},
		{"source, last inside", Rule{Protocol: -1, Src: prefixes("10.1.1.2/31")}, v4(nil), true},
		{"source is not destination", Rule{Protocol: -1, Src: prefixes("10.2.2.0/24")}, v4(nil), false},
		{"destination", Rule{Protocol: -1, Dst: prefixes("10.2.2.2/32")}, v4(nil), true},
		{"one of several", Rule{Protocol: -1, Dst: prefixes("10.9.0.0/16", "10.2.0.0/16")}, v4(nil), true},
		{"none of several", Rule{Protocol: -1, Dst: prefixes("10.9.0.0/16", "10.8.0.0/16")}, v4(nil), false},
		{"all of IPv4", Rule{Protocol: -1, Src: prefixes("0.0.0.0/0")}, v4(nil), true},
		{"all of IPv4 is not IPv6", Rule{Protocol: -1, Src: prefixes("0.0.0.0/0")}, v6(nil), false},
		{"all of IPv6 is not IPv4", Rule{Protocol: -1, Src: prefixes("::/0")}, v4(nil), false},
		{"IPv6 across the word", Rule{Protocol: -1, Dst: prefixes("fd02::/65")}, v6(nil), true},
		{"IPv6 host", Rule{Protocol: -1, Dst: prefixes("fd02::3/128")}, v6(nil), false},

		{"port", Rule{Protocol: 6, DstPorts: []PortRange{{80, 80}}}, v4(nil), true},
		{"port below", Rule{Protocol: 6, DstPorts: []PortRange{{81, 90}}}, v4(nil), false},
		{"port above", Rule{Protocol: 6, DstPorts: []PortRange{{70, 79}}}, v4(nil), false},
		{"in the gap", Rule{Protocol: 6, DstPorts: []PortRange{{70, 79}, {81, 90}}}, v4(nil), false},
		{"behind the gap", Rule{Protocol: 6, DstPorts: []PortRange{{70, 70}, {80, 90}}}, v4(nil), true},
		{"source port", Rule{Protocol: 6, SrcPorts: []PortRange{{40000, 40000}}}, v4(nil), true},
		{"wrong source port", Rule{Protocol: 6, SrcPorts: []PortRange{{80, 80}}}, v4(nil), false},
		{"ports of a fragment", Rule{Protocol: 6, DstPorts: []PortRange{{0, 65535}}},
			v4(func(k *Key) { k.HasPorts = false }), false},
		{"fragment without asking", Rule{Protocol: 6}, v4(func(k *Key) { k.HasPorts = false }), true},

		{"state", Rule{Protocol: -1, States: States(New, Related)}, v4(nil), true},
		{"other state", Rule{Protocol: -1, States: States(Established)}, v4(nil), false},
		{"invalid is the zero state", Rule{Protocol: -1, States: States(Invalid)},
			v4(func(k *Key) { k.State = 0 }), true},
		{"untracked", Rule{Protocol: -1, States: States(Untracked)},
			v4(func(k *Key) { k.State = Untracked }), true},

		{"ingress", Rule{Protocol: -1, InPorts: []uint16{1}}, v4(nil), true},
		{"other ingress", Rule{Protocol: -1, InPorts: []uint16{2}}, v4(nil), false},
		{"ingress in the gap", Rule{Protocol: -1, InPorts: []uint16{0, 1000}}, v4(nil), false},
		{"ingress at the end", Rule{Protocol: -1, InPorts: []uint16{0, 1000}},
			v4(func(k *Key) { k.InPort = 1000 }), true},
		{"egress", Rule{Hook: HookOut, Protocol: -1, OutPorts: []uint16{2, 2}}, v4(nil), true},
		{"other egress", Rule{Hook: HookOut, Protocol: -1, OutPorts: []uint16{1, 3}}, v4(nil), false},
		{"no family", Rule{Protocol: -1}, v4(func(k *Key) { k.Family = 0 }), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.rule.Action = Accept
			s := compile(t, Defaults{}, tc.rule)
			wantAction, wantIndex := Drop, -1
			if tc.want {
				wantAction, wantIndex = Accept, 0
			}
			action, index := s.Match(tc.rule.Hook, tc.key)
			if action != wantAction || index != wantIndex {
				t.Errorf("got %s by %d, want %s by %d", action, index, wantAction, wantIndex)
			}
			if _, index := s.Match(HookOut-tc.rule.Hook, tc.key); index != -1 {
				t.Error("matched in the other hook")
			}
		})
	}
}

// FF-6: the first rule that matches decides, whichever list it came into.
func TestFirstMatchWins(t *testing.T) {
	s := compile(t, acceptAll,
		Rule{Protocol: 17, Action: Drop},
		Rule{Protocol: AnyProtocol, Src: prefixes("10.1.0.0/16"), Action: Accept},
		Rule{Protocol: 6, Action: Drop},
		Rule{Protocol: AnyProtocol, Action: Drop},
	)
	for _, tc := range []struct {
		name   string
		key    *Key
		action Action
		index  int
	}{
		{"named before any", key("10.1.1.2", "10.2.2.2", func(k *Key) { k.Protocol = 17 }), Drop, 0},
		{"any before named", key("10.1.1.2", "10.2.2.2", nil), Accept, 1},
		{"named before the last", key("10.9.1.2", "10.2.2.2", nil), Drop, 2},
		{"protocol no rule names", key("fd01::1", "fd02::1", func(k *Key) { k.Protocol = 58 }), Drop, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if action, index := s.Match(HookIn, tc.key); action != tc.action || index != tc.index {
				t.Errorf("got %s by %d, want %s by %d", action, index, tc.action, tc.index)
			}
		})
	}
}

// FF-6: an empty hook costs nothing, so a caller must be able to see that it is.
func TestEmpty(t *testing.T) {
	in := Rule{Protocol: AnyProtocol, Action: Accept}
	for _, tc := range []struct {
		name     string
		defaults Defaults
		rules    []Rule
		empty    [2]bool // in, out
	}{
		{"nothing", acceptAll, nil, [2]bool{true, true}},
		{"drop by default", Defaults{In: Accept}, nil, [2]bool{true, false}},
		{"a rule in", acceptAll, []Rule{in}, [2]bool{false, true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := compile(t, tc.defaults, tc.rules...)
			for hook := range hookCount {
				if s.Empty(hook) != tc.empty[hook] {
					t.Errorf("%s: empty %t", hook, s.Empty(hook))
				}
			}
		})
	}
}

// Forgetting fails closed.
func TestZeroValues(t *testing.T) {
	if action, index := compile(t, Defaults{}).Match(HookIn, key("10.1.1.2", "10.2.2.2", nil)); action != Drop || index != -1 {
		t.Errorf("zero defaults: %s by %d", action, index)
	}
	if action, _ := compile(t, acceptAll).Match(HookIn, &Key{}); action != Drop {
		t.Errorf("zero key: %s", action)
	}
	if State(0) != Invalid || Action(0) != Drop {
		t.Error("zero state or action is not the closed one")
	}
}

func TestCompileRefuses(t *testing.T) {
	to4, to6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, tc := range []struct {
		name string
		rule Rule
	}{
		{"hook", Rule{Hook: hookCount, Protocol: 6}},
		{"action", Rule{Action: actionCount, Protocol: 6}},
		{"dnat at out", Rule{Hook: HookOut, Action: DNAT, Protocol: 6, To: Translation{First: to4, Last: to4}}},
		{"masquerade at in", Rule{Action: Masquerade, Protocol: 6}},
		{"dnat to nobody", Rule{Action: DNAT, Protocol: 6}},
		{"redirect to somebody", Rule{Action: Redirect, Protocol: 6, To: Translation{First: to4, Last: to4}}},
		{"accept to somebody", Rule{Action: Accept, Protocol: 6, To: Translation{First: to4, Last: to4}}},
		{"to a reversed range", Rule{Action: DNAT, Protocol: 6, To: Translation{First: to4.Next(), Last: to4}}},
		{"to two families", Rule{Action: DNAT, Protocol: 6, To: Translation{First: to4, Last: to6}}},
		{"to too many", Rule{Action: DNAT, Protocol: 6, To: Translation{First: to6, Last: netip.MustParseAddr("2001:db9::1")}}},
		{"to ports of any", Rule{Action: Redirect, Protocol: AnyProtocol, To: Translation{Ports: PortRange{1, 2}}}},
		{"to port 0", Rule{Action: Redirect, Protocol: 6, To: Translation{Ports: PortRange{0, 2}}}},
		{"to another family", Rule{Action: DNAT, Protocol: 6, Family: 6, To: Translation{First: to4, Last: to4}}},
		{"queues of another action", Rule{Action: Accept, Protocol: 6, Queue: QueueTo{First: 1, Last: 1}}},
		{"queues reversed", Rule{Action: Queue, Protocol: 6, Queue: QueueTo{First: 2, Last: 1}}},
		{"copies of another action", Rule{Action: Accept, Protocol: 6, Mirror: Mirror{To: 1}}},
		{"copies for nobody", Rule{Action: Tee, Protocol: 6, Mirror: Mirror{Only: true}}},
		{"copies for a port only and a listener", Rule{Action: Tee, Protocol: 6, Queue: QueueTo{Last: 1}, Mirror: Mirror{To: 1, Only: true}}},
		{"a next hop at out", Rule{Hook: HookOut, Action: Accept, Protocol: 6, NextHop: 9}},
		{"a next hop for the dropped", Rule{Action: Drop, Protocol: 6, NextHop: 9}},
		{"a next hop for the rejected", Rule{Action: Reject, Protocol: 6, NextHop: 9}},
		{"family", Rule{Protocol: 6, Family: 5}},
		{"accept above a limit", Rule{Action: Accept, Protocol: 6, Limit: 1}},
		{"queue above a limit", Rule{Action: Queue, Protocol: 6, Limit: 1}},
		{"reject_with of another action", Rule{Action: Drop, RejectWith: TCPReset, Protocol: 6}},
		{"reject_with", Rule{Action: Reject, RejectWith: rejectCount, Protocol: 6}},
		{"a reset for UDP", Rule{Action: Reject, RejectWith: TCPReset, Protocol: 17}},
		{"a mark outside its mask", Rule{Protocol: 6, Mark: Bits{2, 1}}},
		{"a mark set outside its mask", Rule{Protocol: 6, SetCtMark: Bits{2, 1}}},
		{"egress in hook in", Rule{OutPorts: []uint16{1}, Protocol: 6}},
		{"protocol below", Rule{Protocol: -2}},
		{"protocol above", Rule{Protocol: 256}},
		{"ports of any protocol", Rule{Protocol: AnyProtocol, DstPorts: []PortRange{{1, 2}}}},
		{"ports of ICMP", Rule{Protocol: 1, SrcPorts: []PortRange{{1, 2}}}},
		{"reversed", Rule{Protocol: 6, SrcPorts: []PortRange{{2, 1}}}},
		{"unknown state", Rule{Protocol: 6, States: 1 << stateCount}},
		{"host bits", Rule{Protocol: 6, Src: prefixes("10.0.0.1/8")}},
		{"zero prefix", Rule{Protocol: 6, Src: make([]netip.Prefix, 1)}},
		{"IPv4-mapped", Rule{Protocol: 6, Src: prefixes("::ffff:10.0.0.0/104")}},
		{"two families", Rule{Protocol: 6, Src: prefixes("10.0.0.0/8"), Dst: prefixes("fd00::/8")}},
		{"ID taken", Rule{Protocol: 6, ID: 7}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			good := Rule{ID: 7, Protocol: 6}
			if _, err := Compile([]Rule{good, tc.rule}, Defaults{}, 1); !errors.Is(err, ErrRule) {
				t.Errorf("error: %v", err)
			}
		})
	}
	for _, generation := range []uint32{0, MaxGeneration + 1} {
		if _, err := Compile(nil, Defaults{}, generation); err == nil {
			t.Errorf("generation %d accepted", generation)
		}
	}
	if _, err := Compile(nil, Defaults{In: 2}, 1); err == nil {
		t.Error("default 2 accepted")
	}
	if _, err := Compile(make([]Rule, MaxRules+1), Defaults{}, 1); err == nil {
		t.Error("too many rules accepted")
	}
}

// What a hook does about too many connections, and where it lets go on, is taken.
func TestCompileTakes(t *testing.T) {
	for _, r := range []Rule{
		{Action: Drop, Protocol: 6, Limit: 1}, {Action: Reject, Protocol: 6, Limit: 255}, {Action: Queue, Protocol: 6, Queue: QueueTo{First: 1, Last: 2}},
		{Action: Tee, Protocol: 6, Queue: QueueTo{First: 1, Last: 1}, Mirror: Mirror{To: 1}}, {Action: Tee, Protocol: 6, Mirror: Mirror{To: 1, Only: true}},
		{Action: Continue, Protocol: 6, NextHop: 9}, {Action: Accept, Protocol: 6, NextHop: 9, Family: 6},
	} {
		if _, err := Compile([]Rule{r}, Defaults{}, 1); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// The very first rule of a long list decides where a later one, which names no value, would.
func TestFirstRuleOfATree(t *testing.T) {
	port := func(p uint16, a Action) Rule { return Rule{Action: a, Protocol: 6, DstPorts: []PortRange{{p, p}}} }
	rules := []Rule{port(80, Accept), {Action: Reject, Protocol: 6}}
	for p := range uint16(3 * leafRules) {
		rules = append(rules, port(1000+p, Accept))
	}
	s := compile(t, Defaults{}, rules...)
	for p, want := range map[uint16]int{80: 0, 81: 1, 1000: 1} {
		k := key("10.1.1.2", "10.2.2.2", nil)
		k.HasPorts, k.Protocol, k.DstPort = true, 6, p
		if _, index := s.Match(HookIn, k); index != want {
			t.Errorf("port %d: rule %d, want %d", p, index, want)
		}
	}
}

// A ruleset is immutable whatever the caller does with its lists.
func TestCompileCopies(t *testing.T) {
	rules := []Rule{{
		ID: 3, Action: Accept, Protocol: 6, Comment: "c", InPorts: []uint16{1},
		Src: prefixes("10.0.0.0/8"), DstPorts: []PortRange{{80, 80}, {90, 90}},
	}}
	s := compile(t, Defaults{}, rules...)
	rules[0].InPorts[0], rules[0].Src[0], rules[0].DstPorts[0].First = 9, netip.Prefix{}, 0
	if _, index := s.Match(HookIn, key("10.1.1.2", "10.2.2.2", nil)); index != 0 {
		t.Error("the rule changed")
	}
	if r := s.Rule(0); s.Len() != 1 || r.ID != 3 || r.Comment != "c" || r.InPorts[0] != 1 || r.DstPorts[0].First != 80 {
		t.Errorf("Rule: %+v", r)
	}
	if s.Generation() != 1 || s.Default(HookOut) != Drop {
		t.Errorf("generation %d, default %s", s.Generation(), s.Default(HookOut))
	}
}

func TestNextGeneration(t *testing.T) {
	for g, want := range map[uint32]uint32{0: 1, 1: 2, MaxGeneration - 1: MaxGeneration, MaxGeneration: 1} {
		if got := NextGeneration(g); got != want {
			t.Errorf("after %d: got %d, want %d", g, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		HookIn.String(): "in", HookOut.String(): "out", Drop.String(): "drop", Accept.String(): "accept",
		Invalid.String(): "invalid", New.String(): "new", Established.String(): "established",
		Related.String(): "related", Untracked.String(): "untracked", State(9).String(): "unknown(9)",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

package policy

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// naive walks the rules as the operator wrote them and looks at each list with
// the standard library: no candidate lists, hulls, masks or words.
func naive(rules []Rule, defaults Defaults, hook Hook, k *Key, after int) (Action, int) {
	for i := after + 1; i < len(rules); i++ {
		if r := &rules[i]; r.Hook == hook && naiveMatches(r, k) {
			return r.Action, i
		}
	}
	if hook == HookIn {
		return defaults.In, -1
	}
	return defaults.Out, -1
}

func naiveMatches(r *Rule, k *Key) bool {
	src, dst := netip.AddrFrom16(k.Src), netip.AddrFrom16(k.Dst)
	if k.Family == 4 {
		src, dst = netip.AddrFrom4([4]byte(k.Src[12:])), netip.AddrFrom4([4]byte(k.Dst[12:]))
	}
	inAny := func(list []netip.Prefix, a netip.Addr) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	portIn := func(list []PortRange, port uint16) bool {
		return len(list) == 0 || k.HasPorts &&
			slices.ContainsFunc(list, func(p PortRange) bool { return p.First <= port && port <= p.Last })
	}
	return (r.Family == 0 || r.Family == k.Family) && (!r.To.First.IsValid() || r.To.First.Is4() == (k.Family == 4)) && inAny(r.Src, src) && inAny(r.Dst, dst) &&
		(r.Protocol == AnyProtocol || r.Protocol == int(k.Protocol)) &&
		portIn(r.SrcPorts, k.SrcPort) && portIn(r.DstPorts, k.DstPort) &&
		(len(r.InPorts) == 0 || slices.Contains(r.InPorts, k.InPort)) &&
		(len(r.OutPorts) == 0 || slices.Contains(r.OutPorts, k.OutPort)) &&
		(r.States == 0 || r.States.Has(k.State)) &&
		(k.Mark^r.Mark.Value)&r.Mark.Mask == 0 && (k.CtMark^r.CtMark.Value)&r.CtMark.Mask == 0
}

// Small worlds, so that rules and packets meet: a handful of addresses, ports
// and interfaces, and more protocols than there are lists.
var (
	drawProtocol = rapid.SampledFrom([]uint8{6, 17, 132, 1, 58, 47, 0, 50, 51, 89, 103, 112, 255})
	drawPort     = rapid.SampledFrom([]uint16{0, 1, 79, 80, 81, 443, 1023, 1024, 65534, 65535})
	drawMark     = rapid.SampledFrom([]uint32{0, 1, 2, 3, 1 << 31})
	drawBits     = rapid.Custom(func(t *rapid.T) Bits {
		mask := rapid.SampledFrom([]uint32{0, 0, 1, 3, 1 << 31, 0xffffffff}).Draw(t, "mask")
		return Bits{drawMark.Draw(t, "value") & mask, mask}
	})
	drawInterface = rapid.SampledFrom([]uint16{0, 1, 2, 63, 64, 65, 127, 128, 1023, 65535})
)

func drawAddr(t *rapid.T, is4 bool, label string) netip.Addr {
	last := rapid.Byte().Draw(t, label)
	if is4 {
		return netip.AddrFrom4([4]byte{10, last >> 4, 0, last & 3})
	}
	return netip.AddrFrom16([16]byte{0: 0xfd, 7: last >> 4, 8: last & 0x81, 15: last & 3})
}

func drawPrefixes(t *rapid.T, is4 bool, label string) []netip.Prefix {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) netip.Prefix {
		a := drawAddr(t, is4, "address")
		return netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits")).Masked()
	}), 0, 3).Draw(t, label)
}

func drawRule(t *rapid.T) Rule {
	is4 := rapid.Bool().Draw(t, "IPv4")
	r := Rule{
		Hook:     Hook(rapid.IntRange(0, 1).Draw(t, "hook")),
		Action:   Action(rapid.IntRange(0, int(actionCount)-1).Draw(t, "action")),
		Mark:     drawBits.Draw(t, "mark"),
		CtMark:   drawBits.Draw(t, "ct mark"),
		InPorts:  rapid.SliceOfN(drawInterface, 0, 3).Draw(t, "in"),
		Src:      drawPrefixes(t, is4, "src"),
		Dst:      drawPrefixes(t, is4, "dst"),
		Protocol: AnyProtocol,
		Family:   rapid.SampledFrom([]uint8{0, 0, map[bool]uint8{true: 4, false: 6}[is4]}).Draw(t, "family"),
		States:   StateSet(rapid.IntRange(0, int(anyState)).Draw(t, "states")),
	}
	r.aim(is4)
	if r.Hook == HookOut {
		r.OutPorts = rapid.SliceOfN(drawInterface, 0, 3).Draw(t, "out")
	}
	if rapid.Bool().Draw(t, "protocol given") {
		r.Protocol = int(drawProtocol.Draw(t, "protocol"))
	}
	if hasPorts(r.Protocol) {
		ranges := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) PortRange {
			a, b := drawPort.Draw(t, "a"), drawPort.Draw(t, "b")
			return PortRange{min(a, b), max(a, b)}
		}), 0, 3)
		r.SrcPorts, r.DstPorts = ranges.Draw(t, "src ports"), ranges.Draw(t, "dst ports")
	}
	return r
}

// aim gives a rule that translates the hook and the addresses that it needs.
func (r *Rule) aim(is4 bool) {
	if !r.Action.Translates() {
		return
	}
	r.Hook = r.Action.hook()
	if r.Action == DNAT || r.Action == SNAT {
		r.To.First = netip.MustParseAddr("2001:db8::1")
		if is4 {
			r.To.First = netip.MustParseAddr("192.0.2.1")
		}
		r.To.Last = r.To.First
	}
}

func drawKey(t *rapid.T) Key {
	is4 := rapid.Bool().Draw(t, "IPv4")
	k := Key{
		SrcPort:  drawPort.Draw(t, "src port"),
		DstPort:  drawPort.Draw(t, "dst port"),
		InPort:   drawInterface.Draw(t, "in"),
		OutPort:  drawInterface.Draw(t, "out"),
		Protocol: drawProtocol.Draw(t, "protocol"),
		HasPorts: rapid.Bool().Draw(t, "has ports"),
		State:    State(rapid.IntRange(0, int(stateCount)-1).Draw(t, "state")),
		Mark:     drawMark.Draw(t, "mark"),
		CtMark:   drawMark.Draw(t, "ct mark"),
	}
	k.setAddrs(drawAddr(t, is4, "src"), drawAddr(t, is4, "dst"))
	return k
}

// FF-6: a compiled ruleset decides as the list that the operator wrote, from the top
// and from any rule on.
func TestMatchAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		againstNaive(t, rapid.SliceOfN(rapid.Custom(drawRule), 0, 40).Draw(t, "rules"))
	})
}

// FF-6: so do lists so long that they are split by field, of rules that differ in some
// fields only, with prefixes in prefixes and ranges that overlap, and rules with many.
func TestLongListsAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		fields := rapid.IntRange(0, 1<<5-1).Draw(t, "fields")
		rules := make([]Rule, rapid.IntRange(0, 400).Draw(t, "number"))
		for i := range rules {
			rules[i] = someRule(rng, fields)
		}
		againstNaive(t, append(rules, rapid.SliceOfN(rapid.Custom(drawRule), 0, 20).Draw(t, "others")...))
	})
}

// someRule names some of the fields, each with one value, several or very many.
func someRule(rng *rand.Rand, fields int) Rule {
	r := Rule{Action: Action(rng.IntN(int(actionCount))), Protocol: protoTCP + rng.IntN(2)*(protoUDP-protoTCP)}
	named := func(field int) bool { return fields>>field&1 != 0 && rng.IntN(8) > 0 }
	number := func() int { return []int{1, 1, 1, 2, 30}[rng.IntN(5)] }
	is4 := rng.IntN(2) == 0
	r.aim(is4)
	for field, to := range []*[]netip.Prefix{&r.Dst, &r.Src} {
		for n := number(); named(field) && n > 0; n-- {
			a := netip.AddrFrom16([16]byte{0: 0xfd, 7: byte(rng.IntN(16)), 8: byte(rng.Uint32()) & 0x81, 15: byte(rng.IntN(4))})
			bits := 128 - rng.IntN(70)
			if is4 {
				a, bits = netip.AddrFrom4([4]byte{10, byte(rng.IntN(16)), 0, byte(rng.IntN(4))}), 32-rng.IntN(26)
			}
			*to = append(*to, netip.PrefixFrom(a, bits).Masked())
		}
	}
	ports := []uint16{0, 1, 79, 80, 81, 443, 1023, 1024, 65534, 65535}
	for field, to := range []*[]PortRange{&r.DstPorts, &r.SrcPorts} {
		for n := number(); named(2+field) && n > 0; n-- {
			a, b := ports[rng.IntN(len(ports))], ports[rng.IntN(len(ports))]
			if rng.IntN(2) == 0 {
				b = a
			}
			*to = append(*to, PortRange{min(a, b), max(a, b)})
		}
	}
	if named(4) {
		r.InPorts = []uint16{uint16(1 + rng.IntN(4))}
	}
	return r
}

func againstNaive(t *rapid.T, rules []Rule) {
	defaults := Defaults{In: Action(rapid.IntRange(0, 1).Draw(t, "default in")), Out: Accept}
	s, err := Compile(rules, defaults, 1)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		k := drawKey(t)
		for hook := range hookCount {
			after := rapid.IntRange(-1, len(rules)).Draw(t, "after")
			gotAction, gotIndex := s.MatchAfter(hook, &k, after)
			wantAction, wantIndex := naive(rules, defaults, hook, &k, after)
			if gotAction != wantAction || gotIndex != wantIndex {
				t.Fatalf("%s %+v: got %s by %d, want %s by %d",
					hook, k, gotAction, gotIndex, wantAction, wantIndex)
			}
			if s.Empty(hook) && (wantAction != Accept || wantIndex != -1) {
				t.Fatalf("%s is empty, but rule %d decides", hook, wantIndex)
			}
		}
	}
}

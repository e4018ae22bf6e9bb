package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// firewall is a list as people write them: one rule for what is established, then
// services by host and port, half of them TCP, and a last one that drops.
func firewall(rules int) []Rule {
	list := []Rule{{Protocol: AnyProtocol, Action: Accept, States: States(Established, Related)}}
	for i := 0; len(list) < rules-1; i++ {
		port := uint16(1024 + i)
		list = append(list, Rule{
			Protocol: []int{protoTCP, protoUDP}[i%2],
			Action:   Accept,
			Dst:      []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 2, byte(i >> 8), byte(i)}), 32)},
			DstPorts: []PortRange{{port, port}},
		})
	}
	return append(list, Rule{Protocol: AnyProtocol, Action: Drop})
}

// blocklist is one rule for each of many networks, from anywhere to anywhere.
func blocklist(rules int) (list []Rule) {
	for _, p := range networks(rules) {
		list = append(list, Rule{Protocol: AnyProtocol, Action: Drop, Src: []netip.Prefix{p}})
	}
	return list
}

// blockset is one rule for all of them.
func blockset(rules int) []Rule {
	return []Rule{{Protocol: AnyProtocol, Action: Drop, Src: networks(rules)}}
}

// networks are of all lengths, some in others.
func networks(n int) (list []netip.Prefix) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range n {
		a := netip.AddrFrom4([4]byte{byte(20 + rng.IntN(100)), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
		list = append(list, netip.PrefixFrom(a, 12+rng.IntN(21)).Masked())
	}
	return list
}

// pairs are rules for one port, from some networks to some hosts.
func pairs(rules int) (list []Rule) {
	hosts := networks(50)
	for i, p := range networks(rules) {
		list = append(list, Rule{Protocol: protoTCP, Action: Accept, Src: []netip.Prefix{p}, Dst: hosts[i%50 : i%50+1], DstPorts: []PortRange{{443, 443}}})
	}
	return list
}

// The first packet of a flow that no rule of a long list takes, by what lists are made of.
func BenchmarkLongLists(b *testing.B) {
	for name, make := range map[string]func(int) []Rule{"services": firewall, "blocklist": blocklist, "blockset": blockset, "pairs": pairs} {
		for _, rules := range []int{1, 100, 10_000, 60_000} {
			b.Run(fmt.Sprintf("%s/rules=%d", name, rules), func(b *testing.B) {
				start := time.Now()
				s := compile(b, acceptAll, make(rules)...)
				took := time.Since(start)
				var keys [256]Key
				rng := rand.New(rand.NewPCG(3, 4))
				for i := range keys {
					src := netip.AddrFrom4([4]byte{byte(20 + rng.IntN(120)), byte(rng.Uint32()), byte(rng.Uint32()), 1})
					keys[i] = *key(src.String(), "10.2.2.2", func(k *Key) { k.State, k.DstPort, k.SrcPort = New, 443, uint16(rng.Uint32()) })
				}
				i := 0
				for b.Loop() {
					s.Match(HookIn, &keys[i%len(keys)])
					i++
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/pkt")
				b.ReportMetric(float64(took.Milliseconds()), "compile-ms")
			})
		}
	}
}

// The first packet of a flow that no service takes passes all rules; one of
// an established flow stops at the first rule.
func BenchmarkMatch(b *testing.B) {
	for _, rules := range []int{1, 10, 100, 1000, 10_000} {
		s := compile(b, acceptAll, firewall(rules)...)
		for _, state := range []State{Established, New} {
			b.Run(fmt.Sprintf("rules=%d/state=%s", rules, state), func(b *testing.B) {
				k := key("10.1.1.2", "10.2.2.2", func(k *Key) { k.State = state })
				b.ReportAllocs()
				for b.Loop() {
					s.Match(HookIn, k)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/pkt")
			})
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	rules := firewall(1000)
	for b.Loop() {
		if _, err := Compile(rules, acceptAll, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	s := compile(t, acceptAll, firewall(100)...)
	k := key("10.1.1.2", "10.2.2.2", nil)
	if n := testing.AllocsPerRun(100, func() { s.Match(HookIn, k) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

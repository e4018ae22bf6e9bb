package policy

import (
	"fmt"
	"net/netip"
	"testing"
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

// The first packet of a flow that no service takes walks the whole list; one of
// an established flow stops at the first rule.
func BenchmarkMatch(b *testing.B) {
	for _, rules := range []int{10, 100, 1000} {
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

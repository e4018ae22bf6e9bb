package pipeline

import (
	"testing"

	"ffwd/policy"

	"github.com/gopacket/gopacket/layers"
)

// CT-2, FF-6: after a reload that lets only established flows on, a closed connection's ports must not open a new one.
func TestReusedPortsAreNew(t *testing.T) {
	w := newWorld(t)
	syn := frame(ip4(a4, b4, layers.IPProtocolTCP), &layers.TCP{SrcPort: 1000, DstPort: 22, SYN: true})
	rst := back(ip4(b4, a4, layers.IPProtocolTCP), &layers.TCP{SrcPort: 22, DstPort: 1000, RST: true, ACK: true})
	w.send(0, syn)
	w.send(1, rst)
	w.setRules(2, policy.Defaults{In: policy.Drop, Out: policy.Accept},
		policy.Rule{Hook: policy.HookIn, Action: policy.Accept, Protocol: policy.AnyProtocol, States: policy.States(policy.Established)})
	out := w.send(0, syn)
	if len(out[1]) != 0 {
		t.Error("a SYN of a new connection passed rules that accept established only")
	}
}

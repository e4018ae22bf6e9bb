package ct

import (
	"slices"
	"sync/atomic"

	"ffwd/packet"
)

// Kind is what flows a policy is for: the family, and the protocol by its IANA
// number, 255 for all that have no tracker of their own.
type Kind struct{ Family, Protocol uint8 }

// GenericProtocol stands in a Kind for the protocols without a tracker; the number
// is reserved by IANA.
const GenericProtocol = 255

// kindOf returns the kind of policy that fits a packet's flow.
func kindOf(p *packet.Packet) Kind {
	k := Kind{family4, p.Proto}
	if p.Is(packet.IsIPv6) {
		k.Family = family6
	}
	if !tracked(k.Protocol) {
		k.Protocol = GenericProtocol
	}
	return k
}

// tracked tells whether flows of the protocol have a tracker of their own.
func tracked(protocol uint8) bool {
	switch protocol {
	case packet.ProtoTCP, packet.ProtoUDP, packet.ProtoICMP, packet.ProtoICMPv6, packet.ProtoSCTP, packet.ProtoGRE:
		return true
	}
	return false
}

// policyRefs are one worker's references to the policies, by index. That worker
// alone writes them, so no two ever contend; control adds up those of all.
type policyRefs struct {
	queued, flows [MaxPolicies]atomic.Uint32
}

func bump(counter *atomic.Uint32, by uint32) { counter.Store(counter.Load() + by) }

// join makes a worker's table one that may refer to policies.
func (ps *Policies) join() *policyRefs {
	refs := new(policyRefs)
	ps.mu.Lock()
	ps.workers = append(ps.workers, refs)
	ps.mu.Unlock()
	return refs
}

// leave drops all references of a table that is no more.
func (ps *Policies) leave(refs *policyRefs) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.workers = slices.DeleteFunc(ps.workers, func(r *policyRefs) bool { return r == refs })
}

// count adds up the workers' references to a policy. The caller holds mu.
//
// Packets are counted before flows: a packet that leaves its queue becomes a flow
// first and ceases to be queued then, so it may be counted twice meanwhile, but
// never not at all. Both counters are sequentially consistent atomics.
func (ps *Policies) count(index uint16) (queued, flows int) {
	for _, w := range ps.workers {
		queued += int(w.queued[index].Load())
		flows += int(w.flows[index].Load())
	}
	return queued, flows
}

// Attach gives the flow that a new packet may start a policy, as a rule asks, if
// the policy fits it and it has none yet. It takes no reference: the packet does
// not outlast the poll, unless it becomes a flow (Confirm) or has to wait
// (HoldPolicy). Owner worker only. Source: TO-3.
func (t *Table) Attach(p *packet.Packet, policy uint16) {
	if p.Policy == 0 && p.Flow == 0 && p.State == packet.CtNew && t.policies != nil && t.policies.kinds[policy] == kindOf(p) {
		p.Policy = policy
	}
}

// HoldPolicy takes the reference of a packet that is about to wait, in a verdict
// queue or for a neighbour, with a flow that is not confirmed; p.Policy is 0 afterwards if there is
// none to take. ReleasePolicy gives it back, on the same worker, when the packet
// is reinjected, behind its confirmation, or dropped. Source: TO-4, TO-5.
func (t *Table) HoldPolicy(p *packet.Packet) {
	if p.Policy == 0 { // not written: a copy of the packet that follows would wait for it
		return
	}
	if p.Flow != 0 || !t.mayRefer(p.Policy) {
		p.Policy = 0
		return
	}
	bump(&t.refs.queued[p.Policy], 1)
}

// ReleasePolicy ends what HoldPolicy began; policy is p.Policy as it left it.
func (t *Table) ReleasePolicy(policy uint16) {
	if policy != 0 {
		bump(&t.refs.queued[policy], ^uint32(0))
	}
}

// mayRefer tells whether a reference to the policy may be taken: there is one, and
// it is not dead.
func (t *Table) mayRefer(policy uint16) bool {
	return policy != 0 && t.policies != nil && t.policies.alive[policy].Load()
}

// adopt gives a flow that is being entered its policy, if there is one.
func (t *Table) adopt(flow uint32, policy uint16) {
	if !t.mayRefer(policy) {
		return
	}
	bump(&t.refs.flows[policy], 1)
	t.flow(flow).policy = policy
}

// disown takes its policy from a flow.
func (t *Table) disown(f *Flow) {
	if f.policy != 0 {
		bump(&t.refs.flows[f.policy], ^uint32(0))
		f.policy = 0
	}
}

// Detach takes the policies in the set away from the flows among the next budget
// entries from index from on. They fall back to the protocol's default at their
// next refresh. It returns where to go on, or 0 at the end. Owner worker only.
// Source: TO-5, TO-8, CT-9.
func (t *Table) Detach(set *PolicySet, from uint32, budget int) uint32 {
	return t.Walk(from, budget, func(i uint32) bool {
		if f := t.flow(i); set.Has(f.policy) {
			t.disown(f)
		}
		return true
	})
}

package pipeline

import (
	"unsafe"

	"ffwd/packet"
)

// PuntSink takes frames to the host kernel. Punt copies a frame that came in on
// an interface, given in two pieces, and reports whether there was room, of which
// control traffic has more. It neither waits nor allocates.
type PuntSink interface {
	Punt(iface uint16, control bool, first, second []byte) bool
}

// Budget is what a punted packet is counted against. Source: SP-4.
type Budget uint8

// Control traffic has budgets of its own, so that no flood of other punts keeps
// it out; the others go by the punt's reason.
const (
	BudgetNeighbour Budget = iota // ARP and neighbour discovery
	BudgetRouting                 // routing protocols and what their sessions run on
	BudgetLocal
	BudgetMulticast
	BudgetOptions
	BudgetExtension
	BudgetEtherType
	BudgetRoute
	NumBudgets
)

// PuntRates are packets per second and worker, by budget; 0 is none.
type PuntRates [NumBudgets]int

// reasonBudget is the budget of a punted packet that is no control traffic.
var reasonBudget = [packet.NumReasons]Budget{
	packet.PuntLocal:     BudgetLocal,
	packet.PuntMulticast: BudgetMulticast,
	packet.PuntOptions:   BudgetOptions,
	packet.PuntExtension: BudgetExtension,
	packet.PuntEtherType: BudgetEtherType,
	packet.PuntRoute:     BudgetRoute,
	packet.PuntARP:       BudgetNeighbour,
}

// punt gives a packet to the slow path as it was received, but for translated addresses,
// and frees the mbuf.
//
// Stages change nothing in a packet before they punt it, so the frame is still
// whole in its mbuf, with what it has behind the network packet. Only the tag of
// a VLAN goes, because the twin of a sub-port has none.
// Source: FF-13, SP-1, SP-4; without a slow path SP-5.
func (w *Worker) punt(p *packet.Packet, nowNs int64) {
	sink := w.config.Punts
	if sink == nil {
		w.discard(p)
		return
	}
	budget, reason := budgetOf(p), p.Reason
	if !w.punts[budget].allow(w.snap.PuntRates[budget], nowNs) {
		w.counter.PuntsLimited[reason]++
		p.DropFor(packet.PuntLimited)
		w.discard(p)
		return
	}
	begun := false
	if p.Translation != 0 {
		var refused packet.Reason
		if begun, refused = w.finishTranslation(p, nowNs); refused != packet.Unfinished {
			p.DropFor(refused)
			w.discard(p)
			return
		}
	}
	first, second := received(p, w.snap.Interfaces[p.Ingress].VLAN)
	if !sink.Punt(p.Ingress, budget <= BudgetRouting, first, second) {
		w.counter.PuntsFull[reason]++
		if begun {
			w.table.Delete(p.Flow) // a first packet that is dropped leaves nothing
		}
		p.DropFor(packet.PuntFull)
		w.discard(p)
		return
	}
	w.counter.Punts[reason]++
	if p.Flow == 0 && p.State == packet.CtNew && w.table != nil {
		// The kernel has it, so its flow begins: what the kernel answers belongs
		// to it, and what the peer says next. A full table refuses and counts.
		w.table.Confirm(p, nowNs, w.snap.Timeouts)
	}
	w.release(p.Mbuf)
}

// received returns the bytes of the frame as it came in, without the tag where it
// is that of a VLAN sub-port and the device left it in.
func received(p *packet.Packet, vlan uint16) (first, second []byte) {
	m := p.Mbuf
	frame := unsafe.Slice((*byte)(m.Data()), m.DataLen)
	const tag = packet.EthernetLen - 2
	if vlan == 0 || p.L3 == packet.EthernetLen {
		return frame, nil
	}
	return frame[:tag], frame[tag+packet.VLANTagLen:]
}

// budgetOf tells control traffic from everything else. The header is whole:
// Parse checked it before it said anything of the network layer.
func budgetOf(p *packet.Packet) Budget {
	switch p.Reason {
	case packet.PuntARP, packet.PuntDiscovery:
		return BudgetNeighbour
	case packet.PuntEtherType:
		if isControlLink(p) {
			return BudgetRouting
		}
		return BudgetEtherType
	}
	if proto, l4 := transportOf(p); isRouting(proto, l4) {
		return BudgetRouting
	}
	return reasonBudget[p.Reason]
}

// isControlLink reports whether a frame that is neither IP nor ARP is of a
// control protocol: LLDP, LACP, or IS-IS and spanning tree over LLC.
func isControlLink(p *packet.Packet) bool {
	l3 := unsafe.Slice((*byte)(unsafe.Add(p.Data, uintptr(p.L3)-2)), int(p.Len)-int(p.L3)+2)
	etherType := uint16(l3[0])<<8 | uint16(l3[1])
	switch {
	case etherType == packet.EtherLLDP, etherType == packet.EtherSlow:
		return true
	case etherType > packet.MaxLength || len(l3) < 2+3:
		return false
	}
	const llcISO, llcSTP = 0xfe, 0x42 // IEEE 802 LSAP assignments
	return l3[2] == llcISO && l3[3] == llcISO || l3[2] == llcSTP && l3[3] == llcSTP
}

// transportOf returns the protocol and what is behind the network header. A
// packet that was punted early has neither noted.
func transportOf(p *packet.Packet) (proto uint8, l4 []byte) {
	whole := p.Network()
	if p.Is(packet.IsIPv6) {
		return p.IPv6().NextHeader(), whole[packet.IPv6HeaderLen:]
	}
	h := p.IPv4()
	if h.FragField()&packet.IPv4OffsetMask != 0 {
		return h.Proto(), nil
	}
	return h.Proto(), whole[p.L4:]
}

// Ports of routing protocols. Source: IANA service names and port numbers.
const (
	portBGP         = 179
	portRIP         = 520
	portRIPng       = 521
	portLDP         = 646
	portBFD         = 3784 // RFC 5881 section 4
	portBFDEcho     = 3785
	portBFDMultihop = 4784 // RFC 5883 section 5
)

// isRouting reports whether a packet is of a routing protocol.
func isRouting(proto uint8, l4 []byte) bool {
	switch proto {
	case packet.ProtoOSPF, packet.ProtoVRRP, packet.ProtoPIM, packet.ProtoIGMP, packet.ProtoEIGRP:
		return true
	case packet.ProtoTCP, packet.ProtoUDP:
	default:
		return false
	}
	if len(l4) < 4 {
		return false
	}
	src, dst := uint16(l4[0])<<8|uint16(l4[1]), uint16(l4[2])<<8|uint16(l4[3])
	if proto == packet.ProtoTCP {
		return src == portBGP || dst == portBGP || src == portLDP || dst == portLDP
	}
	switch dst {
	case portRIP, portRIPng, portLDP, portBFD, portBFDEcho, portBFDMultihop:
		return true
	}
	return false
}

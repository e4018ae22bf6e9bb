package ct

import (
	"math/bits"

	"ffwd/packet"
)

// A packet that is to be translated goes through these, in this order; its own twin keeps
// what has been decided until its flow is confirmed:
//
//	SetDestination, SetSource  what a rule decided, for the first packet of a flow
//	Destination                before the route lookup
//	ConfirmTranslated          the source is chosen, the flow entered
//	Source                     it leaves
//
// Restore undoes what was written, ReleaseTranslation what was decided. Owner worker only.
// Source: FF-6; RFC 3022, RFC 4787, RFC 5382, RFC 5508.
// Design: docs/decisions/0016-address-translation.md.

// Range is what a new end of a flow is chosen from: by a keyed hash of its source address,
// so that a host keeps what it has. Source: RFC 4787 REQ-2.
type Range struct {
	First, Last         [16]byte // addresses; IPv4 in the first four bytes. IPv6 differ in the lower 64 bits at most
	FirstPort, LastPort uint16   // 0, 0: the packet's port; of a source another of its class if that is taken
}

// Translates reports whether a rule may decide how a packet's flow is translated, which
// there is not yet. A packet of a flow follows what was decided.
func Translates(p *packet.Packet) bool {
	return p.Flow == 0 && p.State == packet.CtNew && p.Key1 != 0
}

// ownTwin returns the twin of a new packet, which has one from here on, or nil: all are
// in use.
func (t *Table) ownTwin(p *packet.Packet) *twin {
	if p.Translation == 0 {
		if p.Translation = t.takeTwin(); p.Translation == 0 {
			return nil
		}
		w, h := t.twin(p.Translation), headersOf(p)
		copy(w.ends.low[:], h.address(theDst))
		w.ends.high, w.port = w.ends.low, destinationPort(p)
	}
	return t.twin(p.Translation)
}

// SetDestination notes where a new packet's flow goes. It returns false when all of
// Options.Translations are in use.
func (t *Table) SetDestination(p *packet.Packet, to *Range) bool {
	w := t.ownTwin(p)
	if w == nil {
		return false
	}
	t.pick(&w.ends.high, p, to)
	if to.FirstPort != 0 {
		n := uint64(to.LastPort-to.FirstPort) + 1
		w.port = bits.ReverseBytes16(to.FirstPort + uint16(below(p.Hash<<16, n)))
	}
	return true
}

// SetSource notes that a new packet's flow is to have another source. What says which is
// the caller's: NotedSource gives it back. 0 is none. It returns false as SetDestination.
func (t *Table) SetSource(p *packet.Packet, what uint32) bool {
	if what == 0 && p.Translation == 0 {
		return true
	}
	w := t.ownTwin(p)
	if w != nil {
		w.rule = what
	}
	return w != nil
}

// NotedSource returns what SetSource noted for a new packet.
func (t *Table) NotedSource(p *packet.Packet) uint32 { return t.twin(p.Translation).rule }

// ReleaseTranslation takes from a packet that ends what its flow was to be translated by.
func (t *Table) ReleaseTranslation(p *packet.Packet) {
	if p.Flow == 0 && p.State == packet.CtNew {
		t.freeTwin(p.Translation)
	}
	p.Translation = 0
}

// settleTwin frees the twin that a packet had of its own, unless it has it still, or its
// flow has.
func (t *Table) settleTwin(p *packet.Packet, own uint32) {
	if own == 0 || t.twin(own).flow != 0 || p.Flow == 0 && p.State == packet.CtNew {
		return
	}
	t.freeTwin(own)
	if p.Translation == own {
		p.Translation = 0
	}
}

// ConfirmTranslated is Confirm for a new packet that has Translation; its new destination
// is written already. from is nil where no rule chose one: then the port alone may
// change, so that the reply tuple is free and comes to this worker. Where nothing changes
// after all the flow is like any other.
func (t *Table) ConfirmTranslated(p *packet.Packet, from *Range, nowNs int64, timeouts *Timeouts) bool {
	own := p.Translation
	w := t.twin(own)
	goes, came := endpoint{w.ends.high, w.port}, endpoint{w.ends.low, destinationPort(p)}
	// The table compares whole addresses, and knows a flow by those that it came with.
	h := headersOf(p)
	to := h.address(theDst)
	copy(to, came.addr[:])
	if t.named = from != nil; t.named {
		t.from = *from // a pointer would let it escape
	}
	ok := t.Confirm(p, nowNs, timeouts)
	copy(to, goes.addr[:])
	if !ok {
		p.Translation = own
		return false
	}
	t.settleTwin(p, own)
	if p.Translation != 0 && p.Flow != 0 {
		came = t.sent(p).dst
	}
	if p.Flow == 0 || came != goes {
		t.refusal = packet.NATNoFlow // another packet's flow goes elsewhere, or there is none
		return false
	}
	return true
}

// sent returns what a packet of a translated flow leaves with.
func (t *Table) sent(p *packet.Packet) oneWay {
	w := t.twin(p.Translation)
	return t.way(w.flow, p.Translation, directionOf(p)^1).reversed()
}

func directionOf(p *packet.Packet) int {
	if p.Is(packet.ReplyDir) {
		return Reply
	}
	return Original
}

// follows reports whether what a packet of a flow is translated by is its flow's still. A flow
// that gave way to another packet of the burst took its twin along, which may be another
// flow's by now, and that one have the same index.
func (t *Table) follows(p *packet.Packet) bool {
	w, k := t.twin(p.Translation), key{p.Key0, p.Key1}
	return w.flow != 0 && (k == w.key || k == t.flow(w.flow).key)
}

// Destination writes the destination of a packet that has Translation. Of an ICMP error it
// is the packet that it quotes too. It returns false, and Refusal says why, if the packet's flow
// has ended since Lookup, so that there is nothing to go by, or if its ports cannot be changed.
func (t *Table) Destination(p *packet.Packet) bool {
	switch w := t.twin(p.Translation); {
	case Translates(p):
		return t.readdress(p, theDst, &endpoint{w.ends.high, w.port})
	case !t.follows(p):
		t.refusal = packet.NATNoFlow
		return false
	case p.State == packet.CtRelated:
		t.translateQuote(p, w.flow)
		return true
	case hasPlainPorts(p):
		t.setPlainEnd(p, theDst)
		return true
	default:
		o := t.sent(p)
		return t.readdress(p, theDst, &o.dst)
	}
}

func (t *Table) readdress(p *packet.Packet, s which, to *endpoint) bool {
	t.refusal = packet.NATNoPort
	return setEnd(p, s, to)
}

// Source writes the source of a packet that has Translation and leaves. It returns false as
// Destination.
func (t *Table) Source(p *packet.Packet) bool {
	if !t.follows(p) {
		t.refusal = packet.NATNoFlow
		return false
	}
	if p.State == packet.CtRelated {
		t.translateReporter(p)
		return true
	}
	if hasPlainPorts(p) {
		t.setPlainEnd(p, theSrc)
		return true
	}
	o := t.sent(p)
	return t.readdress(p, theSrc, &o.src)
}

// Restore writes into a packet that has Translation the destination it was received with.
// It returns false where there is none to be told: the packet waited and its flow has
// ended, or the destination is neither that nor the translated one. An ICMP error stays as
// it is; to translate it once more changes nothing.
func (t *Table) Restore(p *packet.Packet) bool {
	var came, goes endpoint
	w := t.twin(p.Translation)
	if Translates(p) {
		came, goes = endpoint{w.ends.low, destinationPort(p)}, endpoint{w.ends.high, w.port}
	} else {
		if !t.follows(p) {
			return false
		}
		if p.State == packet.CtRelated {
			return true
		}
		came, goes = t.way(w.flow, p.Translation, directionOf(p)).dst, t.sent(p).dst
	}
	h := headersOf(p)
	is := endpoint{portLE: uint16(p.PortsLE >> 16)}
	copy(is.addr[:], h.address(theDst))
	if is != came && is != goes {
		return false
	}
	return setEnd(p, theDst, &came)
}

// destinationPort is the one that a packet came with, whatever it has now.
func destinationPort(p *packet.Packet) uint16 {
	if p.Is(packet.KeySwapped) { // the low end is the destination
		return uint16(p.Key1 >> 32)
	}
	return uint16(p.Key1 >> 48)
}

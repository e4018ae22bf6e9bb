package ct

import (
	"encoding/binary"
	"math/bits"
	"unsafe"

	"ffwd/packet"
)

// portTries is how many ports are tried until a packet is refused. Source: Linux's
// nf_nat_l4proto_unique_tuple begins with as many.
const portTries = 128

// chooseReply chooses the source of a new packet's flow, and notes the reply tuple in its
// twin: one that no flow has, and whose packets come to this worker. The port that the
// packet has is the first choice. It returns false if there is none to be had, and
// refusal says so; Translation is 0 afterwards if nothing is translated after all.
func (t *Table) chooseReply(p *packet.Packet) bool {
	w, came := t.twin(p.Translation), t.came(p)
	var from *Range
	if t.named {
		from = &t.from
	}
	reply := oneWay{src: endpoint{w.ends.high, w.port}, dst: came.src}
	if from != nil {
		t.pick(&reply.dst.addr, p, from)
	}
	ports := portsFor(p, from, bits.ReverseBytes16(came.src.portLE))
	for try := range ports.tries() {
		reply.dst.portLE = bits.ReverseBytes16(ports.at(try))
		if reply == came.reversed() {
			p.Translation = 0
			return true
		}
		if t.claim(p, w, &reply) {
			return true
		}
	}
	t.refusal = packet.NATNoPort
	return false
}

// came returns what a new packet was received with.
func (t *Table) came(p *packet.Packet) oneWay {
	var low addresses
	o := oneWayOf(key{p.Key0, p.Key1}, &low, p.Is(packet.KeySwapped))
	h := headersOf(p)
	copy(o.src.addr[:], h.address(theSrc))
	o.dst.addr = t.twin(p.Translation).ends.low
	return o
}

// claim notes a reply tuple in the packet's twin if no entry of the index has it, and its
// owner is this worker.
func (t *Table) claim(p *packet.Packet, w *twin, reply *oneWay) bool {
	proto, zone := p.Proto, key{p.Key0, p.Key1}.zone()
	k, hash, swapped := t.secret.keyOf(reply, proto, zone, p.Is(packet.IsIPv6))
	if k == (key{p.Key0, p.Key1}) || t.taken(reply, k, hash, swapped, p.Is(packet.IsIPv6)) ||
		t.owns != nil && !t.owns(hash, foldOf(reply, proto)) {
		return false
	}
	w.key, w.ends, w.flags = k, addresses{reply.src.addr, reply.dst.addr}, 0
	if swapped {
		w.ends, w.flags = addresses{reply.dst.addr, reply.src.addr}, origSwapped
	}
	return true
}

// taken reports whether an entry of the index has a tuple.
func (t *Table) taken(o *oneWay, k key, hash uint64, swapped, ipv6 bool) bool {
	p := packet.Packet{Head: packet.Head{Key0: k.k0, Key1: k.k1, Hash: hash}}
	var header packet.IPv6 // of which find compares the addresses
	if ipv6 {
		*header.Src(), *header.Dst() = o.src.addr, o.dst.addr
		p.Data, p.Flags = unsafe.Pointer(&header), packet.IsIPv6
	}
	if swapped {
		p.Flags |= packet.KeySwapped
	}
	return t.find(&p) != 0
}

// Own makes the table choose reply tuples only that are this worker's, by their hash and
// FlowFold. Before the table is used.
func (t *Table) Own(owns func(hash uint64, fold uint16) bool) { t.owns = owns }

// pick writes the address of a range that belongs to the source of a new packet.
func (t *Table) pick(to *[16]byte, p *packet.Packet, from *Range) {
	be, hash := binary.BigEndian, t.sourceOf(p, 0)
	*to = from.First
	if p.Is(packet.IsIPv6) {
		low := be.Uint64(from.First[8:])
		be.PutUint64(to[8:], low+below(hash, be.Uint64(from.Last[8:])-low+1))
		return
	}
	low := be.Uint32(from.First[:])
	be.PutUint32(to[:], low+uint32(below(hash, uint64(be.Uint32(from.Last[:])-low)+1)))
}

// below spreads a hash over n values; 0 stands for all there are.
func below(hash, n uint64) uint64 {
	if n == 0 {
		return hash
	}
	hi, _ := bits.Mul64(hash, n)
	return hi
}

// sourcePorts are the ports that a flow may come from, in the order in which they are tried.
type sourcePorts struct {
	kept     uint16 // what the packet has
	keep     bool
	first    uint16
	n, start uint32 // how many from first on, and which is the first; n is 0 if there is no choice
	stride   uint32 // to the next: neighbours are often taken, as hosts count their ports up
}

// portsFor returns the ports for a new packet's flow: those of the range, or of the class of
// the packet's. Source: RFC 4787 REQ-3; classes as in Linux.
func portsFor(p *packet.Packet, from *Range, port uint16) sourcePorts {
	s := sourcePorts{kept: port, keep: true}
	first, last := uint16(0), ^uint16(0)
	switch p.Proto {
	case packet.ProtoICMP, packet.ProtoICMPv6: // any identifier
	case packet.ProtoTCP, packet.ProtoUDP, packet.ProtoSCTP:
		switch {
		case p.Proto == packet.ProtoSCTP && p.Is(packet.IsFragment): // see setEnd
			return s
		case from != nil && from.FirstPort != 0:
			first, last = from.FirstPort, from.LastPort
			s.keep = first <= port && port <= last
		case port < 512:
			first, last = 1, 511
		case port < 1024:
			first, last = 600, 1023
		default:
			first = 1024
		}
	default:
		return s
	}
	s.first, s.n = first, uint32(last)-uint32(first)+1
	s.start, s.stride = uint32(below(p.Hash<<16, uint64(s.n))), 1 // by bits that chose no bucket
	if s.n > 4*portTries {                                        // of fewer each is tried, or nearly
		s.stride |= uint32(p.Hash >> 32 & 0x3fff)
	}
	return s
}

// tries returns how many ports are tried.
func (s *sourcePorts) tries() int {
	if s.keep {
		return 1 + int(min(s.n, portTries))
	}
	return int(min(s.n, portTries))
}

// at returns the port of a try.
func (s *sourcePorts) at(try int) uint16 {
	if s.keep {
		if try == 0 {
			return s.kept
		}
		try--
	}
	return s.first + uint16((s.start+uint32(try)*s.stride)%s.n)
}

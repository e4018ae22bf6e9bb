package pipeline

import (
	"encoding/binary"
	"math/bits"

	"ffwd/ct"
	"ffwd/packet"
	"ffwd/policy"
)

// Express takes plain frames from the receive queue to the device: without conntrack where
// no rule is asked, with it those of known flows for which the rules have decided already
// that they pass. What it does not take goes through all stages, as if it had not been
// there.
//
// Needs:  the mbufs received.
// Writes: the frames and mbufs it takes, see lane; their flows' counters, states and
//
//	deadlines; of the burst, that it is the others.
//
// Source: FF-1, FF-2, FF-6, FF-14, CT-1, CT-2.
type Express struct {
	*lane
	steer *Steer // nil: there is one worker
}

// Process takes the plain frames of one family that lead the burst.
func (s *Express) Process(b *packet.Burst) {
	rules := !s.snap.Rules.Empty(policy.HookIn)
	if !s.snap.open() || s.snap.reversePath || s.snap.Tracking.Checksum && s.table != nil || rules && s.table == nil || s.steer != nil && s.steer.ports[s.port] {
		return
	}
	received, ingress := s.received[:b.N], s.snap.Ports[s.port].Untagged
	mac := s.snap.Interfaces[ingress].MAC
	bytes, protocols := s.plain4(received, mac)
	if s.n == 0 {
		bytes, protocols = s.plain6(received, mac)
	}
	plain := s.n
	if plain == 0 {
		return
	}
	if s.table == nil {
		s.way()
	} else {
		heads := packet.HeadsAlone(s.heads[:plain])
		s.secret.KeysOfPlain(s.heads[:plain], s.ipv6, s.snap.Zones[ingress])
		s.table.Seek(heads, protocols&packet.ProtoTCP != 0)
		s.way()
		if rules {
			s.allowed(ingress)
		}
		s.n = s.table.Join(heads.First(s.n), b.NowNs, s.snap.Timeouts)
		if rules {
			s.credit()
		}
	}
	s.leave(received)
	for _, m := range received[s.n:plain] { // Parse counts these
		bytes -= uint64(m.DataLen)
	}
	s.counter.Ports[s.port].RxBytes += bytes
	if b.N -= s.n; b.N > 0 {
		copy(received, received[s.n:])
	}
}

// plain4 makes the run the leading frames that parsePlain would take and not call broken,
// with a hop to go. It returns the bytes received in them, and the bits of their protocols.
func (l *lane) plain4(mbufs []*packet.Mbuf, mac uint64) (bytes uint64, protocols uint8) {
	n, macLE := 0, bits.ReverseBytes64(mac)
	for i, m := range mbufs[:min(len(mbufs), packet.MaxBurst)] {
		length, flags := m.DataLen, m.OlFlags
		data := m.Data()
		f := (*plainFrame)(data)
		if int(length) < len(plainFrame{}) || !isPlain(f, macLE) || flags&(packet.RxVLANStripped|packet.RxIPCksumBad) != 0 || f[22] <= 1 {
			break
		}
		total, proto := binary.BigEndian.Uint16(f[16:]), f[23]
		if !isWhole(total, length-packet.EthernetLen, proto) || proto == packet.ProtoUDP && !isWholeUDP(binary.BigEndian.Uint16(f[38:]), total-packet.IPv4HeaderLen) ||
			flags&packet.RxIPCksumGood == 0 && !(*packet.IPv4)(f[packet.EthernetLen:]).ChecksumOK() {
			break
		}
		p := &l.heads[i]
		p.Data, p.Len, p.L3, p.L4 = data, packet.EthernetLen+total, packet.EthernetLen, packet.IPv4HeaderLen
		p.Proto, p.Flags, p.Verdict = proto, packet.HasPorts, packet.Continue
		l.size[i], l.dst4[i] = total, binary.BigEndian.Uint32(f[30:])
		bytes += uint64(length)
		protocols |= proto
		n++
	}
	l.n, l.ipv6 = n, false
	return bytes, protocols
}

// plain6 is plain4 for the frames that parsePlain6 would take.
func (l *lane) plain6(mbufs []*packet.Mbuf, mac uint64) (bytes uint64, protocols uint8) {
	n, macLE := 0, bits.ReverseBytes64(mac)
	for i, m := range mbufs[:min(len(mbufs), packet.MaxBurst)] {
		length := m.DataLen
		data := m.Data()
		f := (*plainFrame6)(data)
		if int(length) < len(plainFrame6{}) || !isPlain6(f, macLE) || m.OlFlags&packet.RxVLANStripped != 0 || f[21] <= 1 {
			break
		}
		payload, proto := binary.BigEndian.Uint16(f[18:]), f[20]
		if !isWhole6(payload, length-packet.EthernetLen-packet.IPv6HeaderLen, proto) ||
			proto == packet.ProtoUDP && !isWholeUDP(binary.BigEndian.Uint16(f[58:]), payload) {
			break
		}
		p := &l.heads[i]
		p.Data, p.Len, p.L3, p.L4 = data, packet.EthernetLen+packet.IPv6HeaderLen+payload, packet.EthernetLen, packet.IPv6HeaderLen
		p.Proto, p.Flags, p.Verdict = proto, packet.HasPorts|packet.IsIPv6, packet.Continue
		l.size[i], l.dst6[i] = packet.IPv6HeaderLen+payload, (*packet.IPv6)(f[packet.EthernetLen:]).Dst()
		bytes += uint64(length)
		protocols |= proto
		n++
	}
	l.n, l.ipv6 = n, true
	return bytes, protocols
}

// allowed ends the run before the first packet that rules have not let pass before, in this
// generation, from this interface. Nothing is written yet: the packet may turn out not to
// be of the flow that was found.
func (l *lane) allowed(ingress uint16) {
	generation := l.snap.Rules.Generation()
	l.ledger.follow(generation, l.snap.Rules.Len())
	for i := range l.heads[:l.n] {
		p := &l.heads[i]
		f := l.table.Candidate(p, i)
		if f == nil {
			l.n = i
			return
		}
		said := f.Decision(generation, f.Direction(p.Flags), ct.HookIn)
		if !l.ledger.decisions[said&(maxDecisions-1)].passes(ingress) {
			l.n = i
			return
		}
		l.said[i] = said
	}
}

// credit counts the run for the rules that let it pass.
func (l *lane) credit() {
	for at := 0; at < l.n; {
		said, from, bytes := l.said[at], at, uint64(0)
		for ; at < l.n && l.said[at] == said; at++ { // in a register: the counter would be waited for
			bytes += uint64(l.size[at])
		}
		hits := &l.ledger.decisions[said].hits
		hits.Packets += uint64(at - from)
		hits.Bytes += bytes
	}
}

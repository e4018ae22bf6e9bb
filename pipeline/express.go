package pipeline

import (
	"encoding/binary"
	"math/bits"

	"ffwd/packet"
	"ffwd/policy"
)

// Express takes plain frames from the receive queue to the device where nothing but
// forwarding is asked of anybody: no flows, no rules, no reverse-path filter. What it
// does not take goes through all stages.
//
// Needs:  the mbufs received.
// Writes: the frames and mbufs it takes, see lane; of the burst, that it is the others.
// Source: FF-1, FF-2, FF-14.
type Express struct{ *lane }

// Process takes the plain frames of one family that lead the burst.
func (s *Express) Process(b *packet.Burst) {
	if !s.snap.open() || s.snap.reversePath || !s.snap.Rules.Empty(policy.HookIn) {
		return
	}
	received := s.received[:b.N]
	mac := s.snap.Interfaces[s.snap.Ports[s.port].Untagged].MAC
	bytes := s.plain4(received, mac)
	if s.n == 0 {
		bytes = s.plain6(received, mac)
	}
	n := s.depart(received)
	for _, m := range received[n:s.n] { // Parse counts these
		bytes -= uint64(m.DataLen)
	}
	s.counter.Ports[s.port].RxBytes += bytes
	if b.N -= n; b.N > 0 {
		copy(received, received[n:])
	}
}

// plain4 makes the run the leading frames that parsePlain would take. It returns the bytes
// received in them.
func (l *lane) plain4(mbufs []*packet.Mbuf, mac uint64) (bytes uint64) {
	n, macLE := 0, bits.ReverseBytes64(mac)
	for i, m := range mbufs[:min(len(mbufs), packet.MaxBurst)] {
		length, flags := m.DataLen, m.OlFlags
		data := m.Data()
		f := (*plainFrame)(data)
		if int(length) < len(plainFrame{}) || !isPlain(f, macLE) || flags&(packet.RxVLANStripped|packet.RxIPCksumBad) != 0 {
			break
		}
		total := binary.BigEndian.Uint16(f[16:])
		if !isWhole(total, length-packet.EthernetLen, f[23]) ||
			flags&packet.RxIPCksumGood == 0 && !(*packet.IPv4)(f[packet.EthernetLen:]).ChecksumOK() {
			break
		}
		l.data[i], l.size[i], l.dst4[i] = data, total, binary.BigEndian.Uint32(f[30:])
		bytes += uint64(length)
		n++
	}
	l.n, l.ipv6 = n, false
	return bytes
}

// plain6 is plain4 for the frames that parsePlain6 would take.
func (l *lane) plain6(mbufs []*packet.Mbuf, mac uint64) (bytes uint64) {
	n, macLE := 0, bits.ReverseBytes64(mac)
	for i, m := range mbufs[:min(len(mbufs), packet.MaxBurst)] {
		length := m.DataLen
		data := m.Data()
		f := (*plainFrame6)(data)
		if int(length) < len(plainFrame6{}) || !isPlain6(f, macLE) || m.OlFlags&packet.RxVLANStripped != 0 {
			break
		}
		payload := binary.BigEndian.Uint16(f[18:])
		if !isWhole6(payload, length-packet.EthernetLen-packet.IPv6HeaderLen, f[20]) {
			break
		}
		l.data[i], l.size[i], l.dst6[i] = data, packet.IPv6HeaderLen+payload, (*packet.IPv6)(f[packet.EthernetLen:]).Dst()
		bytes += uint64(length)
		n++
	}
	l.n, l.ipv6 = n, true
	return bytes
}

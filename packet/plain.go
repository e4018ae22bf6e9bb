package packet

import (
	"encoding/binary"
	"math/bits"
)

// A plain frame is what nearly all frames are: untagged, for our unicast address, with a
// whole TCP or UDP packet in it; of IPv4 without options, or of IPv6 without extension headers;
// and no address that needs a second look. PlainFrame4 and PlainFrame6 are their headers up
// to the start of the transport header. Source: FF-2, FF-4, FF-14.
type (
	PlainFrame4 [EthernetLen + IPv4HeaderLen + 8]byte
	PlainFrame6 [EthernetLen + IPv6HeaderLen + 8]byte
)

// Fields that are compared as loaded, least significant byte first.
const (
	plainTypeMask4 = 0x00ffffff // ethertype, version and header length
	plainType4     = 0x00450008
	fragmentMask   = 0xff3f     // MF and the offset
	plainTypeMask6 = 0x00f0ffff // ethertype and version
	plainType6     = 0x0060dd86
)

// Martian4 marks first octets of addresses that need a second look, as source or
// destination.
var Martian4 = func() (t [256]uint8) {
	t[0], t[127] = 1, 1
	for i := 224; i < 256; i++ {
		t[i] = 1
	}
	return t
}()

// martian6 is Martian4 for IPv6: of what is unspecified, loopback or has an IPv4 address in
// it, link-local, a group.
var martian6 = [256]uint8{0: 1, 0xfe: 1, 0xff: 1}

// Plain makes the checks that look at constants and addresses alone. mac is the address of
// the interface as MACBytes has it.
func (f *PlainFrame4) Plain(mac uint64) bool {
	le := binary.LittleEndian
	return le.Uint64(f[0:])<<16 == mac<<16 && le.Uint32(f[12:])&plainTypeMask4 == plainType4 &&
		le.Uint16(f[20:])&fragmentMask == 0 && Martian4[f[26]]|Martian4[f[30]] == 0
}

// Plain makes the checks that look at constants and addresses alone.
func (f *PlainFrame6) Plain(mac uint64) bool {
	le := binary.LittleEndian
	return le.Uint64(f[0:])<<16 == mac<<16 && le.Uint32(f[12:])&plainTypeMask6 == plainType6 &&
		martian6[f[22]]|martian6[f[38]] == 0
}

// MACBytes returns the octets of an address, given as by MAC48, in the order of the wire,
// as a number loaded least significant byte first.
func MACBytes(mac uint64) uint64 { return bits.ReverseBytes64(mac) >> 16 }

// IsWhole4 tells whether an IPv4 packet of total bytes fits the room of its frame, and has
// all of its transport header.
func IsWhole4(total, room uint16, proto uint8) bool {
	return total <= room && total >= IPv4HeaderLen+8 &&
		(proto == ProtoUDP || proto == ProtoTCP && total >= IPv4HeaderLen+20)
}

// IsWhole6 is IsWhole4 for IPv6, whose header's length is not part of what it states.
func IsWhole6(payload, room uint16, proto uint8) bool {
	return payload <= room && payload >= 8 && (proto == ProtoUDP || proto == ProtoTCP && payload >= 20)
}

// IsWholeUDP tells whether the length in a UDP header is that of a header at least, and fits
// what IP carries. Source: RFC 768.
func IsWholeUDP(length, payload uint16) bool { return length >= 8 && length <= payload }

// Run is what is known of frames that came in together, all plain and of one family, and
// have a hop to go.
type Run struct {
	Heads [MaxBurst]Head      // of IPv4: Data, Len, L3, L4, Proto, Flags, Verdict Continue
	Size  [MaxBurst]uint16    // bytes of L3
	Src4  [MaxBurst]uint32    // of IPv4: addresses in host order,
	Dst4  [MaxBurst]uint32    //
	Ports [MaxBurst]uint32    // Head.PortsLE, which the head itself has not,
	Proto [MaxBurst]uint8     // Head.Proto
	Dst6  [MaxBurst]*[16]byte // of IPv6: in its packet
}

// plain4 is Plain4 in Go.
func (r *Run) plain4(mbufs []*Mbuf, at int, mac uint64) (n int, bytes uint64, protocols uint8) {
	for i := at; i < min(len(mbufs), MaxBurst); i++ {
		m := mbufs[i]
		length, flags := m.DataLen, m.OlFlags
		data := m.Data()
		f := (*PlainFrame4)(data)
		if int(length) < len(PlainFrame4{}) || !f.Plain(mac) || flags&(RxVLANStripped|RxIPCksumBad) != 0 || f[22] <= 1 {
			break
		}
		total, proto := binary.BigEndian.Uint16(f[16:]), f[23]
		if !IsWhole4(total, length-EthernetLen, proto) || flags&RxIPCksumGood == 0 && !(*IPv4)(f[EthernetLen:]).ChecksumOK() ||
			proto == ProtoUDP && !IsWholeUDP(binary.BigEndian.Uint16(f[38:]), total-IPv4HeaderLen) {
			break
		}
		p := &r.Heads[i]
		p.Data, p.Len, p.L3, p.L4 = data, EthernetLen+total, EthernetLen, IPv4HeaderLen
		p.Proto, p.Flags, p.Verdict, p.State = proto, HasPorts, Continue, 0
		r.Size[i], r.Src4[i], r.Dst4[i] = total, binary.BigEndian.Uint32(f[26:]), binary.BigEndian.Uint32(f[30:])
		r.Ports[i], r.Proto[i] = binary.LittleEndian.Uint32(f[34:]), proto
		bytes += uint64(length)
		protocols |= proto
		n++
	}
	return n, bytes, protocols
}

// Plain6 is Plain4 for IPv6.
func (r *Run) Plain6(mbufs []*Mbuf, at int, mac uint64) (n int, bytes uint64, protocols uint8) {
	mbufs = mbufs[:min(len(mbufs), MaxBurst)]
	n, bytes, protocols = r.sixteens6(mbufs, at, mac)
	for i := at + n; i < len(mbufs); i++ {
		m := mbufs[i]
		length := m.DataLen
		data := m.Data()
		f := (*PlainFrame6)(data)
		if int(length) < len(PlainFrame6{}) || !f.Plain(mac) || m.OlFlags&RxVLANStripped != 0 || f[21] <= 1 {
			break
		}
		payload, proto := binary.BigEndian.Uint16(f[18:]), f[20]
		if !IsWhole6(payload, length-EthernetLen-IPv6HeaderLen, proto) ||
			proto == ProtoUDP && !IsWholeUDP(binary.BigEndian.Uint16(f[58:]), payload) {
			break
		}
		p := &r.Heads[i]
		p.Data, p.Len, p.L3, p.L4 = data, EthernetLen+IPv6HeaderLen+payload, EthernetLen, IPv6HeaderLen
		p.Proto, p.Flags, p.Verdict, p.State = proto, HasPorts|IsIPv6, Continue, 0
		r.Size[i], r.Dst6[i] = IPv6HeaderLen+payload, (*IPv6)(f[EthernetLen:]).Dst()
		bytes += uint64(length)
		protocols |= proto
		n++
	}
	return n, bytes, protocols
}

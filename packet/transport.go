package packet

import (
	"encoding/binary"
	"hash/crc32"
)

// castagnoli is the polynomial of SCTP's checksum. Source: RFC 9260 appendix A.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// TransportOK reports whether the checksum of a packet's L4 message is right, by the
// message's every byte: of TCP, UDP, ICMP of the packet's family, and SCTP. It is true
// for UDP whose sender made none, and for other protocols.
//
// The packet must be no fragment and have its whole L4 header.
// Source: RFC 9293 3.1, RFC 768, RFC 792, RFC 4443 2.3, RFC 8200 8.1, RFC 9260 6.8.
func (p *Packet) TransportOK() bool {
	message := p.Transport()
	switch p.Proto {
	case ProtoTCP:
	case ProtoUDP:
		length := int(binary.BigEndian.Uint16(message[4:]))
		if length < 8 || length > len(message) {
			return false
		}
		if message[6]|message[7] == 0 {
			return true
		}
		message = message[:length] // what is behind is no part of it
	case ProtoICMP:
		return p.Is(IsIPv6) || Fold(Sum(0, message)) == 0xffff
	case ProtoICMPv6:
		if !p.Is(IsIPv6) {
			return true
		}
	case ProtoSCTP:
		return crc32c(message) == binary.LittleEndian.Uint32(message[sctpChecksum:])
	default:
		return true
	}
	var pseudo uint64
	if p.Is(IsIPv6) {
		pseudo = p.IPv6().PseudoSum(p.Proto, len(message))
	} else {
		pseudo = Sum(uint64(p.Proto)+uint64(len(message)), p.IPv4()[12:20])
	}
	return Fold(Sum(pseudo, message)) == 0xffff
}

const sctpChecksum = 8 // offset

// ReplaceSCTP writes two bytes of an SCTP packet, which is whole, and changes its checksum
// by what that makes: one that was wrong stays so. A CRC is linear, so that the difference of
// two is that of what they cover.
func ReplaceSCTP(message []byte, at int, with [2]byte) {
	was := crc32c(message)
	copy(message[at:], with[:])
	sum := message[sctpChecksum:][:4]
	binary.LittleEndian.PutUint32(sum, binary.LittleEndian.Uint32(sum)^was^crc32c(message))
}

// crc32c is the checksum of an SCTP packet, made with zeroes in its own place.
func crc32c(message []byte) uint32 {
	var none [4]byte
	crc := crc32.Update(0, castagnoli, message[:sctpChecksum])
	crc = crc32.Update(crc, castagnoli, none[:])
	return crc32.Update(crc, castagnoli, message[sctpChecksum+4:])
}

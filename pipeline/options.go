package pipeline

import "ffwd/packet"

// IPv4 options. Source: RFC 791 3.1.
const (
	optionEnd  = 0
	optionNoOp = 1
	optionCopy = 0x80 // into every fragment
)

// options says what becomes of an IPv4 packet with options, and whether it goes on.
//
// A port that forwards them looks whether the list is well formed, and leaves what the
// options ask for to others: nothing is recorded, and a source route leads nowhere but to
// the destination in the header. Source: FF-3; RFC 1812 5.2.7.3 for a list that is not.
func options(p *packet.Packet, policy OptionsPolicy) (goOn bool) {
	switch policy {
	case OptionsForward:
		fault, bad := badOption(p.Network()[:p.L4])
		if bad {
			p.RejectFor(packet.BadOptions, packet.ParameterProblem)
			p.MTU = uint16(fault)
		}
		return !bad
	case OptionsDrop:
		p.DropFor(packet.PuntOptions)
		return false
	}
	p.PuntLater(packet.PuntOptions)
	return true
}

// badOption returns the offset of the first octet in a header that cannot be right: an
// option's length that is below two or leads out of the header, or the last octet if
// the length is missing.
func badOption(header []byte) (at int, bad bool) {
	for at = packet.IPv4HeaderLen; at < len(header) && header[at] != optionEnd; {
		switch {
		case header[at] == optionNoOp:
			at++
		case at+1 == len(header):
			return at, true
		case header[at+1] < 2 || at+int(header[at+1]) > len(header):
			return at + 1, true
		default:
			at += int(header[at+1])
		}
	}
	return 0, false
}

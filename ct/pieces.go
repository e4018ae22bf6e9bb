package ct

// span is a part of a datagram's payload, in units of 8 bytes: from, and up to but
// without to. The last one of a datagram is rounded up.
type span struct{ from, to uint16 }

// maxSpans is how many parts of a datagram may be there with gaps between them. 45
// fragments, of the largest datagram on Ethernet, leave at most 23 in any order.
const maxSpans = 24

// pieces are the parts of a datagram that have been seen, in order, with a gap behind
// each. 98 bytes.
type pieces struct {
	n     uint8
	spans [maxSpans]span
}

// placement is how a fragment lies to those before it.
type placement uint8

const (
	placed    placement = iota
	duplicate           // all of it has been there
	overlaps            // a part of it has
	scattered           // it would be one gap too many
)

// add enters a part that is not empty.
func (s *pieces) add(part span) placement {
	at := uint8(0) // of the first span that ends behind the part's beginning, or touches it
	for at < s.n && s.spans[at].to < part.from {
		at++
	}
	if at < s.n && s.spans[at].from <= part.from && part.to <= s.spans[at].to {
		return duplicate
	}
	joins := at < s.n && s.spans[at].to == part.from
	next := at
	if joins {
		next++
	}
	if next < s.n && s.spans[next].from < part.to {
		return overlaps
	}
	meets := next < s.n && s.spans[next].from == part.to
	switch {
	case joins && meets:
		s.spans[at].to = s.spans[next].to
		copy(s.spans[next:], s.spans[next+1:s.n])
		s.n--
	case joins:
		s.spans[at].to = part.to
	case meets:
		s.spans[next].from = part.from
	case s.n == maxSpans:
		return scattered
	default:
		copy(s.spans[at+1:], s.spans[at:s.n])
		s.spans[at] = part
		s.n++
	}
	return placed
}

// whole reports whether all from 0 up to end, in units of 8 bytes, has been seen.
func (s *pieces) whole(end uint16) bool { return s.n == 1 && s.spans[0] == span{0, end} }

// end returns where what has been seen ends.
func (s *pieces) end() uint16 {
	if s.n == 0 {
		return 0
	}
	return s.spans[s.n-1].to
}

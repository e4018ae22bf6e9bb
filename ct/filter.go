package ct

import (
	"net/netip"
	"strings"
)

// Filter chooses flows for listings. What is left out matches all; addresses and
// ports are those of the original direction but where their names say otherwise. Source: CT-10.
type Filter struct {
	Proto            *uint8
	Zone             *uint16
	Src, Dst         netip.Prefix // invalid: any
	SrcPort, DstPort *uint16      // of a flow with ports, or an ICMP query's identifier
	Mark, MarkMask   uint32       // a flow matches if its mark is Mark in the bits of MarkMask
	State            string       // of the tracker, or UNREPLIED or ASSURED; any case
	Family           int          // 4 or 6; 0: both

	// Of the reply direction, which is the original one reversed unless addresses are translated.
	ReplySrc, ReplyDst         netip.Prefix
	ReplySrcPort, ReplyDstPort *uint16

	Packets, Bytes [2]*Span // by direction
	Age            *Span    // since the flow began, in nanoseconds
}

// Span is the numbers from Least to Most; no Span is all numbers.
type Span struct{ Least, Most uint64 }

func (s *Span) has(n uint64) bool { return s == nil || s.Least <= n && n <= s.Most }

// Empty reports whether the filter matches every flow.
func (f *Filter) Empty() bool { return *f == Filter{} }

// Match reports whether a flow is chosen. It does not allocate.
func (f *Filter) Match(i *Info) bool {
	switch {
	case f.Proto != nil && *f.Proto != i.Proto,
		f.Zone != nil && *f.Zone != i.Zone,
		f.Src.IsValid() && !f.Src.Contains(i.Original.Src),
		f.Dst.IsValid() && !f.Dst.Contains(i.Original.Dst),
		f.SrcPort != nil && *f.SrcPort != i.Original.SrcPort,
		f.DstPort != nil && *f.DstPort != i.Original.DstPort,
		f.ReplySrc.IsValid() && !f.ReplySrc.Contains(i.Reply.Src),
		f.ReplyDst.IsValid() && !f.ReplyDst.Contains(i.Reply.Dst),
		f.ReplySrcPort != nil && *f.ReplySrcPort != i.Reply.SrcPort,
		f.ReplyDstPort != nil && *f.ReplyDstPort != i.Reply.DstPort,
		i.Mark&f.MarkMask != f.Mark,
		!f.Packets[Original].has(i.Packets[Original]), !f.Packets[Reply].has(i.Packets[Reply]),
		!f.Bytes[Original].has(i.Bytes[Original]), !f.Bytes[Reply].has(i.Bytes[Reply]),
		!f.Age.has(uint64(i.Age)),
		f.Family == 4 && !i.Original.Src.Is4(),
		f.Family == 6 && !i.Original.Src.Is6():
		return false
	}
	switch {
	case f.State == "", strings.EqualFold(f.State, i.State.String()):
		return true
	case strings.EqualFold(f.State, "UNREPLIED"):
		return !i.Replied
	case strings.EqualFold(f.State, "ASSURED"):
		return i.Assured
	}
	return false
}

// KnownState reports whether a word can be a Filter's State.
func KnownState(word string) bool {
	for s := range NumStates {
		if states[s].name != "" && strings.EqualFold(word, states[s].name) {
			return true
		}
	}
	return strings.EqualFold(word, "ASSURED") // UNREPLIED is a state too
}

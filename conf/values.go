package conf

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// MAC is an Ethernet address in transmission order. The zero MAC means that none
// is given; it cannot be written in a file.
type MAC [6]byte

// IsZero tells whether no address is given.
func (m MAC) IsZero() bool { return m == MAC{} }

// IsMulticast tells whether the group bit is set, as in ff:ff:ff:ff:ff:ff.
// Source: IEEE 802-2014 section 8.2.2, I/G bit.
func (m MAC) IsMulticast() bool { return m[0]&1 != 0 }

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// MarshalText gives the colon form.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText takes the colon, hyphen and dot forms of a 48-bit address.
func (m *MAC) UnmarshalText(text []byte) error {
	hw, err := net.ParseMAC(string(text))
	if err != nil || len(hw) != len(m) {
		return fmt.Errorf("%q is not a MAC address like 02:00:00:00:01:01", text)
	}
	if MAC(hw).IsZero() {
		return errors.New("00:00:00:00:00:00 is no station's address")
	}
	*m = MAC(hw)
	return nil
}

// Duration is a time.Duration that is written like "30s" or "120h".
type Duration time.Duration

// String is the shortest form: "120h", not "120h0m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText gives the form of String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText takes what time.ParseDuration takes.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf(`%q is not a duration like "30s", "2m" or "120h"`, text)
	}
	*d = Duration(v)
	return nil
}

// Protocol is an L4 protocol number, or any when it is the zero value.
type Protocol struct {
	number uint8
	given  bool
}

// The protocols that have a name in a rule.
// Source: IANA protocol numbers.
var (
	ProtocolICMP   = NewProtocol(1)
	ProtocolTCP    = NewProtocol(6)
	ProtocolUDP    = NewProtocol(17)
	ProtocolGRE    = NewProtocol(47)
	ProtocolICMPv6 = NewProtocol(58)
	ProtocolSCTP   = NewProtocol(132)
)

var protocolNames = []struct {
	name     string
	protocol Protocol
}{
	{"tcp", ProtocolTCP}, {"udp", ProtocolUDP}, {"icmp", ProtocolICMP},
	{"icmpv6", ProtocolICMPv6}, {"sctp", ProtocolSCTP}, {"gre", ProtocolGRE},
}

// NewProtocol returns the protocol with this number.
func NewProtocol(number uint8) Protocol { return Protocol{number, true} }

// Number returns the protocol number; ok is false for any protocol.
func (p Protocol) Number() (number uint8, ok bool) { return p.number, p.given }

// IsZero tells whether any protocol is meant.
func (p Protocol) IsZero() bool { return !p.given }

// HasPorts tells whether the protocol's header has the ports a rule can match.
func (p Protocol) HasPorts() bool {
	return p == ProtocolTCP || p == ProtocolUDP || p == ProtocolSCTP
}

func (p Protocol) String() string {
	if !p.given {
		return "any"
	}
	for _, n := range protocolNames {
		if n.protocol == p {
			return n.name
		}
	}
	return strconv.Itoa(int(p.number))
}

// MarshalText gives the name, or the number of a protocol without one.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText takes a name or a number; a file may give the number unquoted.
func (p *Protocol) UnmarshalText(text []byte) error {
	names := make([]string, len(protocolNames))
	for i, n := range protocolNames {
		if n.name == string(text) {
			*p = n.protocol
			return nil
		}
		names[i] = n.name
	}
	if number, err := strconv.ParseUint(string(text), 10, 8); err == nil {
		*p = NewProtocol(uint8(number))
		return nil
	}
	if near := nearest(string(text), names); near != "" {
		return fmt.Errorf("%q is unknown; did you mean %q?", text, near)
	}
	return fmt.Errorf("%q is unknown; want %s or 0..255", text, strings.Join(names, ", "))
}

func (*Protocol) takesInteger() {}

// Mark is those bits of a 32-bit mark that Mask names, with the values in Value. It is
// written like "0x10/0xf0", or without a mask for all bits. The zero Mark names none: it
// matches every mark and sets nothing, and cannot be written.
type Mark struct{ Value, Mask uint32 }

// IsZero tells whether no mark is given.
func (m Mark) IsZero() bool { return m == Mark{} }

func (m Mark) String() string {
	if m.Mask == math.MaxUint32 {
		return fmt.Sprintf("%#x", m.Value)
	}
	return fmt.Sprintf("%#x/%#x", m.Value, m.Mask)
}

// MarshalText gives the form of String.
func (m Mark) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText takes value and value/mask, in any of Go's notations for integers.
func (m *Mark) UnmarshalText(text []byte) error {
	first, second, masked := strings.Cut(string(text), "/")
	if !masked {
		second = "0xffffffff"
	}
	value, errV := strconv.ParseUint(first, 0, 32)
	mask, errM := strconv.ParseUint(second, 0, 32)
	switch {
	case errV != nil || errM != nil:
		return fmt.Errorf(`%q is not a 32-bit mark like "0x10" or "0x10/0xf0"`, text)
	case mask == 0:
		return fmt.Errorf("%q: a mask of 0 names no bit", text)
	case value&^mask != 0:
		return fmt.Errorf("%q: the value has bits outside the mask; want %#x/%#x", text, value&mask, mask)
	}
	*m = Mark{uint32(value), uint32(mask)}
	return nil
}

func (*Mark) takesInteger() {}

// PortRange is a range of L4 ports with both ends in it.
type PortRange struct{ First, Last uint16 }

func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// MarshalText gives "80" or "8000-8100".
func (r PortRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText takes "80" and "8000-8100"; a file may give one port unquoted.
func (r *PortRange) UnmarshalText(text []byte) error {
	first, last, isRange := strings.Cut(string(text), "-")
	if !isRange {
		last = first
	}
	a, errA := strconv.ParseUint(first, 10, 16)
	b, errB := strconv.ParseUint(last, 10, 16)
	switch {
	case errA != nil || errB != nil:
		return fmt.Errorf("%q is not a port 0..65535 or a range like \"8000-8100\"", text)
	case a > b:
		return fmt.Errorf("%q is reversed; want \"%d-%d\"", text, b, a)
	}
	*r = PortRange{uint16(a), uint16(b)}
	return nil
}

func (*PortRange) takesInteger() {}

// AddrRange is a range of addresses with both ends in it. The zero AddrRange is none.
type AddrRange struct{ First, Last netip.Addr }

// IsZero tells whether no address is meant.
func (r AddrRange) IsZero() bool { return r == AddrRange{} }

func (r AddrRange) String() string {
	switch {
	case r.IsZero():
		return "none"
	case r.First == r.Last:
		return r.First.String()
	}
	return r.First.String() + "-" + r.Last.String()
}

// MarshalText gives "192.0.2.1" or "192.0.2.1-192.0.2.9".
func (r AddrRange) MarshalText() ([]byte, error) {
	if r.IsZero() {
		return nil, nil
	}
	return []byte(r.String()), nil
}

// UnmarshalText takes "192.0.2.1", "192.0.2.1-192.0.2.9" and "192.0.2.0/28".
func (r *AddrRange) UnmarshalText(text []byte) error {
	if p, err := netip.ParsePrefix(string(text)); err == nil {
		if p != p.Masked() {
			return fmt.Errorf("%q has host bits set; want %s", text, p.Masked())
		}
		*r = AddrRange{p.Addr(), lastOf(p)}
		return r.check()
	}
	first, last, isRange := strings.Cut(string(text), "-")
	if !isRange {
		last = first
	}
	a, errA := addrText(first)
	b, errB := addrText(last)
	if errA != nil || errB != nil {
		return fmt.Errorf("%q is not an address, a range like \"192.0.2.1-192.0.2.9\" or a prefix", text)
	}
	*r = AddrRange{a, b}
	return r.check()
}

// check tells what is wrong with a range that is not zero.
func (r AddrRange) check() error {
	first, last := r.First.As16(), r.Last.As16()
	switch {
	case !r.First.IsValid() || r.First.BitLen() != r.Last.BitLen() || r.First.Zone()+r.Last.Zone() != "":
		return fmt.Errorf("%s is of two families", r)
	case r.Last.Less(r.First):
		return fmt.Errorf("%s is reversed; want \"%s-%s\"", r, r.Last, r.First)
	case r.First.Is4In6() || r.Last.Is4In6():
		return fmt.Errorf("%s is IPv4-mapped; write the IPv4 addresses", r)
	case r.First.Is6() && [8]byte(first[:]) != [8]byte(last[:]):
		return fmt.Errorf("%s has more than 2^64 addresses; want some of one /64", r)
	}
	for _, a := range [...]netip.Addr{r.First, r.Last} {
		if a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
			return fmt.Errorf("%s is no address that packets can be routed to", a)
		}
	}
	return nil
}

// lastOf returns the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	a := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(a)*8; bit++ {
		a[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(a)
	return last
}

// QueueRange is one verdict queue, or a range of them that flows are spread over. The
// zero QueueRange is none.
type QueueRange struct {
	first, last uint16
	given       bool
}

// Bounds returns the first and the last queue; ok is false for none.
func (r QueueRange) Bounds() (first, last uint16, ok bool) { return r.first, r.last, r.given }

// IsZero tells whether no queue is meant.
func (r QueueRange) IsZero() bool { return !r.given }

func (r QueueRange) String() string {
	if !r.given {
		return "none"
	}
	return PortRange{r.first, r.last}.String()
}

// MarshalText gives "3" or "0-3".
func (r QueueRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText takes "3" and "0-3"; a file may give one queue unquoted.
func (r *QueueRange) UnmarshalText(text []byte) error {
	var p PortRange
	if err := p.UnmarshalText(text); err != nil {
		return fmt.Errorf("%q is not a queue 0..65535 or a range like \"0-3\"", text)
	}
	*r = QueueRange{p.First, p.Last, true}
	return nil
}

func (*QueueRange) takesInteger() {}

// prefixText and addrText give netip's errors our wording: what is wrong and an
// example, without the function's name.
func prefixText(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("%q is not a prefix like 10.1.1.0/24", text)
	}
	return p, nil
}

// interfaceText is prefixText for an address of an interface.
func interfaceText(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("%q is not an address with a prefix length like 10.1.1.1/24", text)
	}
	return p, nil
}

func addrText(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return a, fmt.Errorf("%q is not an IP address", text)
	}
	return a, nil
}

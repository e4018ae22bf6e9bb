package pipeline

import (
	"net/netip"

	"ffwd/ct"
	"ffwd/fib"
	"ffwd/packet"
	"ffwd/policy"
)

// OptionsPolicy says what happens to IPv4 packets with options. Source: FF-3.
type OptionsPolicy uint8

// The zero policy is to punt.
const (
	OptionsPunt OptionsPolicy = iota
	OptionsDrop
	OptionsForward
)

// Interface is a port or one of its VLAN sub-ports: where packets come in and go
// out as far as routing and policy are concerned.
type Interface struct {
	Name        string
	Port        uint16 // index of the physical port
	VLAN        uint16 // 0 is the port itself
	MAC         uint64 // packet.MAC48 of its address
	MTU         uint16 // bytes, L3
	VRF         uint16 // index into Snapshot.Tables
	Promiscuous bool   // frames for any address are ours
	Stealth     bool   // FF-7: TTL neither checked nor decremented
	Options     OptionsPolicy
	ReversePath ReversePathMode
	Redirects   bool     // FF-11: tell senders of a shorter way
	Addr4       [4]byte  // first one; zero: none
	Addr6       [16]byte // first one that is not link-local; zero: none
	answer4     [4]byte  // Addr4, or that of another interface of the VRF
	answer6     [16]byte
	LinkLocal6  [16]byte       // source of ICMPv6 redirects; zero: none
	Addresses   []netip.Prefix // with the lengths of their subnets
}

// PortMap tells which interface a frame of a port belongs to.
type PortMap struct {
	Untagged uint16
	VLANs    *[4096]uint16 // by VLAN ID, 0 is unknown; nil: no sub-ports
}

// Snapshot is all that workers read and control writes. It is immutable once
// published: a reload builds a new one. Interface index 0 is no interface.
type Snapshot struct {
	Interfaces []Interface
	Zones      []uint16     // conntrack zone by interface
	Ports      []PortMap    // by physical port
	Tables     []*fib.Table // by VRF; changed in place, safe to read
	Rules      *policy.Ruleset
	Timeouts   *ct.Timeouts
	Tracking   ct.Settings

	FragmentTimeouts ct.FragmentTimeouts

	reversePath, redirects, stealth bool // some interface asks for it; see Prepare

	ErrorRate int // ICMP errors per second, worker and type; 0 is none
	PuntRates PuntRates
}

// Prepare notes what follows from the interfaces, so that workers need not look for it
// burst by burst. To be called before a snapshot with other interfaces is published.
func (s *Snapshot) Prepare() {
	s.reversePath, s.redirects, s.stealth = false, false, false
	for i := range s.Interfaces {
		in := &s.Interfaces[i]
		s.reversePath = s.reversePath || in.ReversePath != ReversePathOff
		s.redirects = s.redirects || in.Redirects
		s.stealth = s.stealth || in.Stealth
		in.answer4, in.answer6 = in.Addr4, in.Addr6
		s.lend(in)
	}
}

// lend gives an interface without an address of a family that of another one of its VRF
// to answer from: a router has to say where a packet ended. Source: FF-10; RFC 1812
// 4.3.2.4, RFC 4443 2.2 (c).
func (s *Snapshot) lend(to *Interface) {
	for i := range s.Interfaces {
		from := &s.Interfaces[i]
		if from.VRF != to.VRF {
			continue
		}
		if to.answer4 == [4]byte{} {
			to.answer4 = from.Addr4
		}
		if to.answer6 == [16]byte{} {
			to.answer6 = from.Addr6
		}
	}
}

// tagged returns the interface of a frame with a VLAN tag, or 0.
func (m *PortMap) tagged(vlan uint16) uint16 {
	if vlan == 0 { // a priority tag belongs to the untagged network (IEEE 802.1Q 6.9)
		return m.Untagged
	}
	if m.VLANs == nil {
		return 0
	}
	return m.VLANs[vlan&packet.VLANIDMask]
}

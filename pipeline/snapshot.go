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
	Redirects   bool           // FF-11: tell senders of a shorter way
	Addr4       [4]byte        // source of ICMP errors; zero: none
	Addr6       [16]byte       // source of ICMPv6 errors; zero: none
	LinkLocal6  [16]byte       // source of ICMPv6 redirects; zero: none
	Subnets     []netip.Prefix // of its addresses
}

// PortMap tells which interface a frame of a port belongs to.
type PortMap struct {
	Untagged uint16
	VLANs    *[4096]uint16 // by VLAN ID, 0 is unknown; nil: no sub-ports
}

// Snapshot is all that workers read and control writes. It is immutable once
// published: a reload builds a new one. Interface index 0 is no interface.
type Snapshot struct {
	Interfaces             []Interface
	Zones                  []uint16     // conntrack zone by interface
	Ports                  []PortMap    // by physical port
	Tables                 []*fib.Table // by VRF; changed in place, safe to read
	Rules                  *policy.Ruleset
	Timeouts               *ct.Timeouts
	Tracking               ct.Settings
	reversePath, redirects bool // some interface asks for it; see Prepare

	ErrorRate int // ICMP errors per second, worker and type; 0 is none
	PuntRates PuntRates
}

// Prepare notes what follows from the interfaces, so that workers need not look for it
// burst by burst. To be called before the snapshot is published.
func (s *Snapshot) Prepare() {
	for i := range s.Interfaces {
		s.reversePath = s.reversePath || s.Interfaces[i].ReversePath != ReversePathOff
		s.redirects = s.redirects || s.Interfaces[i].Redirects
	}
}

// ingress returns the interface of a frame with a VLAN tag, or 0.
func (m *PortMap) tagged(vlan uint16) uint16 {
	if vlan == 0 { // a priority tag belongs to the untagged network (IEEE 802.1Q 6.9)
		return m.Untagged
	}
	if m.VLANs == nil {
		return 0
	}
	return m.VLANs[vlan&packet.VLANIDMask]
}

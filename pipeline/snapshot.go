package pipeline

import (
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
	Addr4       [4]byte  // source of ICMP errors; zero: none
	Addr6       [16]byte // source of ICMPv6 errors; zero: none
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
	ErrorRate  int // ICMP errors per second, worker and type; 0 is none
	PuntRates  PuntRates
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

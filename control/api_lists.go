package control

import (
	"net/http"
	"net/netip"
)

// PortList answers GET /v1/ports.
type PortList struct {
	Ports []PortStatus `json:"ports"`
}

// PortStatus is a physical port with what is on it.
type PortStatus struct {
	PortReport
	Device     string            `json:"device"`
	Driver     string            `json:"driver"`
	SpeedMbit  uint32            `json:"speed_mbit"` // 0: unknown
	RxQueues   int               `json:"rx_queues"`
	Steering   string            `json:"steering"` // rss, software, or none: with one worker, or as the operator said
	Interfaces []InterfaceStatus `json:"interfaces"`
}

// InterfaceStatus is a port or a VLAN sub-port.
type InterfaceStatus struct {
	Name      string         `json:"name"`
	Index     int            `json:"index"`
	VLAN      int            `json:"vlan,omitempty"`
	VRF       int            `json:"vrf"`
	MAC       string         `json:"mac"`
	MTU       int            `json:"mtu"`
	Addresses []netip.Prefix `json:"addresses"`
	TAP       string         `json:"tap,omitempty"`       // its twin in the host kernel
	TAPIndex  int            `json:"tap_index,omitempty"` // the kernel's; 0 while it is gone
}

func (s *Switch) getPorts(*http.Request) (any, error) {
	report, config := s.Report(), s.Config()
	list := PortList{Ports: make([]PortStatus, len(s.ports))}
	for i, p := range s.ports {
		status := PortStatus{
			PortReport: report.Ports[i], Driver: p.Driver(), SpeedMbit: s.link(i).SpeedMbit,
			RxQueues: len(p.RxQueues()), Steering: "none",
		}
		switch {
		case s.steered[i]:
			status.Steering = "software"
		case len(s.workers) > 1 && p.SymmetricRSS():
			status.Steering = "rss"
		}
		for _, index := range s.byPort[i] {
			in, port := &s.interfaces[index], &config.Ports[index-1]
			if !port.IsVLAN() {
				status.Device = port.Device
			}
			of := InterfaceStatus{
				Name: in.Name, Index: int(index), VLAN: int(in.VLAN), VRF: s.vrfs[in.VRF],
				MAC: macOf(in.MAC).String(), MTU: int(in.MTU), Addresses: port.Addresses,
			}
			if s.slow != nil {
				twin := s.slow.Twin(index)
				of.TAP, of.TAPIndex = twin.Name(), twin.Index()
			}
			status.Interfaces = append(status.Interfaces, of)
		}
		list.Ports[i] = status
	}
	return list, nil
}

// WorkerList answers GET /v1/workers.
type WorkerList struct {
	ClockHz float64        `json:"clock_hz"`
	Workers []WorkerReport `json:"workers"`
}

func (s *Switch) getWorkers(*http.Request) (any, error) {
	r := s.Report()
	return WorkerList{ClockHz: r.ClockHz, Workers: r.Workers}, nil
}

// DropList answers GET /v1/drops: where packets went.
type DropList struct {
	Received    uint64            `json:"received"`
	Created     uint64            `json:"created"`
	Transmitted uint64            `json:"transmitted"`
	Held        int64             `json:"held"`
	Drops       map[string]uint64 `json:"drops"`
	Punts       map[string]uint64 `json:"punts"`
	Reassembly  FragmentsReport   `json:"reassembly"`
}

func (s *Switch) getDrops(*http.Request) (any, error) {
	r := s.Report()
	return DropList{r.Received, r.Created, r.Transmitted, r.Held, r.Drops, r.Punts, r.Reassembly}, nil
}

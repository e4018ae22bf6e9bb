package control

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"ffwd/conf"
	"ffwd/ct"
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
}

func (s *Switch) getDrops(*http.Request) (any, error) {
	r := s.Report()
	return DropList{r.Received, r.Created, r.Transmitted, r.Held, r.Drops, r.Punts}, nil
}

// FlowList answers GET /v1/flows. Next goes into ?after= for the flows behind
// these; "" is the end.
type FlowList struct {
	Flows []FlowStatus `json:"flows"`
	Next  string       `json:"next"`
}

// FlowStatus is one flow. Pairs are original direction first, reply second.
type FlowStatus struct {
	Worker   int       `json:"worker"`
	Protocol string    `json:"protocol"`
	Zone     uint16    `json:"zone"`
	State    string    `json:"state"`
	Original Tuple     `json:"original"`
	Reply    Tuple     `json:"reply"`
	Packets  [2]uint64 `json:"packets"`
	Bytes    [2]uint64 `json:"bytes"` // of L3
	Mark     uint32    `json:"mark"`
	Timeout  string    `json:"timeout,omitempty"` // its timeout policy
	Replied  bool      `json:"replied"`
	AgeS     float64   `json:"age_s"`
	ExpiresS float64   `json:"expires_s"`
}

// Tuple is one direction of a flow. An ICMP echo has its identifier in both ports.
type Tuple struct {
	Src     netip.Addr `json:"src"`
	Dst     netip.Addr `json:"dst"`
	SrcPort uint16     `json:"src_port"`
	DstPort uint16     `json:"dst_port"`
}

// flowStep is how many table entries a worker looks at between two polls.
const flowStep = 256

// getFlows walks the workers' tables in steps, from where the client left off.
func (s *Switch) getFlows(r *http.Request) (any, error) {
	limit, err := limitOf(r)
	if err != nil {
		return nil, err
	}
	at, from, err := parseCursor(r.URL.Query().Get("after"))
	if err != nil {
		return nil, err
	}
	list := FlowList{Flows: []FlowStatus{}}
	step := make([]ct.Info, 0, flowStep) // filled on the worker's thread, which must not allocate
	for ; at < len(s.workers); at, from = at+1, 0 {
		w := s.workers[at]
		if w.Table() == nil {
			continue
		}
		for more := true; more; {
			if len(list.Flows) == limit {
				list.Next = fmt.Sprintf("%d:%d", at, from)
				return list, nil
			}
			if err := r.Context().Err(); err != nil {
				return nil, err
			}
			room := limit - len(list.Flows)
			step = step[:0]
			w.Do(func() {
				now := s.clock.Now()
				from = w.Table().Walk(from, flowStep, func(i uint32) bool {
					step = append(step, w.Table().Info(i, now))
					return len(step) < room
				})
			})
			for i := range step {
				list.Flows = append(list.Flows, s.flowStatus(at, &step[i]))
			}
			more = from != 0
		}
	}
	return list, nil
}

// parseCursor reads where a listing goes on: a worker's number and an entry of
// its table.
func parseCursor(text string) (worker int, from uint32, err error) {
	if text == "" {
		return 0, 0, nil
	}
	w, entry, ok := strings.Cut(text, ":")
	a, errA := strconv.ParseUint(w, 10, 16)
	b, errB := strconv.ParseUint(entry, 10, 32)
	if !ok || errA != nil || errB != nil {
		return 0, 0, badRequest("after: %q is not what an earlier answer gave as next", text)
	}
	return int(a), uint32(b), nil
}

func (s *Switch) flowStatus(worker int, f *ct.Info) FlowStatus {
	return FlowStatus{
		Worker: worker, Protocol: conf.NewProtocol(f.Proto).String(), Zone: f.Zone, State: f.State.String(),
		Original: Tuple(f.Original), Reply: Tuple(f.Reply), Packets: f.Packets, Bytes: f.Bytes,
		Mark: f.Mark, Timeout: s.policies.NameOf(f.Policy), Replied: f.Replied, AgeS: f.Age.Seconds(), ExpiresS: f.Expires.Seconds(),
	}
}

package e2e

import "testing"

// report is what scripts read from --json and the control socket, as far as they
// are promised it.
type report struct {
	DurationS   float64           `json:"duration_s"`
	Received    uint64            `json:"received"`
	Created     uint64            `json:"created"`
	Transmitted uint64            `json:"transmitted"`
	Held        int64             `json:"held"`
	Drops       map[string]uint64 `json:"drops"`
	Punts       map[string]uint64 `json:"punts"`

	PuntsLimited map[string]uint64 `json:"punts_limited"`
	Twins        []twinStatus      `json:"twins"`
	Workers      []struct {
		Core       int    `json:"core"`
		Packets    uint64 `json:"packets"`
		HandedOver uint64 `json:"handed_over"`
		TakenOver  uint64 `json:"taken_over"`
	} `json:"workers"`
	Ports []struct {
		Name      string `json:"name"`
		RxPackets uint64 `json:"rx_packets"`
		RxBytes   uint64 `json:"rx_bytes"`
		TxPackets uint64 `json:"tx_packets"`
		TxBytes   uint64 `json:"tx_bytes"`
		TxDropped uint64 `json:"tx_dropped"`
		LinkUp    bool   `json:"link_up"`
	} `json:"ports"`
	Flows struct {
		IPv4 uint64 `json:"ipv4"`
		IPv6 uint64 `json:"ipv6"`

		Translations uint64 `json:"translations"`

		Full         uint64 `json:"full"`
		EarlyDropped uint64 `json:"early_dropped"`
	} `json:"flows"`
	Fragments  uint64 `json:"fragments"`
	Reassembly struct {
		Datagrams uint64 `json:"datagrams"`
		Held      uint64 `json:"held"`
		Completed uint64 `json:"completed"`
		Evicted   uint64 `json:"evicted"`
		TimedOut  uint64 `json:"timed_out"`
	} `json:"reassembly"`
}

// checkConservation is FF-12, and that ports and workers agree with it.
func (r *report) checkConservation(t *testing.T) {
	t.Helper()
	in, out := r.Received+r.Created, r.Transmitted+uint64(r.Held)
	for _, counts := range []map[string]uint64{r.Drops, r.Punts} {
		for _, n := range counts {
			out += n
		}
	}
	if in != out {
		t.Errorf("received %d + created %d is not transmitted %d + dropped %v + punted %v + held %d",
			r.Received, r.Created, r.Transmitted, r.Drops, r.Punts, r.Held)
	}
	var rx, tx, workers uint64
	for _, p := range r.Ports {
		rx, tx = rx+p.RxPackets, tx+p.TxPackets
	}
	for _, w := range r.Workers {
		workers += w.Packets
	}
	workers += r.Drops["rx_oversized"] // dropped before a worker sees them
	if rx != r.Received || workers != r.Received || tx != r.Transmitted {
		t.Errorf("ports received %d and sent %d, workers received %d, the switch %d and %d", rx, tx, workers, r.Received, r.Transmitted)
	}
	if r.Held != 0 {
		t.Errorf("%d packets are held after the end", r.Held)
	}
}

// reason returns how many packets were dropped or punted for a reason: without a
// slow path a punt is a drop.
func (r *report) reason(name string) uint64 { return r.Drops[name] + r.Punts[name] }

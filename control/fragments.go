package control

import (
	"time"

	"ffwd/conf"
	"ffwd/ct"
	"ffwd/pmd"
)

// fragmentLimits translates the bounds of each worker. Source: CT-5.
func fragmentLimits(c *conf.Config) ct.FragmentLimits {
	f := &c.CT.Fragments
	return ct.FragmentLimits{
		Datagrams: f.MaxDatagrams, SourceDatagrams: f.MaxSourceDatagrams,
		Packets: f.MaxPackets, SourcePackets: f.MaxSourcePackets,
		Bytes: f.MaxBytes, SourceBytes: f.MaxSourceBytes,
	}
}

func fragmentTimeouts(c *conf.Config) ct.FragmentTimeouts {
	f := &c.CT.Fragments
	return ct.FragmentTimeouts{
		IPv4: time.Duration(f.TimeoutIPv4).Nanoseconds(), IPv6: time.Duration(f.TimeoutIPv6).Nanoseconds(),
	}
}

// FragmentsReport is what the workers keep of datagrams that are not whole.
type FragmentsReport struct {
	Datagrams uint64 `json:"datagrams"` // now
	Held      uint64 `json:"held"`      // packets that wait for a first fragment, now
	HeldBytes uint64 `json:"held_bytes"`
	Completed uint64 `json:"completed"` // datagrams
	Evicted   uint64 `json:"evicted"`   // gave way to others
	TimedOut  uint64 `json:"timed_out"`
}

func (r *FragmentsReport) add(from, to *ct.FragmentStats) {
	r.Datagrams += to.Datagrams
	r.Held += to.Held
	r.HeldBytes += to.HeldBytes
	r.Completed += to.Completed - from.Completed
	r.Evicted += to.Evicted - from.Evicted
	r.TimedOut += to.TimedOut - from.TimedOut
}

var (
	metricDatagrams     = desc("fragmented_datagrams", "Datagrams whose fragments have not all been seen.")
	metricFragmentsHeld = desc("fragments_held", "Fragments that wait for the first of their datagram.")
	metricFragmentBytes = desc("fragments_held_bytes", "Bytes of fragments that wait.")
	metricDatagramsDone = desc("fragmented_datagrams_total", "Datagrams that came in fragments, by what became of them.", "outcome")
)

func (out sender) fragments(f *FragmentsReport) {
	out.gauge(metricDatagrams, float64(f.Datagrams))
	out.gauge(metricFragmentsHeld, float64(f.Held))
	out.gauge(metricFragmentBytes, float64(f.HeldBytes))
	out.counter(metricDatagramsDone, f.Completed, "completed")
	out.counter(metricDatagramsDone, f.Evicted, "evicted")
	out.counter(metricDatagramsDone, f.TimedOut, "timed_out")
}

// spreading is which worker the devices lead a flow to, nil when all is handed over
// in software. Source: CT-1.
func spreading(t topology, steered []bool) func(fold uint16) int {
	for i, p := range t.ports {
		if reta, queues := p.RETASize(), len(p.RxQueues()); !steered[i] && reta > 0 && p.SymmetricRSS() {
			return func(fold uint16) int { return int(pmd.SymmetricHash(fold)%uint32(reta)) % queues }
		}
	}
	return nil
}

package control

import (
	"ffwd/ct"
	"ffwd/packet"
	"ffwd/pipeline"
)

// Report is what the switch did in a stretch of time. Its JSON is a contract:
// `ffwd run --json` prints one, GET /v1/report answers one. Packets, bytes, and
// cycles are counts within the stretch; flows, pools, links and the epoch's lag
// are as of its end.
//
// received + created = transmitted + dropped + punted + held. Source: FF-12.
type Report struct {
	DurationS   float64 `json:"duration_s"`
	ClockHz     float64 `json:"clock_hz"` // of the cycles below
	Received    uint64  `json:"received"`
	Created     uint64  `json:"created"` // ICMP errors, TCP resets, fragments beyond the first of each packet, mirrored, from_kernel
	Transmitted uint64  `json:"transmitted"`
	// Held is packets that wait, for a neighbour's address, the first fragment of their
	// datagram or a verdict, and those under way between two workers. Workers are read
	// one after the other: what passed between them meanwhile can make it negative.
	Held int64 `json:"held"`

	FastForwarded uint64 `json:"fast_forwarded"` // packets that left as one frame or in fragments
	Fragmented    uint64 `json:"fragmented"`     // packets
	Fragments     uint64 `json:"fragments"`      // made of them
	Errors        uint64 `json:"icmp_errors"`
	Resets        uint64 `json:"tcp_resets"`
	ErrorsLimited uint64 `json:"icmp_errors_limited"` // of both
	Mirrored      uint64 `json:"mirrored"`            // copies made for rules that tee to a port
	MirrorsLost   uint64 `json:"mirrors_lost"`        // not made

	Drops map[string]uint64 `json:"drops"` // by reason; those that are 0 are left out
	Punts map[string]uint64 `json:"punts"` // what the slow path got

	// What the slow path did not get, by punt reason: above its rate, dropped as
	// punt_limited, or its ring full, dropped as punt_full.
	PuntsLimited map[string]uint64 `json:"punts_limited"`
	PuntsFull    map[string]uint64 `json:"punts_full"`
	FromKernel   uint64            `json:"from_kernel"` // packets that the slow path sent

	Workers    []WorkerReport  `json:"workers"`
	Ports      []PortReport    `json:"ports"`
	Twins      []TwinReport    `json:"twins"` // empty without a slow path
	Flows      FlowsReport     `json:"flows"`
	Reassembly FragmentsReport `json:"reassembly"`
	Queues     []QueueReport   `json:"queues,omitempty"` // of verdicts
	Pools      []PoolReport    `json:"pools"`

	TimeoutPolicies []TimeoutStatus `json:"timeout_policies"`

	GC GCReport `json:"gc"`

	AllocsPerPacket float64 `json:"allocs_per_packet"` // Go heap objects, by anyone
	EpochLagSeconds float64 `json:"epoch_lag_seconds"` // age of the oldest memory that waits for a worker

	drops, punts, puntsLimited, puntsFull [packet.NumReasons]uint64

	gaps        [pipeline.GapBuckets]uint64
	pollSeconds float64 // in all polls of all workers
}

// WorkerReport is one worker's part.
type WorkerReport struct {
	Core        int           `json:"core"`
	Packets     uint64        `json:"packets"` // received from ports
	HandedOver  uint64        `json:"handed_over"`
	TakenOver   uint64        `json:"taken_over"`
	Polls       uint64        `json:"polls"`
	BusyPolls   uint64        `json:"busy_polls"` // that found packets
	BusyRatio   float64       `json:"busy_ratio"` // of its time
	BusySeconds float64       `json:"busy_seconds"`
	NsPerPacket float64       `json:"ns_per_packet"` // time in busy polls by packets received or taken over
	LongestGap  float64       `json:"longest_gap_s"` // upper bound of the longest time between two polls
	Stuck       bool          `json:"stuck"`         // it does not come back from a poll; its figures are those from before
	Joined      Joined        `json:"joined"`
	Gaps        []GapReport   `json:"poll_gaps"` // the histogram that LongestGap is the end of
	Stages      []StageReport `json:"stages"`
}

// GapReport counts the polls that began so soon after the one before, and not sooner
// than the bucket before says.
type GapReport struct {
	BelowS float64 `json:"below_s"` // 0: no bound
	Polls  uint64  `json:"polls"`
}

// StageReport is the sampled cost of one stage, per packet of all that were sampled: also of
// those that did not meet it. So the costs add up.
type StageReport struct {
	Name            string  `json:"name"`
	CyclesPerPacket float64 `json:"cycles_per_packet"`
}

// PortReport is one physical port's part.
type PortReport struct {
	Name      string `json:"name"`
	RxPackets uint64 `json:"rx_packets"`
	RxBytes   uint64 `json:"rx_bytes"`
	TxPackets uint64 `json:"tx_packets"`
	TxBytes   uint64 `json:"tx_bytes"`
	TxDropped uint64 `json:"tx_dropped"` // the device did not take them
	RxMissed  uint64 `json:"rx_missed"`  // the device had no descriptor
	RxNoMbuf  uint64 `json:"rx_no_mbuf"` // the pool was empty
	RxErrors  uint64 `json:"rx_errors"`
	TxErrors  uint64 `json:"tx_errors"`
	LinkUp    bool   `json:"link_up"`
}

// TwinReport is what passed the twin of a port in the host kernel.
type TwinReport struct {
	Port            string `json:"port"`
	TAP             string `json:"tap"`
	Index           int    `json:"index"` // the kernel's; 0 while it is gone
	ToKernel        uint64 `json:"to_kernel_packets"`
	ToKernelBytes   uint64 `json:"to_kernel_bytes"`
	Refused         uint64 `json:"refused"` // punted, but the TAP was down or gone
	FromKernel      uint64 `json:"from_kernel_packets"`
	FromKernelBytes uint64 `json:"from_kernel_bytes"`
	Overflow        uint64 `json:"overflow"`  // from the kernel, and the worker's ring was full
	Oversized       uint64 `json:"oversized"` // from the kernel, and larger than the port's MTU
	Remade          uint64 `json:"remade"`    // times that the TAP was gone and made again
}

// FlowsReport is connection tracking's part, over all workers.
type FlowsReport struct {
	IPv4              uint64  `json:"ipv4"` // flows now
	IPv6              uint64  `json:"ipv6"`
	Translations      uint64  `json:"translations"` // flows whose addresses are translated, now
	Created           uint64  `json:"created"`
	Expired           uint64  `json:"expired"`
	Joined            Joined  `json:"joined"`
	Full              uint64  `json:"full"`            // new flows refused: the table was full, but for the reserve
	Reserved          uint64  `json:"reserved"`        // flows of priority that took of the reserve
	SourceLimited     uint64  `json:"source_limited"`  // new flows refused: ct.max_flows_per_source
	RuleLimited       uint64  `json:"rule_limited"`    // new flows refused beyond conn_max when a rule had let them pass
	SourcesEvicted    uint64  `json:"sources_evicted"` // sources with one flow that ceased to be counted
	SourcesFull       uint64  `json:"sources_full"`    // flows that no source was counted for
	EarlyDropped      uint64  `json:"early_dropped"`   // unanswered or ended flows that gave way to new ones
	Related           uint64  `json:"related"`         // ICMP errors about a flow
	Invalid           uint64  `json:"invalid"`         // packets that fit no flow and may not start one
	TableBytes        uint64  `json:"table_bytes"`
	TableBytesPerFlow float64 `json:"table_bytes_per_flow"` // at the configured maximum

	// SecondsUntilFull is when the table that fills first will refuse flows, as fast as they
	// came and went in the last seconds; null when none fills.
	SecondsUntilFull *float64 `json:"seconds_until_full"`
}

// Joined is packets that began no flow because it was there already when theirs was to be
// entered, by what kept them from seeing it before. Source: CT-6.
type Joined struct {
	Burst     uint64 `json:"burst"`     // another packet of their burst began it
	Queue     uint64 `json:"queue"`     // another did while they waited for a verdict
	Neighbour uint64 `json:"neighbour"` // another did while they waited for the next hop's link address
}

func (j *Joined) add(a, b *ct.Stats) {
	j.Burst += b.Joined[packet.WaitNone] - a.Joined[packet.WaitNone]
	j.Queue += b.Joined[packet.WaitQueue] - a.Joined[packet.WaitQueue]
	j.Neighbour += b.Joined[packet.WaitNeighbour] - a.Joined[packet.WaitNeighbour]
}

// PoolReport is one mbuf pool.
type PoolReport struct {
	Name      string `json:"name"`
	Size      int    `json:"size"`
	Available int    `json:"available"` // an estimate while workers run
}

// GCReport is what the Go garbage collector did.
type GCReport struct {
	Collections  int64 `json:"collections"`
	PauseTotalNs int64 `json:"pause_total_ns"`
}

// Dropped returns the drops of all reasons.
func (r *Report) Dropped() uint64 { return total(r.drops[:]) }

// Punted returns the punts of all reasons.
func (r *Report) Punted() uint64 { return total(r.punts[:]) }

func total(counts []uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// ratio is a/b, and 0 where there is nothing to divide by: JSON has no NaN.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

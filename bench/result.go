package bench

// Result is one row: one program with one load, over all repetitions.
//
// Times are those of one worker: with two workers, each takes ns_per_packet for
// each of its packets, and mpps is what both do together.
type Result struct {
	Scenario string `json:"scenario"` // io-floor and macswap are dpdk-testpmd; the names of peers are theirs
	Flows    int    `json:"flows"`    // in the capture; of tables, the entries
	Routes   int    `json:"routes"`   // 0 for dpdk-testpmd and exact matches
	Workers  int    `json:"workers"`

	Mpps         float64 `json:"mpps"` // forwarded, million packets per second; the median
	NsPerPacket  float64 `json:"ns_per_packet"`
	NsAboveFloor float64 `json:"ns_above_floor"` // ns_per_packet less that of io-floor with the same load and workers
	RatioToFloor float64 `json:"ratio_to_floor"` // mpps, 1 for io-floor
	Bar          float64 `json:"bar,omitempty"`  // what ns_above_floor shall not exceed
	Spread       Spread  `json:"spread"`

	NsPerFragment float64 `json:"ns_per_fragment,omitempty"` // ns_above_floor for each fragment that left
	Fragments     float64 `json:"fragments,omitempty"`       // that left for each packet
	Peers         []Peer  `json:"peers,omitempty"`           // what did the same work on the same packets

	Stages            []Stage   `json:"stages,omitempty"`
	Verdicts          *Verdicts `json:"verdicts,omitempty"`             // of a verdict queue, medians
	Dump              *Dump     `json:"dump,omitempty"`                 // of flows, in the worst repetition
	Expiry            *Expiry   `json:"expiry,omitempty"`               // beside resident flows, in the worst repetition
	NewFlowsPerS      float64   `json:"new_flows_per_s,omitempty"`      // per worker
	NewFlowShare      float64   `json:"new_flow_share,omitempty"`       // of the packets, those that made a flow
	ScalingToOne      float64   `json:"scaling_to_one,omitempty"`       // mpps, to that of one worker with the same load
	AllocsPerPacket   *float64  `json:"allocs_per_packet,omitempty"`    // of Go's heap
	TableBytesPerFlow float64   `json:"table_bytes_per_flow,omitempty"` // at the configured maximum

	Repetitions int  `json:"repetitions"`
	HugePages   bool `json:"huge_pages"`
}

// Peer is what another program took for the work of a row, from its own row.
type Peer struct {
	Name         string  `json:"name"`
	Mpps         float64 `json:"mpps"`
	NsPerPacket  float64 `json:"ns_per_packet"`
	NsAboveFloor float64 `json:"ns_above_floor"`
	Ratio        float64 `json:"ratio"` // our ns_above_floor to the peer's: above 1 we are slower; 0: the floor is in doubt
}

// Spread is how far the repetitions lie apart.
type Spread struct {
	MinMpps float64 `json:"min_mpps"`
	MaxMpps float64 `json:"max_mpps"`
}

// Stage is the cost of one pipeline stage, in cycles of the time stamp counter per
// packet, median of the repetitions and mean of the workers.
type Stage struct {
	Name            string  `json:"name"`
	CyclesPerPacket float64 `json:"cycles_per_packet"`
}

// sample is what one repetition measured.
type sample struct {
	mpps              float64
	outPerIn          float64 // packets that left for each that came; 0 where nothing counts them
	stages            []Stage
	newFlowsPerS      float64
	newFlowShare      float64
	allocsPerPacket   *float64
	tableBytesPerFlow float64
	verdicts          *Verdicts
	dump              *Dump
	expiry            *Expiry
}

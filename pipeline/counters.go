package pipeline

import (
	"ffwd/ct"
	"ffwd/packet"
)

// Counters are one worker's counters, written by it alone and read through
// Worker.Counters, between two polls. At every such read
//
//	Received + Created + TakenOver = Transmitted + drops + punts + HandedOver + Held
//
// Source: FF-12.
type Counters struct {
	Received    uint64
	Created     uint64 // ICMP errors, TCP resets, fragments beyond the first of each packet, copies for ports, what the slow path sent
	Transmitted uint64
	Held        uint64 // now: for a neighbour, the first fragment of a datagram, or a verdict
	HandedOver  uint64 // to the worker that owns the flow
	TakenOver   uint64 // from the worker that received the packet
	Drops       [packet.NumReasons]uint64
	Punts       [packet.NumReasons]uint64 // what the slow path's ring took, by punt reason

	// What it did not get, by punt reason; dropped as punt_limited and punt_full.
	PuntsLimited, PuntsFull [packet.NumReasons]uint64
	FromKernel              uint64 // packets that the slow path sent, of Created

	FastForwarded uint64 // packets that left as one frame, or in fragments all of which left
	Fragmented    uint64 // packets
	Fragments     uint64 // made of them
	Errors        uint64 // ICMP errors made
	Resets        uint64 // TCP resets made
	ErrorsLimited uint64 // of both, not made because of the rate limit
	Mirrored      uint64 // copies made for rules that tee to a port
	MirrorsLost   uint64 // not made: no buffer, too long for the port, or the port is the packet's own

	Polls      uint64
	BusyPolls  uint64 // that found packets
	BusyCycles uint64 // spent in them
	Cycles     uint64 // spent in all polls
	Gaps       [GapBuckets]uint64

	Reassembly ct.FragmentStats

	Stages [numStages]StageCost
	Ports  []PortCounters
}

// StageCost is the sampled cost of a stage: one burst in SampleEvery.
type StageCost struct {
	Cycles  uint64
	Packets uint64
}

// PortCounters are a worker's share of a physical port's traffic.
type PortCounters struct {
	RxPackets, RxBytes uint64
	TxPackets, TxBytes uint64
	TxDropped          uint64
}

// GapBuckets is the number of buckets of the histogram of times between polls:
// bucket i counts gaps below 2^i microseconds, the last one all longer gaps.
const GapBuckets = 20

// SampleEvery is the number of bursts per one whose stages are measured.
const SampleEvery = 64

// Dropped returns the sum over all reasons.
func (c *Counters) Dropped() uint64 { return sum(c.Drops[:]) }

// Punted returns the sum over all reasons.
func (c *Counters) Punted() uint64 { return sum(c.Punts[:]) }

func sum(of []uint64) (n uint64) {
	for _, v := range of {
		n += v
	}
	return n
}

// Add adds other's counts to c.
func (c *Counters) Add(other *Counters) {
	for _, f := range [...]struct{ to, from *uint64 }{
		{&c.Received, &other.Received}, {&c.Created, &other.Created},
		{&c.Transmitted, &other.Transmitted}, {&c.Held, &other.Held}, {&c.HandedOver, &other.HandedOver},
		{&c.TakenOver, &other.TakenOver}, {&c.FastForwarded, &other.FastForwarded},
		{&c.Fragmented, &other.Fragmented}, {&c.Fragments, &other.Fragments},
		{&c.Errors, &other.Errors}, {&c.Resets, &other.Resets}, {&c.ErrorsLimited, &other.ErrorsLimited},
		{&c.Mirrored, &other.Mirrored}, {&c.MirrorsLost, &other.MirrorsLost},
		{&c.Reassembly.Datagrams, &other.Reassembly.Datagrams}, {&c.Reassembly.Held, &other.Reassembly.Held},
		{&c.Reassembly.HeldBytes, &other.Reassembly.HeldBytes}, {&c.Reassembly.Completed, &other.Reassembly.Completed},
		{&c.Reassembly.Evicted, &other.Reassembly.Evicted}, {&c.Reassembly.TimedOut, &other.Reassembly.TimedOut},
		{&c.Polls, &other.Polls}, {&c.BusyPolls, &other.BusyPolls},
		{&c.BusyCycles, &other.BusyCycles}, {&c.Cycles, &other.Cycles}, {&c.FromKernel, &other.FromKernel},
	} {
		*f.to += *f.from
	}
	addAll(c.Drops[:], other.Drops[:])
	addAll(c.Punts[:], other.Punts[:])
	addAll(c.PuntsLimited[:], other.PuntsLimited[:])
	addAll(c.PuntsFull[:], other.PuntsFull[:])
	addAll(c.Gaps[:], other.Gaps[:])
	for i := range c.Stages {
		c.Stages[i].Cycles += other.Stages[i].Cycles
		c.Stages[i].Packets += other.Stages[i].Packets
	}
	for len(c.Ports) < len(other.Ports) {
		c.Ports = append(c.Ports, PortCounters{})
	}
	for i, p := range other.Ports {
		to := &c.Ports[i]
		to.RxPackets += p.RxPackets
		to.RxBytes += p.RxBytes
		to.TxPackets += p.TxPackets
		to.TxBytes += p.TxBytes
		to.TxDropped += p.TxDropped
	}
}

func addAll(to, from []uint64) {
	for i := range to {
		to[i] += from[i]
	}
}

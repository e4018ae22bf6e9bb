package control

import (
	"ffwd/ct"
	"ffwd/packet"
	"ffwd/pipeline"
	"ffwd/pmd"
)

// report makes a Report of what happened between two samples.
func (s *Switch) report(from, to sample) Report {
	r := Report{
		DurationS:       to.at.Sub(from.at).Seconds(),
		ClockHz:         s.clock.Hz(),
		Drops:           map[string]uint64{},
		Punts:           map[string]uint64{},
		PuntsLimited:    map[string]uint64{},
		PuntsFull:       map[string]uint64{},
		EpochLagSeconds: s.epoch.Lag().Seconds(),
		GC: GCReport{
			Collections:  to.heap.collections - from.heap.collections,
			PauseTotalNs: int64(to.heap.pause - from.heap.pause),
		},
	}
	ports := make([]pipeline.PortCounters, len(s.ports))
	for i := range to.workers {
		var before workerSample
		if i < len(from.workers) {
			before = from.workers[i]
		}
		s.addWorker(&r, i, &before, &to.workers[i], ports)
	}
	for i := range to.ports {
		var before pmd.Stats
		if i < len(from.ports) {
			before = from.ports[i]
		}
		addOversized(&r, &ports[i], to.ports[i].RxOversized-before.RxOversized)
	}
	for reason := range packet.NumReasons {
		for _, c := range [...]struct {
			named map[string]uint64
			n     uint64
		}{{r.Drops, r.drops[reason]}, {r.Punts, r.punts[reason]},
			{r.PuntsLimited, r.puntsLimited[reason]}, {r.PuntsFull, r.puntsFull[reason]}} {
			if c.n > 0 {
				c.named[reason.String()] = c.n
			}
		}
	}
	r.Twins = s.twinReports(from.twins, to.twins)
	for i := range to.ports {
		var before pmd.Stats
		if i < len(from.ports) {
			before = from.ports[i]
		}
		r.Ports = append(r.Ports, s.portReport(i, &ports[i], &before, &to.ports[i]))
	}
	s.addQueues(&r, from.queues, to.queues)
	c := s.Config().CT
	r.Pools = to.pools
	r.TimeoutPolicies = s.timeoutList()
	r.Flows.TableBytes = s.tableBytes
	r.Flows.SecondsUntilFull = s.secondsUntilFull(&c, to.workers)
	r.Flows.TableBytesPerFlow = ratio(float64(s.tableBytes), float64(len(s.workers)*(c.MaxFlows+c.MaxFlowsIPv6)))
	r.AllocsPerPacket = ratio(float64(to.heap.allocs-from.heap.allocs), float64(r.Received))
	return r
}

// addWorker adds one worker's counts to the sums, and its own report.
func (s *Switch) addWorker(r *Report, i int, from, to *workerSample, ports []pipeline.PortCounters) {
	a, b := &from.counters, &to.counters
	r.Received += b.Received - a.Received
	r.Created += b.Created - a.Created
	r.Transmitted += b.Transmitted - a.Transmitted
	r.FromKernel += b.FromKernel - a.FromKernel
	r.Held += int64(b.HandedOver-a.HandedOver) - int64(b.TakenOver-a.TakenOver) + int64(b.Held-a.Held)
	r.FastForwarded += b.FastForwarded - a.FastForwarded
	r.Fragmented += b.Fragmented - a.Fragmented
	r.Fragments += b.Fragments - a.Fragments
	r.Errors += b.Errors - a.Errors
	r.Resets += b.Resets - a.Resets
	r.ErrorsLimited += b.ErrorsLimited - a.ErrorsLimited
	r.Mirrored += b.Mirrored - a.Mirrored
	r.MirrorsLost += b.MirrorsLost - a.MirrorsLost
	for reason := range b.Drops {
		r.drops[reason] += b.Drops[reason] - a.Drops[reason]
		r.punts[reason] += b.Punts[reason] - a.Punts[reason]
		r.puntsLimited[reason] += b.PuntsLimited[reason] - a.PuntsLimited[reason]
		r.puntsFull[reason] += b.PuntsFull[reason] - a.PuntsFull[reason]
	}
	for bucket := range b.Gaps {
		r.gaps[bucket] += b.Gaps[bucket] - a.Gaps[bucket]
	}
	r.pollSeconds += float64(s.clock.Ns(b.Cycles-a.Cycles)) / 1e9
	for p := range b.Ports {
		var before pipeline.PortCounters
		if p < len(a.Ports) {
			before = a.Ports[p]
		}
		addPort(&ports[p], &before, &b.Ports[p])
	}
	addFlows(&r.Flows, &from.flows, &to.flows)
	r.Reassembly.add(&a.Reassembly, &b.Reassembly)
	w := s.workerReport(s.workers[i], a, b)
	w.Joined.add(&from.flows, &to.flows)
	w.Stuck = to.stuck
	r.Workers = append(r.Workers, w)
}

// addOversized adds the frames of a port that no mbuf takes: pmd freed them, and no
// worker saw them. Source: FF-12.
func addOversized(r *Report, port *pipeline.PortCounters, n uint64) {
	r.Received += n
	r.drops[packet.RxOversized] += n
	port.RxPackets += n
}

func (s *Switch) workerReport(w *worker, a, b *pipeline.Counters) WorkerReport {
	packets := b.Received - a.Received
	takenOver := b.TakenOver - a.TakenOver
	busy := b.BusyCycles - a.BusyCycles
	r := WorkerReport{
		Core:        w.core,
		Packets:     packets,
		HandedOver:  b.HandedOver - a.HandedOver,
		TakenOver:   takenOver,
		Polls:       b.Polls - a.Polls,
		BusyPolls:   b.BusyPolls - a.BusyPolls,
		BusyRatio:   ratio(float64(busy), float64(b.Cycles-a.Cycles)),
		BusySeconds: float64(s.clock.Ns(busy)) / 1e9,
		NsPerPacket: ratio(float64(s.clock.Ns(busy)), float64(packets+takenOver)),
		LongestGap:  longestGap(&a.Gaps, &b.Gaps),
	}
	for bucket := range b.Gaps {
		gap := GapReport{gapSeconds(bucket), b.Gaps[bucket] - a.Gaps[bucket]}
		if bucket == pipeline.GapBuckets-1 {
			gap.BelowS = 0
		}
		r.Gaps = append(r.Gaps, gap)
	}
	last := len(pipeline.StageNames) - 1 // which every burst that is sampled meets
	sampled := b.Stages[last].Packets - a.Stages[last].Packets
	for stage, name := range pipeline.StageNames {
		cycles := b.Stages[stage].Cycles - a.Stages[stage].Cycles
		r.Stages = append(r.Stages, StageReport{name, ratio(float64(cycles), float64(sampled))})
	}
	return r
}

// longestGap is the upper bound, in seconds, of the longest time between polls.
func longestGap(a, b *[pipeline.GapBuckets]uint64) float64 {
	for bucket := pipeline.GapBuckets - 1; bucket >= 0; bucket-- {
		if b[bucket] != a[bucket] {
			return gapSeconds(bucket)
		}
	}
	return 0
}

// gapSeconds is the upper bound of a bucket of pipeline.Counters.Gaps.
func gapSeconds(bucket int) float64 { return float64(uint64(1)<<bucket) * 1e-6 }

func addPort(to, a, b *pipeline.PortCounters) {
	to.RxPackets += b.RxPackets - a.RxPackets
	to.RxBytes += b.RxBytes - a.RxBytes
	to.TxPackets += b.TxPackets - a.TxPackets
	to.TxBytes += b.TxBytes - a.TxBytes
	to.TxDropped += b.TxDropped - a.TxDropped
}

func addFlows(to *FlowsReport, a, b *ct.Stats) {
	to.IPv4 += b.Flows4
	to.IPv6 += b.Flows6
	to.Translations += b.Translations
	to.Created += b.Created - a.Created
	to.Expired += b.Expired - a.Expired
	to.Joined.add(a, b)
	to.Full += b.Full - a.Full
	to.Reserved += b.Reserved - a.Reserved
	to.SourceLimited += b.SourceLimited - a.SourceLimited
	to.RuleLimited += b.RuleLimited - a.RuleLimited
	to.SourcesEvicted += b.SourcesEvicted - a.SourcesEvicted
	to.SourcesFull += b.SourcesFull - a.SourcesFull
	to.EarlyDropped += b.EarlyDropped - a.EarlyDropped
	to.Related += b.Related - a.Related
	to.Invalid += b.Invalid - a.Invalid
}

func (s *Switch) portReport(i int, ours *pipeline.PortCounters, a, b *pmd.Stats) PortReport {
	return PortReport{
		Name:      s.ports[i].Name(),
		RxPackets: ours.RxPackets, RxBytes: ours.RxBytes,
		TxPackets: ours.TxPackets, TxBytes: ours.TxBytes, TxDropped: ours.TxDropped,
		RxMissed: b.RxMissed - a.RxMissed, RxNoMbuf: b.RxNoMbuf - a.RxNoMbuf,
		RxErrors: b.RxErrors - a.RxErrors, TxErrors: b.TxErrors - a.TxErrors,
		LinkUp: s.link(i).Up,
	}
}

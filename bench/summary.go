package bench

import (
	"cmp"
	"slices"
)

// summarize fills a row with the medians of its samples, of which there is one.
func summarize(row Result, samples []sample) Result {
	of := func(value func(sample) float64) []float64 {
		list := make([]float64, len(samples))
		for i, s := range samples {
			list[i] = value(s)
		}
		return list
	}
	mpps := of(func(s sample) float64 { return s.mpps })
	row.Repetitions = len(samples)
	row.Mpps = median(mpps)
	row.NsPerPacket = float64(row.Workers) * 1e3 / row.Mpps
	row.Spread = Spread{MinMpps: slices.Min(mpps), MaxMpps: slices.Max(mpps)}
	row.NewFlowsPerS = median(of(func(s sample) float64 { return s.newFlowsPerS }))
	row.NewFlowShare = median(of(func(s sample) float64 { return s.newFlowShare }))
	if out := median(of(func(s sample) float64 { return s.outPerIn })); out > 1+peerLossLimit {
		row.Fragments = out
	}
	row.TableBytesPerFlow = samples[0].tableBytesPerFlow
	row.Stages = medianStages(samples)
	row.Verdicts = ofRepetitions(samples)
	worst := slices.MinFunc(samples, func(a, b sample) int { return cmp.Compare(a.mpps, b.mpps) })
	row.Dump, row.Expiry = worst.dump, worst.expiry
	for _, s := range samples { // the worst: there should be none at all
		if s.allocsPerPacket != nil && (row.AllocsPerPacket == nil || *s.allocsPerPacket > *row.AllocsPerPacket) {
			row.AllocsPerPacket = s.allocsPerPacket
		}
	}
	return row
}

// medianStages takes the stages of the first sample, each with its median.
func medianStages(samples []sample) []Stage {
	var stages []Stage
	for _, stage := range samples[0].stages {
		var cycles []float64
		for _, s := range samples {
			for _, other := range s.stages {
				if other.Name == stage.Name {
					cycles = append(cycles, other.CyclesPerPacket)
				}
			}
		}
		stages = append(stages, Stage{stage.Name, median(cycles)})
	}
	return stages
}

// median of at least one value; of an even number the mean of the middle two.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	mid := len(v) / 2
	if len(v)%2 == 0 {
		return (v[mid-1] + v[mid]) / 2
	}
	return v[mid]
}

// compareWithFloor relates the rows of a group to the first of them, if that is the
// floor. Tables have none: all their time counts.
func compareWithFloor(rows []Result) {
	floor := rows[0]
	for i := range rows {
		r := &rows[i]
		r.NsAboveFloor = r.NsPerPacket
		if floor.Scenario == ioFloor {
			r.NsAboveFloor -= floor.NsPerPacket
			r.RatioToFloor = r.Mpps / floor.Mpps
		}
		if r.Fragments > 1 {
			r.NsPerFragment = r.NsAboveFloor / r.Fragments
		}
	}
}

// compareWithPeers tells each row how its peers fared. of says whose the rows are.
func compareWithPeers(rows []Result, of []*contender) {
	for i := range rows {
		for j := range rows {
			if of[j].self == (peer{}) || !slices.Contains(of[i].peers, of[j].self) {
				continue
			}
			p := Peer{rows[j].Scenario, rows[j].Mpps, rows[j].NsPerPacket, rows[j].NsAboveFloor, 0}
			if p.NsAboveFloor > 0 { // else a neighbour disturbed the floor
				p.Ratio = max(0, rows[i].NsAboveFloor/p.NsAboveFloor)
			}
			rows[i].Peers = append(rows[i].Peers, p)
		}
	}
}

// compareWorkers relates rows of several workers to the same of one worker.
func compareWorkers(rows []Result) {
	one := func(r Result) string {
		if r.Scenario == statefulTwoCores {
			return stateful
		}
		return r.Scenario
	}
	for i := range rows {
		for _, other := range rows {
			if rows[i].Workers > 1 && other.Workers == 1 && other.Scenario == one(rows[i]) &&
				other.Flows == rows[i].Flows && other.Routes == rows[i].Routes {
				rows[i].ScalingToOne = rows[i].Mpps / other.Mpps
			}
		}
	}
}

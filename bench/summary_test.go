package bench

import (
	"math"
	"slices"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{7}, 7},
		{[]float64{1, 2}, 1.5},
		{[]float64{9, 1, 5}, 5},
		{[]float64{100, 1, 2, 3, -50}, 2},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		before := slices.Clone(c.values)
		if got := median(c.values); got != c.want || !slices.Equal(c.values, before) {
			t.Errorf("median of %v: %v, want %v; left as %v", before, got, c.want, c.values)
		}
	}
}

func TestSummarize(t *testing.T) {
	none, some := 0.0, 0.25
	row := summarize(Result{Scenario: stateful, Workers: 2}, []sample{
		{mpps: 10, stages: []Stage{{"parse", 10}, {"route", 5}}, newFlowsPerS: 3, allocsPerPacket: &none},
		{mpps: 50, stages: []Stage{{"parse", 30}, {"route", 6}}, newFlowsPerS: 1, allocsPerPacket: &some},
		{mpps: 20, stages: []Stage{{"parse", 20}, {"route", 1}}, newFlowsPerS: 2, allocsPerPacket: &none},
	})
	if row.Mpps != 20 || row.NsPerPacket != 100 || row.Spread != (Spread{10, 50}) || row.Repetitions != 3 {
		t.Errorf("%+v: want 20 Mpps, 100 ns for each worker's packet, 10 to 50", row)
	}
	if want := []Stage{{"parse", 20}, {"route", 5}}; !slices.Equal(row.Stages, want) {
		t.Errorf("stages %v, want %v", row.Stages, want)
	}
	if row.NewFlowsPerS != 2 || row.AllocsPerPacket == nil || *row.AllocsPerPacket != some {
		t.Errorf("%+v: want 2 new flows/s, and the worst of allocations", row)
	}
}

func TestCompareWithFloorAndWorkers(t *testing.T) {
	one := []Result{
		{Scenario: ioFloor, Flows: 60, Workers: 1, Mpps: 100, NsPerPacket: 10},
		{Scenario: stateful, Flows: 60, Workers: 1, Routes: 1, Mpps: 40, NsPerPacket: 25},
		{Scenario: stateful, Flows: 60, Workers: 1, Routes: 9, Mpps: 20, NsPerPacket: 50},
	}
	two := []Result{
		{Scenario: ioFloor, Flows: 60, Workers: 2, Mpps: 190, NsPerPacket: 10.5},
		{Scenario: statefulTwoCores, Flows: 60, Workers: 2, Routes: 1, Mpps: 76, NsPerPacket: 26.3},
	}
	compareWithFloor(one)
	compareWithFloor(two)
	rows := append(one, two...)
	compareWorkers(rows)
	for i, want := range []struct{ above, ratio, scaling float64 }{
		{0, 1, 0}, {15, 0.4, 0}, {40, 0.2, 0}, {0, 1, 1.9}, {15.8, 0.4, 1.9},
	} {
		near := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }
		if r := rows[i]; !near(r.NsAboveFloor, want.above) || !near(r.RatioToFloor, want.ratio) || !near(r.ScalingToOne, want.scaling) {
			t.Errorf("row %d: %+v, want %+v", i, r, want)
		}
	}
}

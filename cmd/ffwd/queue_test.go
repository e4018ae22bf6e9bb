package main

import (
	"strings"
	"testing"

	"ffwd/control"
)

// Source: VQ-7
func TestPrintLatencies(t *testing.T) {
	var out strings.Builder
	queues := []control.QueueReport{{Number: 1}, {Number: 3, Verdicts: 200, Latency: control.LatencyReport{
		Buckets: []control.LatencyBucket{{Under: 8.192e-06, Packets: 150}, {Under: 0.001048576, Packets: 50}},
	}}}
	if err := printLatencies(&out, queues); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := "queue waited less than packets of all|3 8.2µs 150 75.00%|3 1.0486ms 50 100.00%"
	if strings.Join(got, "|") != want {
		t.Errorf("got %q", got)
	}
}

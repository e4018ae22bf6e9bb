package bench

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func printed() []Result {
	none := 0.0
	return []Result{
		{Scenario: ioFloor, Flows: 1000, Workers: 1, Mpps: 70, NsPerPacket: 14.3, RatioToFloor: 1, Spread: Spread{69, 71}, Repetitions: 5},
		{Scenario: stateful, Flows: 1000, Routes: 1, Workers: 1, Mpps: 40, NsPerPacket: 25, NsAboveFloor: 10.7, RatioToFloor: 0.57, Bar: 18,
			Spread: Spread{39, 41}, Stages: []Stage{{"parse", 8}, {"route", 6.25}}, AllocsPerPacket: &none, TableBytesPerFlow: 129},
		{Scenario: newFlows, Flows: 2000000, Routes: 1, Workers: 1, Mpps: 5, NsPerPacket: 200, NsAboveFloor: 165, NewFlowsPerS: 3.9e6, NewFlowShare: 0.97},
		{Scenario: statefulTwoCores, Flows: 60000, Routes: 1, Workers: 2, NsAboveFloor: 31, Bar: 30, ScalingToOne: 1.85},
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := WriteTable(&b, printed()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for i, want := range [][]string{
		{"scenario", "above floor", "bar"},
		{"io-floor", " - ", "70.00", "69.00..71.00", "14.3"},
		{"stateful", "10.7", "18 met", "0.57", "129 bytes of table per flow (bar 128)"},
		{"new-flows", "3.90 M new flows/s per worker (bar 4 MISSED; 97% of packets)"},
		{"stateful-2-workers", "30 MISSED", "1.85 times one worker (bar 1.8 met)"},
	} {
		for _, w := range want {
			if !strings.Contains(lines[i], w) {
				t.Errorf("line %d has no %q: %s", i, w, lines[i])
			}
		}
	}
	if text := b.String(); !strings.Contains(text, "cycles per packet and stage") || !strings.Contains(text, "14.2") || strings.Contains(text, "allocations") {
		t.Errorf("stages, with their sum, and no word of allocations are missing:\n%s", text)
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, printed()); err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	if err := json.Unmarshal(b.Bytes(), &rows); err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		for _, key := range []string{"scenario", "flows", "routes", "workers", "mpps", "ns_per_packet", "ns_above_floor", "ratio_to_floor", "spread"} {
			if _, ok := row[key]; !ok {
				t.Errorf("row %d has no %s", i, key)
			}
		}
	}
	if rows[1]["bar"] != 18.0 || rows[1]["allocs_per_packet"] != 0.0 || rows[2]["new_flows_per_s"] != 3.9e6 {
		t.Errorf("rows %v", rows)
	}
	if _, has := rows[0]["stages"]; has {
		t.Error("the floor has stages")
	}
	b.Reset()
	if err := WriteJSON(&b, nil); err != nil || strings.TrimSpace(b.String()) != "[]" {
		t.Errorf("no rows: %q, %v", b.String(), err)
	}
}

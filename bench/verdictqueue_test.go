package bench

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

// Source: VQ-1, VQ-7
func TestVerdictFigures(t *testing.T) {
	var r report
	doc := `{"duration_s": 2, "ports": [{"name": "in", "rx_packets": 1000}, {"name": "out", "tx_packets": 590}],
		"queues": [{"offered": 500, "verdicts": 100, "outcomes": {"confirmed": 60, "joined": 40, "refused": 400}}]}`
	if err := json.Unmarshal([]byte(doc), &r); err != nil {
		t.Fatal(err)
	}
	v, err := r.verdicts()
	if err != nil || v.PerS != 50 || math.Abs(v.UnqueuedLoss-0.02) > 1e-9 { // 490 of 500 left
		t.Errorf("%+v, %v", v, err)
	}
	r.Queues[0].Verdicts = 0
	if _, err := r.verdicts(); err == nil || !strings.Contains(err.Error(), "0 verdicts") {
		t.Error(err)
	}
}

// Source: VQ-1
func TestQueueConfiguration(t *testing.T) {
	var text strings.Builder
	s := &setup{load: load{flows: 10, workers: 1}, files: []string{"x"}, cores: []int{0}}
	printConfig(&text, variant{scenario: verdictQueue, routes: 1, queuedBits: 3, queueSocket: "/q"}, s)
	for _, want := range []string{`src = ["64.0.0.0/7"]`, `queue_socket = "/q"`, "[[queues]]"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %s in\n%s", want, text.String())
		}
	}
}

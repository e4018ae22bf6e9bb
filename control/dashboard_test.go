package control

import (
	"encoding/json"
	"os"
	"regexp"
	"testing"
)

// examples/grafana.json asks for metrics that there are, by labels that they have.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../examples/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string `json:"title"`
			Targets []struct {
				Expr   string `json:"expr"`
				Legend string `json:"legendFormat"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	s := startTest(t, twoPorts)
	families, err := s.registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]map[string]bool{} // by metric
	for _, f := range families {
		has := map[string]bool{}
		for _, l := range f.GetMetric()[0].GetLabel() {
			has[l.GetName()] = true
		}
		labels[f.GetName()] = has
		if f.GetMetric()[0].GetHistogram() != nil {
			labels[f.GetName()+"_bucket"] = has
		}
	}
	name, label := regexp.MustCompile(`\bffwd_\w+`), regexp.MustCompile(`{{(\w+)}}`)
	seen := 0
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			for _, metric := range name.FindAllString(target.Expr, -1) {
				seen++
				if labels[metric] == nil {
					t.Errorf("%s: there is no metric %s", p.Title, metric)
				}
				for _, l := range label.FindAllStringSubmatch(target.Legend, -1) {
					if !labels[metric][l[1]] {
						t.Errorf("%s: %s has no label %s", p.Title, metric, l[1])
					}
				}
			}
		}
	}
	if seen < len(board.Panels) {
		t.Errorf("%d metrics in %d panels", seen, len(board.Panels))
	}
}

package control

import (
	"net/http"
	"strconv"

	"ffwd/conf"
	"ffwd/pipeline"
)

// RuleList answers GET /v1/rules. Next goes into ?from= for the rules behind these; 0 is
// the end.
type RuleList struct {
	Rules    []RuleStatus    `json:"rules"`
	Next     int             `json:"next"`
	Defaults []DefaultStatus `json:"defaults"`
}

// RuleStatus is a rule, as configured, with the packets that it matched since the rules
// last changed. Bytes are those of L3.
type RuleStatus struct {
	Index int `json:"index"` // in the configuration
	conf.Rule
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// DefaultStatus is what became of packets that no rule of a hook decided for. A hook
// without rules that accepts everything is not asked, and counts nothing.
type DefaultStatus struct {
	Hook    conf.Hook   `json:"hook"`
	Action  conf.Action `json:"action"`
	Packets uint64      `json:"packets"`
	Bytes   uint64      `json:"bytes"`
}

// getRules lists the rules in their order, from ?from= on.
func (s *Switch) getRules(r *http.Request) (any, error) {
	limit, err := limitOf(r)
	if err != nil {
		return nil, err
	}
	from := 0
	if text := r.URL.Query().Get("from"); text != "" {
		if from, err = strconv.Atoi(text); err != nil || from < 0 {
			return nil, badRequest("from: %q is not a rule's index", text)
		}
	}
	config, hits, err := s.ruleHits()
	if err != nil {
		return nil, err
	}
	list := RuleList{Rules: []RuleStatus{}, Defaults: defaultStatus(config, hits)}
	for i := from; i < len(config.Rules); i++ {
		if len(list.Rules) == limit {
			list.Next = i
			break
		}
		list.Rules = append(list.Rules, RuleStatus{Index: i, Rule: config.Rules[i], Packets: hits[i].Packets, Bytes: hits[i].Bytes})
	}
	return list, nil
}

func defaultStatus(c *conf.Config, hits []pipeline.RuleHits) []DefaultStatus {
	in, out := hits[len(c.Rules)], hits[len(c.Rules)+1]
	return []DefaultStatus{
		{conf.HookIn, c.Policy.DefaultIn, in.Packets, in.Bytes},
		{conf.HookOut, c.Policy.DefaultOut, out.Packets, out.Bytes},
	}
}

// ruleHits returns the configuration that runs and what its rules counted, on all
// workers: one element per rule, then the defaults of hook in and hook out.
func (s *Switch) ruleHits() (*conf.Config, []pipeline.RuleHits, error) {
	now := s.running.Load()
	hits := make([]pipeline.RuleHits, now.rules.Len()+2)
	for _, w := range s.workers {
		if err := w.AddRuleHits(now.rules.Generation(), hits); err != nil {
			return nil, nil, err
		}
	}
	return now.config, hits, nil
}

// maxRuleSeries is how many rules have metrics of their own, from the top: each is two
// time series. All of them are in GET /v1/rules.
const maxRuleSeries = 1000

// rules sends what the rules and the hooks' defaults counted. While a worker is stuck it
// sends none: sums without that worker would look like counters that began anew.
func (out sender) rules(s *Switch) {
	config, hits, err := s.ruleHits()
	if err != nil {
		return
	}
	for i := range config.Rules[:min(len(config.Rules), maxRuleSeries)] {
		r := &config.Rules[i]
		out.rule(hits[i], strconv.Itoa(i), r.Hook, r.Action, r.Comment)
	}
	for _, d := range defaultStatus(config, hits) {
		out.rule(pipeline.RuleHits{Packets: d.Packets, Bytes: d.Bytes}, "default", d.Hook, d.Action, "")
	}
}

func (out sender) rule(h pipeline.RuleHits, rule string, hook conf.Hook, action conf.Action, comment string) {
	out.counter(metricRulePackets, h.Packets, rule, string(hook), string(action), comment)
	out.counter(metricRuleBytes, h.Bytes, rule, string(hook), string(action), comment)
}

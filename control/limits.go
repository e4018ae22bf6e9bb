package control

import (
	"encoding/json"
	"fmt"
	"slices"

	"ffwd/conf"
	"ffwd/ct"
)

// limitPlan is what the rules' limits on connections are by number. A limit keeps its
// number, and so the connections that count for it, as long as a rule of a configuration
// after the other has it, whatever else the rules say. The number of one that is gone is
// given away again when no connection counts for it any more.
//
// Source: CT-7; docs/decisions/0009-connection-limits.md.
type limitPlan struct {
	numbers map[string]uint8 // by limitKey
	byRule  []uint8          // 0 is none
	limits  ct.Limits
}

// planLimits numbers the limits of a configuration. The caller holds Switch.mu.
func (s *Switch) planLimits(c *conf.Config) (*limitPlan, error) {
	plan := &limitPlan{numbers: map[string]uint8{}, byRule: make([]uint8, len(c.Rules))}
	var taken [ct.MaxLimits]bool
	for _, number := range s.limits {
		taken[number] = true
	}
	next := 1
	for i := range c.Rules {
		r := &c.Rules[i]
		if r.ConnMax == 0 {
			continue
		}
		key := limitKey(r, plan.numbers)
		number, known := s.limits[key]
		if !known {
			for next < ct.MaxLimits && (taken[next] || s.tallies.Flows(uint8(next)) > 0) {
				next++
			}
			if next == ct.MaxLimits {
				return nil, fmt.Errorf("rules[%d].conn_max: there are %d limits already, those included that no rule has any more and connections still count for",
					i, ct.MaxLimits-1)
			}
			number = uint8(next)
			next++
		}
		plan.numbers[key], plan.byRule[i] = number, number
		plan.limits[number] = ct.Limit{Max: uint32(r.ConnMax), PerSource: r.ConnMaxPer == conf.ConnMaxPerSource}
	}
	return plan, nil
}

// limitKey tells a rule's limit from the others by what the rule matches. Of rules that
// match the same, the first, the second and so on are told apart.
func limitKey(r *conf.Rule, taken map[string]uint8) string {
	match := conf.Rule{
		Hook: r.Hook, InPorts: r.InPorts, OutPorts: r.OutPorts, Src: r.Src, Dst: r.Dst, Protocol: r.Protocol,
		SrcPorts: r.SrcPorts, DstPorts: r.DstPorts, State: slices.Clone(r.State), Mark: r.Mark, CTMark: r.CTMark,
		ConnMaxPer: r.ConnMaxPer,
	}
	if match.ConnMaxPer == "" {
		match.ConnMaxPer = conf.ConnMaxPerRule
	}
	text, err := json.Marshal(match)
	if err != nil {
		panic(err) // a rule of a valid configuration is listed the same way
	}
	for n := 0; ; n++ {
		key := fmt.Sprintf("%s %d", text, n)
		if _, twice := taken[key]; !twice {
			return key
		}
	}
}

// tracking translates what workers need to know of connection tracking but for timeouts.
func tracking(c *conf.CT, limits *limitPlan) ct.Settings {
	return ct.Settings{
		Loose: c.TCP.Loose, Liberal: c.TCP.Liberal, Checksum: c.Checksum,
		MaxPerSource: uint32(c.MaxFlowsPerSource), Reserve: uint32(c.Reserve), Limits: &limits.limits,
	}
}

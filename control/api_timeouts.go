package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"ffwd/conf"
	"ffwd/ct"
)

// TimeoutList answers GET /v1/timeouts: those with a name first, by name, and then
// those that are draining.
type TimeoutList struct {
	Policies []TimeoutStatus `json:"policies"`
}

// TimeoutStatus is a timeout policy with what refers to it. Source: TO-7.
type TimeoutStatus struct {
	Name     string                   `json:"name"`
	Family   conf.Family              `json:"family"`
	Protocol conf.Tracker             `json:"protocol"`
	Timeouts map[string]conf.Duration `json:"timeouts"` // of every state, as they apply
	Given    []string                 `json:"given"`    // the states that are the policy's own; the others have the default
	FromFile bool                     `json:"from_file"`
	Draining bool                     `json:"draining"` // deleted, but still referred to

	References int `json:"references"` // all, the name's own included
	Flows      int `json:"flows"`
	Rules      int `json:"rules"`
	Queued     int `json:"queued"` // packets that wait for a verdict
}

// timeoutList describes the policies as they are now.
func (s *Switch) timeoutList() []TimeoutStatus {
	defaults := s.Config().CT.Timeouts
	list := []TimeoutStatus{}
	for _, p := range s.policies.List() {
		made := policyOf(&p.Policy)
		status := TimeoutStatus{
			Name: p.Name, Family: made.Family, Protocol: made.Protocol, FromFile: p.FromFile, Draining: p.Draining,
			Timeouts: map[string]conf.Duration{}, Given: []string{},
			References: p.References(), Flows: p.Flows, Rules: p.Rules, Queued: p.Queued,
		}
		with := defaults.With(&made)
		for state, d := range with.Of(made.Protocol) {
			status.Timeouts[state] = *d
		}
		for state := range made.Timeouts {
			status.Given = append(status.Given, state)
		}
		slices.Sort(status.Given)
		list = append(list, status)
	}
	return list
}

func (s *Switch) getTimeouts(*http.Request) (any, error) {
	return TimeoutList{s.timeoutList()}, nil
}

// maxPolicyBytes bounds the body of a POST: a policy has few keys.
const maxPolicyBytes = 64 << 10

// postTimeout creates the policy of the body, or with ?replace=true changes the
// values of one that exists. It answers with the policy. Source: TO-2.
func (s *Switch) postTimeout(r *http.Request) (any, error) {
	replace, err := flagOf(r, "replace")
	if err != nil {
		return nil, err
	}
	p, err := readPolicy(r)
	if err != nil {
		return nil, err
	}
	if !s.Config().CT.Enabled {
		return nil, requestError{http.StatusConflict, "timeout policies have no use without connection tracking: ct.enabled is false"}
	}
	if err := s.setPolicy(p, replace); err != nil {
		return nil, policyError(err)
	}
	s.log.Info("timeout policy set", "policy", p.Name, "family", p.Family, "protocol", p.Protocol, "replace", replace)
	for _, status := range s.timeoutList() {
		if status.Name == p.Name && !status.Draining {
			return status, nil
		}
	}
	return nil, requestError{http.StatusNotFound, fmt.Sprintf("timeout policy %q was deleted meanwhile", p.Name)}
}

// readPolicy reads the body of a request. Its errors name the field.
func readPolicy(r *http.Request) (*conf.TimeoutPolicy, error) {
	var text struct {
		Name     string
		Family   conf.Family
		Protocol conf.Tracker
		Timeouts map[string]string
	}
	body := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxPolicyBytes))
	body.DisallowUnknownFields()
	var wrong *json.UnmarshalTypeError
	switch err := body.Decode(&text); {
	case errors.As(err, &wrong) && wrong.Field != "":
		return nil, badRequest("%s: is a JSON %s; want a %s", strings.ToLower(wrong.Field), wrong.Value, wrong.Type.Kind())
	case err != nil:
		return nil, badRequest("body: %v", err)
	}
	if _, err := body.Token(); !errors.Is(err, io.EOF) {
		return nil, badRequest("body: more than one policy")
	}
	timeouts, faults := conf.ParseTimeouts(text.Timeouts)
	p := &conf.TimeoutPolicy{Name: text.Name, Family: text.Family, Protocol: text.Protocol, Timeouts: timeouts}
	if faults = append(faults, p.Validate()...); len(faults) > 0 {
		return nil, faults
	}
	return p, nil
}

// TimeoutDeletion answers POST /v1/timeouts/delete.
type TimeoutDeletion struct {
	Deleted []string `json:"deleted"`
}

// postTimeoutDelete deletes ?name=, or all with ?all=true. Source: TO-5.
func (s *Switch) postTimeoutDelete(r *http.Request) (any, error) {
	all, err := flagOf(r, "all")
	if err != nil {
		return nil, err
	}
	names := []string{r.URL.Query().Get("name")}
	switch {
	case all == (names[0] != ""):
		return nil, badRequest("name, or all=true: give one of them")
	case all:
		names = s.deletePolicies()
	default:
		if err := s.deletePolicy(names[0]); err != nil {
			return nil, policyError(err)
		}
	}
	s.log.Info("timeout policies deleted", "policies", names)
	return TimeoutDeletion{append([]string{}, names...)}, nil
}

// flagOf reads a parameter that is true or false, or 1 or 0, or left out for false.
func flagOf(r *http.Request, name string) (bool, error) {
	switch text := r.URL.Query().Get(name); text {
	case "", "false", "0":
		return false, nil
	case "true", "1":
		return true, nil
	default:
		return false, badRequest("%s: %q is neither true nor false", name, text)
	}
}

// policyError gives what the registry refuses its status.
func policyError(err error) error {
	switch {
	case errors.Is(err, ct.ErrPolicyUnknown):
		return requestError{http.StatusNotFound, err.Error()}
	case errors.Is(err, ct.ErrPolicyExists), errors.Is(err, ct.ErrPolicyKind):
		return requestError{http.StatusConflict, err.Error()}
	}
	return err
}

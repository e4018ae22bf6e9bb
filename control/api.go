package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ffwd/conf"
)

// Bounds on what one request makes us do. What is sent is described in
// docs/api.md; names and shapes stay.
const (
	defaultLimit = 1000
	maxLimit     = 10_000
)

// endpoint is one path of the API, the only method it takes, and the parameters that its
// query may have.
type endpoint struct {
	method, path string
	parameters   []string
	answer       func(*http.Request) (any, error)
	stream       func(http.ResponseWriter, *http.Request) // in place of answer
}

// apiHandler serves the API. Every answer is JSON, errors too.
func (s *Switch) apiHandler() http.Handler {
	flows := func(others ...string) []string { return slices.Concat(filterKeys, others) }
	mux := http.NewServeMux()
	for _, e := range []endpoint{
		{http.MethodGet, "/v1/ports", nil, s.getPorts, nil},
		{http.MethodGet, "/v1/workers", nil, s.getWorkers, nil},
		{http.MethodGet, "/v1/drops", nil, s.getDrops, nil},
		{http.MethodGet, "/v1/punts", nil, s.getPunts, nil},
		{http.MethodGet, "/v1/mirror", nil, s.getMirror, nil},
		{http.MethodGet, "/v1/flows", flows("limit", "after"), s.getFlows, nil},
		{http.MethodGet, "/v1/flows/stream", flows("format", "limit"), nil, s.streamFlows},
		{http.MethodGet, "/v1/flows/events", flows(), nil, s.streamFlowEvents},
		{http.MethodGet, "/v1/flows/count", flows(), s.countFlows, nil},
		{http.MethodPost, "/v1/flows/delete", flows("all"), s.deleteFlows, nil},
		{http.MethodGet, "/v1/routes", []string{"limit", "after", "vrf", "prefix", "origin", "to"}, s.getRoutes, nil},
		{http.MethodGet, "/v1/rules", []string{"limit", "from"}, s.getRules, nil},
		{http.MethodGet, "/v1/queues", nil, s.getQueues, nil},
		{http.MethodGet, "/v1/timeouts", nil, s.getTimeouts, nil},
		{http.MethodPost, "/v1/timeouts/set", []string{"replace"}, s.postTimeout, nil},
		{http.MethodPost, "/v1/timeouts/delete", []string{"name", "all"}, s.postTimeoutDelete, nil},
		{http.MethodGet, "/v1/config", []string{"format"}, s.getConfig, nil},
		{http.MethodGet, "/v1/report", nil, func(*http.Request) (any, error) { return s.Report(), nil }, nil},
		{http.MethodPost, "/v1/reload", []string{"name"}, s.postReload, nil},
	} {
		mux.Handle(e.path, e)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusNotFound, apiError{Error: fmt.Sprintf("no such path: %s", r.URL.Path)})
	})
	return mux
}

// checkQuery refuses what an endpoint does not understand: a parameter left out could mean
// that more is listed, or deleted, than was meant.
func (e endpoint) checkQuery(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return badRequest("query: %v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch given := values[name]; {
		case len(e.parameters) == 0:
			return badRequest("%s: %s has no parameters", name, e.path)
		case !slices.Contains(e.parameters, name):
			return badRequest("%s: no such parameter: %s has %s", name, e.path, strings.Join(e.parameters, ", "))
		case len(given) > 1:
			return badRequest("%s: given %d times", name, len(given))
		case given[0] == "" && name != "after": // which goes on behind nothing in a client's first round
			return badRequest("%s: is empty: leave it out", name)
		}
	}
	return nil
}

// ServeHTTP checks method and query, asks, and writes the answer.
func (e endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != e.method {
		w.Header().Set("Allow", e.method)
		writeJSON(w, http.StatusMethodNotAllowed, apiError{Error: fmt.Sprintf("%s takes %s only", e.path, e.method)})
		return
	}
	if err := e.checkQuery(r.URL.RawQuery); err != nil {
		refuse(w, err)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxDocument)
	if e.stream != nil {
		e.stream(w, r)
		return
	}
	answer, err := e.answer(r)
	// A reload of a large table may take longer than its client gets to take the answer.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout))
	if err != nil {
		refuse(w, err)
		return
	}
	if text, ok := answer.([]byte); ok {
		w.Header().Set("Content-Type", "application/toml")
		w.Write(text)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// apiError is the body of every answer that is not 200.
type apiError struct {
	Error   string        `json:"error"`
	Faults  conf.Faults   `json:"faults,omitempty"`  // of a configuration
	Restart []conf.Change `json:"restart,omitempty"` // what a reload cannot change
}

// requestError is an error of the client's.
type requestError struct {
	status int
	text   string
}

func (e requestError) Error() string { return e.text }

func badRequest(format string, args ...any) error {
	return requestError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// describe turns an error into a status and a body.
func describe(err error) (int, apiError) {
	body := apiError{Error: err.Error()}
	var tooLarge *http.MaxBytesError
	var request requestError
	var refused *restartRefusal
	switch {
	case errors.As(err, &request):
		return request.status, body
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge, body
	case errors.As(err, &body.Faults):
		return http.StatusUnprocessableEntity, body
	case errors.As(err, &refused):
		body.Restart = refused.changes
		return http.StatusConflict, body
	case errors.Is(err, ErrStuck):
		return http.StatusServiceUnavailable, body
	}
	return http.StatusInternalServerError, body
}

// refuse answers with an error.
func refuse(w http.ResponseWriter, err error) {
	status, body := describe(err)
	writeJSON(w, status, body)
}

// writeJSON writes an answer. A client that went away is no concern of ours.
func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// limitOf reads ?limit=.
func limitOf(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		return 0, badRequest("limit: %q is not a number in 1..%d", text, maxLimit)
	}
	return n, nil
}

func (s *Switch) getConfig(r *http.Request) (any, error) {
	c := s.Config()
	switch format := r.URL.Query().Get("format"); format {
	case "", "json":
		return c, nil
	case "toml":
		return c.TOML(), nil
	default:
		return nil, badRequest("format: %q is neither json nor toml", format)
	}
}

// postReload takes a TOML document, or neither that nor its name for the file the switch was
// started from: a named one that is empty is faulty, as any other. One reload runs at a time; a client that is slow to send its document does not
// keep others from theirs.
func (s *Switch) postReload(r *http.Request) (any, error) {
	doc, release, err := s.documents.read(r.Body)
	if err != nil {
		return nil, err
	}
	defer release()
	if !s.reloading.TryLock() {
		return nil, requestError{http.StatusConflict, "another reload is under way: try again"}
	}
	defer s.reloading.Unlock()
	name := r.URL.Query().Get("name")
	if len(doc) == 0 && name == "" {
		return s.answerReload(s.ReloadSource())
	}
	if name == "" {
		name = "configuration"
	}
	next, err := conf.ParseSent(s.Config(), name, doc, s.knownPolicies()...)
	if err != nil {
		return nil, err
	}
	return s.answerReload(s.apply(next))
}

func (s *Switch) answerReload(changes conf.Changes, err error) (any, error) {
	if err != nil {
		s.log.Warn("reload refused, the last configuration runs on", "error", err)
		return nil, err
	}
	return changes, nil
}

package control

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// onceOf is a configuration of a switch that gets so many flows, once, and keeps them.
func onceOf(t *testing.T, flows int) string {
	return strings.NewReplacer(",infinite_rx=1", "", "max_flows = 1024", "max_flows = 4096").Replace(trafficOf(t, flows, "", "")) + "[ct.timeouts.udp]\nunreplied = \"1h\"\n"
}

// awaitCount waits until there are so many flows.
func awaitCount(t *testing.T, s *Switch, flows int) {
	t.Helper()
	await(t, fmt.Sprint(flows, " flows"), func() string {
		if _, text := ask(t, s, "GET", "/v1/flows/count", ""); text != fmt.Sprintf("{\"flows\":%d}\n", flows) {
			return text
		}
		return ""
	})
}

func quiet(t *testing.T) *Switch {
	t.Helper()
	s := startTest(t, onceOf(t, trafficFlows))
	awaitCount(t, s, trafficFlows)
	return s
}

// CT-10: pages of any size, put together, and a stream have each flow that the filter
// chooses, once.
func TestFlowPagesAndStreams(t *testing.T) {
	s := quiet(t)
	names := func(flows []FlowStatus) (list []string) {
		for _, f := range flows {
			list = append(list, fmt.Sprint(f.Protocol, f.Original, f.Zone))
		}
		return list
	}
	some := expiry(t, s)[7]
	for query, want := range map[string]int{"": trafficFlows, "proto=udp": trafficFlows, "proto=tcp": 0,
		fmt.Sprintf("src=%s&sport=%d", some.Original.Src, some.Original.SrcPort): 1} {
		var whole []string
		for limit := 1; limit < trafficFlows+2; limit++ {
			var paged []string
			for after := ""; ; {
				var list FlowList
				status, text := ask(t, s, "GET", fmt.Sprintf("/v1/flows?limit=%d&after=%s&%s", limit, after, query), "")
				if err := json.Unmarshal([]byte(text), &list); err != nil || status != 200 || len(list.Flows) > limit {
					t.Fatalf("%q by %d: %d %v %s", query, limit, status, err, text)
				}
				paged = append(paged, names(list.Flows)...)
				if after = list.Next; after == "" {
					break
				}
			}
			status, text := ask(t, s, "GET", fmt.Sprintf("/v1/flows/stream?limit=%d&%s", limit, query), "")
			var streamed []FlowStatus
			for line := range strings.Lines(text) {
				var f FlowStatus
				if err := json.Unmarshal([]byte(line), &f); err != nil {
					t.Fatalf("%v: %s", err, line)
				}
				streamed = append(streamed, f)
			}
			if whole == nil {
				whole = paged
			}
			if len(paged) != want || !slices.Equal(paged, whole) || status != 200 || !slices.Equal(names(streamed), whole[:min(limit, want)]) {
				t.Fatalf("%q by %d: %d pages %v\nstream %v\nwant %d %v", query, limit, status, paged, names(streamed), want, whole)
			}
		}
		if unique := slices.Compact(slices.Sorted(slices.Values(whole))); len(unique) != want {
			t.Errorf("%q: %v", query, whole)
		}
	}
	if status, text := ask(t, s, "GET", "/v1/flows/stream?format=text&limit=2", ""); status != 200 || strings.Count(text, "\n") != 2 ||
		!strings.HasPrefix(text, "ipv4     2 udp      17 ") {
		t.Errorf("%d %s", status, text)
	}
}

// CT-9: a client that takes nothing holds up no worker, and none of the others; one that
// leaves ends its stream.
func TestIdleClientOfAStream(t *testing.T) {
	s := quiet(t)
	socket := s.Config().Control.Socket
	for range 3 {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET /v1/flows/stream HTTP/1.1\r\nHost: ffwd\r\n\r\n")
	}
	if status, text := ask(t, s, "GET", "/v1/flows/stream?limit=1", ""); status != 200 || strings.Count(text, "\n") != 1 {
		t.Errorf("%d %s", status, text)
	}
}

// stickingWriter is a client that, when it is given a piece, has the worker stick.
type stickingWriter struct {
	*httptest.ResponseRecorder
	q      *stickingRx
	pieces int
}

func (w *stickingWriter) Write(b []byte) (int, error) {
	if w.pieces++; w.pieces == 1 {
		w.q.stick.Store(true)
		<-w.q.inside
	}
	return w.ResponseRecorder.Write(b)
}

// CT-9: a listing whose worker sticks is broken off; before its first line there is an error.
func TestStreamOfAStuckWorkerBreaksOff(t *testing.T) {
	const flows = 2 * flowBatch
	s, q := startSticking(t, onceOf(t, flows))
	awaitCount(t, s, flows)
	w := &stickingWriter{ResponseRecorder: httptest.NewRecorder(), q: q}
	broken := func() (broken any) {
		defer func() { broken = recover() }()
		s.streamFlows(w, httptest.NewRequest(http.MethodGet, "/v1/flows/stream", nil))
		return nil
	}()
	if lines := bytes.Count(w.Body.Bytes(), []byte("\n")); broken != http.ErrAbortHandler || w.pieces != 1 || lines != flowBatch {
		t.Errorf("ended with %v behind %d lines in %d pieces", broken, lines, w.pieces)
	}
	if status, text := ask(t, s, "GET", "/v1/flows/stream", ""); status != 503 || !strings.Contains(text, "worker stuck") {
		t.Errorf("before the first line: %d %s", status, text)
	}
}

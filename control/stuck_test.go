package control

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/goleak"

	"ffwd/conf"
	"ffwd/pipeline"
)

// stickingRx is a receive queue in which a worker stays when it is told to.
type stickingRx struct {
	pipeline.RxQueue
	stick   atomic.Bool
	inside  chan struct{} // closed when a worker is in it
	release chan struct{} // closed to let it go
}

func (q *stickingRx) Rx(dst unsafe.Pointer, max int) int {
	if q.stick.CompareAndSwap(true, false) {
		close(q.inside)
		<-q.release
	}
	return q.RxQueue.Rx(dst, max)
}

// startSticking starts a switch whose first worker sticks when told. At the end of the
// test it is let go, and everything taken down that Stop left.
func startSticking(t *testing.T, doc string) (*Switch, *stickingRx) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	q := &stickingRx{inside: make(chan struct{}), release: make(chan struct{})}
	s := newSwitch(NewLogger(io.Discard, conf.Log{}))
	s.runtime = testRuntime
	insert := func(c *conf.Config) error {
		w := s.workers[0]
		pc, err := s.wire(c, 0, w)
		if err != nil {
			return err
		}
		q.RxQueue = pc.Rx[0].Queue
		pc.Rx[0].Queue = q
		if err := w.Close(); err != nil {
			return err
		}
		w.Worker, err = pipeline.NewWorker(pc)
		return err
	}
	if err := s.inTurn(parse(t, doc), s.takeSockets, s.assemble, insert, s.begin); err != nil {
		t.Fatal(errors.Join(err, s.unwind()))
	}
	t.Cleanup(func() {
		close(q.release)
		err := s.Stop(context.Background())
		for _, w := range s.workers {
			<-w.ended
		}
		if errors.Is(err, ErrStuck) {
			err = s.unwind()
		}
		if err != nil {
			t.Error(err)
		}
		if len(testRuntime.Ports()) != 0 {
			t.Error("ports are still open")
		}
		if err := goleak.Find(before); err != nil {
			t.Error(err)
		}
	})
	return s, q
}

// stickingPorts has a second worker that goes on, and a policy to detach.
func stickingPorts() string {
	doc := twoPorts + webPolicy
	if runtime.NumCPU() > 1 {
		doc = strings.Replace(doc, "cores = [0]", "cores = [0, 1]", 1)
	}
	return doc
}

// FF-12, CT-9: with a worker stuck, every request ends, the others' figures go on, and
// Stop says what is wrong, all in bounded time.
func TestStuckWorker(t *testing.T) {
	s, q := startSticking(t, stickingPorts())
	for s.Report().Workers[0].Packets < 1000 {
		runtime.Gosched()
	}
	q.stick.Store(true)
	<-q.inside
	start := time.Now()
	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v1/flows", "", 503, "worker stuck: worker 0 does not come back"},
		{"GET", "/v1/flows/events", "", 503, "worker stuck"},
		{"POST", "/v1/flows/delete?all=1", "", 503, "worker stuck"},
		{"GET", "/v1/routes", "", 503, "worker stuck"},
		{"GET", "/v1/rules", "", 503, "worker stuck"},
		{"GET", "/v1/workers", "", 200, `"stuck":true`},
		{"GET", "/v1/report", "", 200, `"received":`},
		{"POST", "/v1/timeouts/delete?all=true", "", 200, "web"}, // and drainPolicies tries to detach it
		{"POST", "/v1/reload", string(s.Config().TOML()), 200, ""},
	} {
		status, text := ask(t, s, tc.method, tc.path, tc.body)
		if status != tc.status || !strings.Contains(text, tc.want) {
			t.Errorf("%s %s: %d %s, want %d with %q", tc.method, tc.path, status, text, tc.status, tc.want)
		}
	}
	a := s.Report()
	if !a.Workers[0].Stuck || a.Workers[0].Packets < 1000 {
		t.Errorf("the stuck worker's figures: %+v", a.Workers[0])
	}
	if len(s.workers) > 1 && (a.Workers[1].Stuck || s.Report().Workers[1].Polls == a.Workers[1].Polls) {
		t.Errorf("the other worker does not go on: %+v", a.Workers[1])
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("requests took %v", took)
	}
	stopping := time.Now()
	err := s.Stop(context.Background())
	if took := time.Since(stopping); !errors.Is(err, ErrStuck) || took > 3*stopTimeout {
		t.Errorf("Stop took %v: %v", took, err)
	}
	if !strings.Contains(err.Error(), "worker 0 on core 0") || strings.Contains(err.Error(), "worker 1") {
		t.Errorf("the error does not name the worker, or others: %v", err)
	}
	if r := s.Report(); !r.Workers[0].Stuck { // what the command prints at its end
		t.Errorf("%+v", r.Workers[0])
	}
}

// CT-9: a worker that stalls shows in the metrics, while what was retired waits for it.
func TestStalledWorkerShowsInTheMetrics(t *testing.T) {
	s, q := startSticking(t, stickingPorts())
	before := metricOf(t, s, "ffwd_epoch_lag_seconds")
	q.stick.Store(true)
	<-q.inside
	freed := make(chan struct{})
	retired := time.Now()
	s.epoch.Retire(func() { close(freed) })
	for metricOf(t, s, "ffwd_epoch_lag_seconds") < 0.2 {
		runtime.Gosched()
	}
	if lag, most := metricOf(t, s, "ffwd_epoch_lag_seconds"), time.Since(retired).Seconds(); before != 0 || lag > most {
		t.Errorf("the lag was %v and is %v after %v s", before, lag, most)
	}
	if metricOf(t, s, "ffwd_worker_stuck") != 1 {
		t.Error("the stuck worker does not show")
	}
	select {
	case <-freed:
		t.Error("freed under the eyes of a worker")
	default:
	}
	q.release <- struct{}{}
	<-freed
	for metricOf(t, s, "ffwd_worker_stuck") != 0 || metricOf(t, s, "ffwd_epoch_lag_seconds") != 0 {
		runtime.Gosched()
	}
}

// metricOf returns the largest value of a gauge, over its labels, as a scrape has it.
func metricOf(t *testing.T, s *Switch, name string) (largest float64) {
	t.Helper()
	families, err := s.registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.Metric {
				found, largest = true, max(largest, m.Gauge.GetValue())
			}
		}
	}
	if !found {
		t.Fatalf("no metric %s", name)
	}
	return largest
}

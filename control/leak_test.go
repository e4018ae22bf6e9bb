package control

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"ffwd/bindings"
	"ffwd/conf"
)

// FF-12: Stop finds the mbuf that somebody keeps, and takes everything down all the same.
func TestLeakIsFound(t *testing.T) {
	s := newSwitch(NewLogger(io.Discard, conf.Log{}))
	s.runtime = testRuntime
	if _, err := s.start(parse(t, twoPorts), s.takeSockets, s.assemble, s.begin); err != nil {
		t.Fatal(err)
	}
	array := bindings.NewMbufArray(1)
	defer bindings.FreeMbufArray(array)
	pool := testRuntime.Pools()[0]
	if !pool.Alloc(array, 1) {
		t.Fatal("pool is empty")
	}
	err := s.Stop(context.Background())
	if !errors.Is(err, ErrLeak) || errors.Is(err, ErrConservation) || !strings.Contains(err.Error(), "1 of 8191 mbufs") {
		t.Errorf("one mbuf is missing, and Stop says: %v", err)
	}
	pool.Free(array, 1)
	if len(testRuntime.Ports()) != 0 || s.checkPools() != nil {
		t.Errorf("%d ports are open; pools: %v", len(testRuntime.Ports()), s.checkPools())
	}
}

// FF-12: one packet too many or too few, wherever it is counted, is found.
func TestImbalanceIsFound(t *testing.T) {
	s := startTest(t, twoPorts)
	for s.Received() == 0 {
		runtime.Gosched()
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	last := s.read()
	if err := s.checkConservation(last); err != nil {
		t.Fatal(err)
	}
	counters := &last.workers[0].counters
	for name, n := range map[string]*uint64{
		"received": &counters.Received, "created": &counters.Created, "taken over": &counters.TakenOver,
		"transmitted": &counters.Transmitted, "handed over": &counters.HandedOver, "dropped": &counters.Drops[1],
	} {
		for _, change := range []uint64{1, ^uint64(0)} {
			*n += change
			if err := s.checkConservation(last); !errors.Is(err, ErrConservation) {
				t.Errorf("%s is off by %d: %v", name, int64(change), err)
			}
			*n -= change
		}
	}
	counters.Received++
	counters.HandedOver++ // adds up for the worker, but nobody took it over
	if err := s.checkConservation(last); !errors.Is(err, ErrConservation) {
		t.Errorf("a packet lost between workers: %v", err)
	}
}

package pmd

import (
	"fmt"
	"os"
	"testing"
)

// testRuntime is the one runtime of this test process: DPDK starts once. It needs no
// privileges: no huge pages, software devices only.
var testRuntime *Runtime

func TestMain(m *testing.M) {
	var err error
	testRuntime, err = Start(Options{Mbufs: 8191, CacheSize: 256, MaxMTUBytes: 9000})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := testRuntime.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "close:", err)
		code = 1
	}
	os.Exit(code)
}

// checkPools fails the test at its end if it leaves a port open or keeps an mbuf.
func checkPools(t testing.TB) {
	t.Helper()
	t.Cleanup(func() {
		for _, p := range testRuntime.Ports() {
			t.Errorf("port %s left open", p.Name())
			p.Close()
		}
		for _, p := range testRuntime.Pools() {
			if p.Available() != p.Size() {
				t.Errorf("mempool %s: %d of %d mbufs missing", p.Name(), p.Size()-p.Available(), p.Size())
			}
		}
	})
}

// openPort opens and starts a port, and closes it at the end of the test.
func openPort(t testing.TB, c PortConfig) *Port {
	t.Helper()
	if c.RxQueues == 0 {
		c.RxQueues = 1
	}
	if c.TxQueues == 0 {
		c.TxQueues = 1
	}
	p, err := testRuntime.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

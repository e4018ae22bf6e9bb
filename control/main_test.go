package control

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"ffwd/conf"
	"ffwd/pmd"
)

// testRuntime is the one runtime of this test process: DPDK starts once.
var testRuntime *pmd.Runtime

func TestMain(m *testing.M) {
	var err error
	if testRuntime, err = pmd.Start(pmd.Options{Mbufs: 8191, MaxMTUBytes: 1500}); err != nil {
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

// parse makes a configuration of a document in which SOCKET stands for a path in
// a directory of the test's.
func parse(t *testing.T, doc string) *conf.Config {
	t.Helper()
	c, err := conf.Parse("test.toml", []byte(strings.ReplaceAll(doc, "SOCKET", filepath.Join(t.TempDir(), "ffwd.sock"))))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// small is what the tests' switches have in common.
const small = `
[eal]
huge_pages = "off"
[workers]
cores = [0]
[slow_path]
enabled = "off"
[control]
socket = "SOCKET"
[metrics]
address = ""
[ct]
max_flows = 1024
max_flows_ipv6 = 1024
[fib] # the race detector has shadows of all of it
max_routes_ipv4 = 131072
max_routes_ipv6 = 4096
max_next_hops = 4096
`

// twoPorts is a switch that receives packets of zeros for ever, which no check
// lets pass, and has routes for any others.
const twoPorts = small + `
[[ports]]
name = "lan"
device = "net_null0"
addresses = ["10.1.1.1/24", "fd01:1::1/64"]
[[ports]]
name = "lan.7"
parent = "lan"
vlan = 7
vrf = 3
addresses = ["10.1.1.1/24"]
[[ports]]
name = "wan"
device = "net_null1,no-rx=1"
addresses = ["10.2.2.1/24"]
[[neighbours]]
port = "wan"
address = "10.2.2.2"
mac = "02:00:00:00:02:02"
[[routes]]
prefix = "0.0.0.0/0"
via = "10.2.2.2"
`

// startTest starts a switch on the test's runtime. At the end of the test it is
// stopped; its packets must add up, its mbufs and goroutines must be gone.
func startTest(t *testing.T, doc string) *Switch {
	t.Helper()
	before := goleak.IgnoreCurrent()
	s := newSwitch(NewLogger(io.Discard, conf.Log{}))
	s.runtime = testRuntime
	if _, err := s.start(parse(t, doc), s.takeSockets, s.assemble, s.begin); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if err := goleak.Find(before); err != nil {
			t.Error(err)
		}
	})
	return s
}

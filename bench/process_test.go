package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Output of dpdk-testpmd 22.11 as it was.
func testdata(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestParseTestpmd(t *testing.T) {
	forwarding := testdata(t, "testpmd-forwarding.txt")
	if pps, err := parseTestpmd(forwarding); err != nil || pps != 67584360 {
		t.Errorf("%v packets/s, %v; want the second figure shown", pps, err)
	}
	for name, c := range map[string]struct{ output, want string }{
		"few mbufs":  {testdata(t, "testpmd-few-mbufs.txt"), "Not enough mbufs"},
		"no memory":  {testdata(t, "testpmd-no-memory.txt"), "Cause: Creation of mbuf pool"},
		"shown once": {forwarding[:strings.LastIndex(forwarding, "Rx-pps:")], "1 times"},
		"cut short":  {forwarding[:strings.LastIndex(forwarding, "Rx-pps:")+len("Rx-pps:")], "break off"},
		"nothing":    {"", "it said nothing"},
	} {
		if _, err := parseTestpmd(c.output); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func testSetup() *setup {
	return &setup{
		load: load{flows: 60_000, replies: true, workers: 2}, files: []string{"/d/a.pcap", "/d/b.pcap"},
		cores: []int{3, 2}, huge: true, dataRoom: 256, warmup: time.Second, duration: 2 * time.Second,
	}
}

func TestTestpmdArgs(t *testing.T) {
	s := testSetup()
	got := strings.Join(testpmdArgs("io", s), " ")
	want := "--lcores 0@0,1@3,2@2 --no-pci --no-telemetry --in-memory" +
		" --vdev net_pcap0,rx_pcap=/d/a.pcap,rx_pcap=/d/b.pcap,infinite_rx=1 --vdev net_null0,no-rx=1" +
		" -- -i --auto-start --forward-mode=io --burst=64 --rxq=2 --txq=2 --nb-cores=2" +
		" --total-num-mbufs=128192 --mbuf-size=256 --mbcache=256"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	s.huge = false
	if got := strings.Join(testpmdArgs("macswap", s), " "); !strings.Contains(got, " --no-huge --no-shconf -m ") || !strings.Contains(got, "forward-mode=macswap") {
		t.Errorf("without huge pages: %s", got)
	}
	if got := mainCore([]int{1, 0}, 2); got != 0 {
		t.Errorf("main core %d beside workers on all cores, want that of the last worker", got)
	}
}

// program writes a shell script to stand for a program.
func program(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConversation(t *testing.T) {
	s := testSetup()
	s.warmup, s.duration = time.Millisecond, time.Millisecond
	for name, c := range map[string]struct{ script, want string }{
		// Answers each "show" and keeps reading, as testpmd does.
		"good": {`printf 'testpmd> '; n=0
			while read line; do case "$line" in
			show*) echo "  Rx-pps: ${n}000000"; n=42;;
			quit) exit 0;; esac; done`, ""},
		"no prompt":      {`echo 'EAL: Error - exiting with code: 1'; echo '  Cause: no memory'; exit 1`, "Cause: no memory"},
		"dies":           {`printf 'testpmd> '; read line; echo 'cannot go on'; exit 3`, "cannot go on"},
		"port not there": {`printf 'testpmd> '; while read line; do [ "$line" = quit ] && exit 0; done`, "0 times"},
	} {
		p := &processes{testpmdPath: program(t, c.script)}
		m, err := p.testpmd(context.Background(), "io", s)
		switch {
		case c.want == "" && (err != nil || m.mpps != 42):
			t.Errorf("%s: %v Mpps, %v", name, m.mpps, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestCancelEndsTheProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	s := testSetup()
	p := &processes{testpmdPath: program(t, "exec cat"), ffwdPath: program(t, "exec cat /dev/zero >/dev/null"), dir: t.TempDir()}
	cancel()
	if _, err := p.testpmd(ctx, "io", s); !errors.Is(err, context.Canceled) {
		t.Errorf("testpmd: %v", err)
	}
	if _, err := p.ffwd(ctx, variant{routes: 1}, s); !errors.Is(err, context.Canceled) {
		t.Errorf("ffwd: %v", err)
	}
}

const goodReport = `{"duration_s": 2, "clock_hz": 2e9, "workers": [
	{"core": 3, "packets": 10, "stages": [{"name": "parse", "cycles_per_packet": 10}, {"name": "route", "cycles_per_packet": 4}]},
	{"core": 2, "packets": 10, "stages": [{"name": "parse", "cycles_per_packet": 20}, {"name": "route", "cycles_per_packet": 6}]}],
	"ports": [{"name": "in", "rx_packets": 40000000, "tx_packets": 0}, {"name": "out", "rx_packets": 0, "tx_packets": 39999000}],
	"drops": {"no_route": 0}, "punts": {}, "gc": {"cycles": 1},
	"flows": {"ipv4": 5, "created": 8000000, "table_bytes_per_flow": 104.5}, "allocs_per_packet": 0}`

func TestFfwdReport(t *testing.T) {
	p := &processes{ffwdPath: program(t, `test "$1 $2 $4 $5 $6 $7 $8" = "run -c --warmup 2.5s --duration 2s --json" && test -s "$3" && echo '`+goodReport+`'`), dir: t.TempDir()}
	m, err := p.ffwd(context.Background(), variant{scenario: stateful, routes: 1}, testSetup())
	if err != nil {
		t.Fatal(err)
	}
	if m.mpps != 19.9995 || m.newFlowsPerS != 2e6 || m.newFlowShare != 0.2 || m.tableBytesPerFlow != 104.5 || m.allocsPerPacket == nil || *m.allocsPerPacket != 0 {
		t.Errorf("%+v", m)
	}
	if want := []Stage{{"parse", 15}, {"route", 5}}; !slices.Equal(m.stages, want) {
		t.Errorf("stages %v, want the workers' mean %v", m.stages, want)
	}
}

func TestFfwdFailures(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"exit code":  {`echo 'ffwd: start: port in: no such file' >&2; exit 1`, "port in"},
		"no report":  {`echo hello`, "report of"},
		"no packets": {`echo '{"duration_s": 1, "workers": [{}]}'`, "received 0 packets"},
		"losses": {`echo '{"duration_s": 1, "workers": [{}], "drops": {"not_our_mac": 70, "martian": 0}, "punts": {"arp": 1},
			"ports": [{"name": "in", "rx_packets": 100}, {"name": "out", "tx_packets": 29}]}'`, "forwarded 29 of 100 packets; dropped: not_our_mac 70; punted: arp 1"},
	} {
		p := &processes{ffwdPath: program(t, c.script), dir: t.TempDir()}
		if _, err := p.ffwd(context.Background(), variant{routes: 1}, testSetup()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

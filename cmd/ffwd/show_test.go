package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ffwd/control"
)

// The client commands print a table and JSON of a running switch.
func TestShow(t *testing.T) {
	b := newBed(t)
	config := b.config("c.toml")
	p := b.start(config)
	b.awaitReceived(bedPackets)
	for _, tc := range []struct{ what, text, field string }{
		{"ports", "net_pcap", `"rx_packets": 1000`},
		{"workers", "ns/packet", `"busy_ratio"`},
		{"drops", "received", `"transmitted": 1000`},
		{"mirror", "no slow path: slow_path.enabled is off", `"on": false`},
		{"punts", "no slow path: slow_path.enabled is off", `"on": false`},
		{"flows", "UNREPLIED", `"state":"UNREPLIED"`},
		{"rules", "default", `"defaults"`},
		{"routes", "via 192.168.2.2 on out 02:00:00:00:01:02", `"via": "192.168.2.2"`},
		{"config", "[[ports]]", `"socket": "` + b.path("run/ffwd.sock") + `"`},
	} {
		r := call(t, "show", tc.what, "-c", config)
		if r.code != exitOK || !strings.Contains(r.stdout, tc.text) {
			t.Errorf("show %s: exit code %d, no %q in\n%s%s", tc.what, r.code, tc.text, r.stdout, r.stderr)
		}
		r = call(t, "show", tc.what, "--json", "--socket", b.path("run/ffwd.sock"))
		if r.code != exitOK || !json.Valid([]byte(r.stdout)) || !strings.Contains(r.stdout, tc.field) {
			t.Errorf("show %s --json: exit code %d, no %q in\n%s%s", tc.what, r.code, tc.field, r.stdout, r.stderr)
		}
	}
	for args, want := range map[string]string{
		"routes --vrf 9": "no VRF 9", "routes --prefix x": "is not a prefix", "flows --limit -1": "--limit must not be negative",
		"routes --limit -1": "--limit must not be negative", "rules --limit -1": "--limit must not be negative",
	} { // and no table without its rows
		r := call(t, append([]string{"show", "-c", config}, strings.Fields(args)...)...)
		if r.code == exitOK || r.stdout != "" || !strings.Contains(r.stderr, want) {
			t.Errorf("show %s: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	for _, tc := range []struct {
		args       []string
		want, none string
	}{
		{[]string{"--limit", "1"}, "and more", "192.168.2.1/32"},
		{[]string{"--limit", "0"}, "192.168.2.1/32", "and more"},
		{[]string{"--prefix", "192.168.2.0/24"}, "192.168.2.1/32", "192.168.1.1/32"},
		{[]string{"--origin", "connected", "--vrf", "0"}, "192.168.1.0/24", "192.168.1.1/32"},
		{[]string{"--to", "10.9.9.9"}, "  1000  46000  ", "192.168.2.1/32"},
		{[]string{"--to", "192.168.2.1"}, "192.168.2.1/32", "192.168.2.0/24"},
	} {
		r := call(t, append([]string{"show", "routes", "-c", config}, tc.args...)...)
		if r.code != exitOK || !strings.Contains(r.stdout, tc.want) || strings.Contains(r.stdout, tc.none) {
			t.Errorf("%v: exit code %d, want %q and no %q in\n%s%s", tc.args, r.code, tc.want, tc.none, r.stdout, r.stderr)
		}
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	if r := p.wait(); r.code != exitOK {
		t.Errorf("exit code %d:\n%s", r.code, r.stderr)
	}
}

// A good configuration is taken over; of a bad one nothing is.
func TestReload(t *testing.T) {
	b := newBed(t)
	p := b.start(b.config("c.toml", b.endless()...))
	socket := b.path("run/ffwd.sock")
	good := b.config("good.toml", append(b.endless(), "[workers]",
		"[policy]\ndefault_out = \"drop\"\n[[routes]]\nprefix = \"10.0.0.0/8\"\ntype = \"blackhole\"\n[workers]")...)
	if r := call(t, "reload", "--socket", socket, "-c", good); r.code != exitOK || !strings.Contains(r.stdout, "2 changes") {
		t.Fatalf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	bad := []struct {
		name  string
		pairs []string
		code  int
		want  string
	}{
		{"fault", []string{"via = \"192.168.2.2\"", "via = \"192.168.9.9\""}, exitUsage, "bad.toml:28: routes[0].via"},
		{"empty", nil, exitUsage, "empty.toml: ports: is missing"},
		{"restart", []string{"addresses = [\"192.168.2.1/24\"]", "mtu = 1400\naddresses = [\"192.168.2.1/24\"]"}, exitFault, "ports[1].mtu: 1500 -> 1400"},
	}
	before := call(t, "show", "config", "--socket", socket).stdout
	listing := func() (list control.RouteList) {
		json.Unmarshal([]byte(call(t, "show", "routes", "--json", "--socket", socket).stdout), &list)
		for i := range list.Routes { // traffic goes on
			r := &list.Routes[i]
			r.TrafficStatus = control.TrafficStatus{}
			for h := range r.Hops {
				r.Hops[h].TrafficStatus = control.TrafficStatus{}
			}
		}
		return list
	}
	routes := listing()
	for _, tc := range bad {
		file := b.path("empty.toml")
		if tc.pairs != nil {
			file = b.config("bad.toml", append(b.endless(), tc.pairs...)...)
		} else if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		r := call(t, "reload", "--socket", socket, "-c", file)
		if r.code != tc.code || !strings.Contains(r.stderr, tc.want) {
			t.Errorf("%s: exit code %d, want %d and %q: %s", tc.name, r.code, tc.code, tc.want, r.stderr)
		}
	}
	if after := call(t, "show", "config", "--socket", socket).stdout; after != before || !strings.Contains(after, `default_out = "drop"`) {
		t.Errorf("the configuration changed:\n%s", after)
	}
	if after := listing(); !reflect.DeepEqual(after, routes) || !slices.ContainsFunc(after.Routes, func(r control.RouteStatus) bool { return r.Kind == "blackhole" }) {
		t.Errorf("the routes changed:\n%+v", after)
	}
	b.await("drops by the new rules", func(d *control.DropList) bool { return d.Drops["policy_out"] > 0 })
	p.cmd.Process.Signal(syscall.SIGTERM)
	if r := p.wait(); r.code != exitOK {
		t.Errorf("exit code %d:\n%s", r.code, r.stderr)
	}
}

// A second switch does not take the socket of one that runs; what a dead one
// left is replaced.
func TestSocketInUse(t *testing.T) {
	b := newBed(t)
	config := b.config("c.toml", b.endless()...)
	p := b.start(config)
	if r := call(t, "run", "-c", config, "--duration", "100ms"); r.code != exitFault || !strings.Contains(r.stderr, "is in use by another process") {
		t.Errorf("exit code %d:\n%s", r.code, r.stderr)
	} else if strings.Contains(r.stderr, "level=") {
		t.Errorf("it touched a port before it looked:\n%s", r.stderr)
	}
	p.cmd.Process.Kill()
	p.wait()
	if r := call(t, "run", "-c", config, "--duration", "100ms"); r.code != exitOK {
		t.Errorf("with a stale socket: exit code %d:\n%s", r.code, r.stderr)
	}
}

var metricsURL = regexp.MustCompile(`http://[^"\s]+/metrics`)

// Every family is there, and totals are those of the report.
func TestMetrics(t *testing.T) {
	b := newBed(t)
	p := b.start(b.config("c.toml"), "--json", "--idle-exit", "2s")
	url := metricsURL.FindString(p.awaitLog("metrics open"))
	b.awaitReceived(bedPackets)
	body := scrape(t, url)
	for _, family := range []string{
		"port_rx_packets_total", "port_rx_bytes_total", "port_tx_packets_total", "port_tx_bytes_total", "port_link_up",
		"port_rx_missed_total", "port_rx_no_mbuf_total", "port_rx_errors_total", "drops_total", "punts_total",
		"worker_busy_ratio", "worker_polls_total", "flows", "flows_created_total", "flows_expired_total",
		"flows_joined_total", "flows_full_total", "pool_mbufs", "fib_entries", "fib_entries_max", "epoch_lag_seconds", "poll_gap_seconds_bucket",
		"stage_cycles_per_packet", "received_packets_total", "created_packets_total", "transmitted_packets_total",
		"worker_handed_over_packets_total", "rule_packets_total", "rule_bytes_total", "tcp_resets_total",
	} {
		if !regexp.MustCompile(`(?m)^ffwd_` + family + `[ {]`).MatchString(body) {
			t.Errorf("no ffwd_%s", family)
		}
	}
	for _, other := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(body, "\n"+other+" ") {
			t.Errorf("no %s", other)
		}
	}
	report := decodeReport(t, p.wait())
	if want := `ffwd_port_rx_packets_total{port="in"} 1000`; report.Received != bedPackets || !strings.Contains(body, want) {
		t.Errorf("no %q in the scrape, %d received", want, report.Received)
	}
}

func scrape(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", response.Status, err)
	}
	return string(body)
}

// FF-12, at every instant the counters are read.
func TestConservationUnderLoad(t *testing.T) {
	if len(usableCores()) < 2 {
		t.Skip("needs two cores")
	}
	b := newBed(t)
	p := b.start(b.config("c.toml", append(b.endless(), "cores = ["+usableCores()[len(usableCores())-1]+"]", "cores = [0, 1]")...), "--json")
	f := socketFlags{socket: b.path("run/ffwd.sock")}
	c, err := f.client()
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for range 100 {
		var report control.Report
		if err := c.get("/v1/report", nil, &report); err != nil {
			t.Fatal(err)
		}
		checkConservation(t, &report)
		if report.Received < last {
			t.Errorf("%d received after %d", report.Received, last)
		}
		last = report.Received
	}
	b.awaitReceived(last + 1) // it was traffic that was looked at
	p.cmd.Process.Signal(syscall.SIGTERM)
	decodeReport(t, p.wait())
}

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ffwd/capture"
)

func TestPeersFollowTheirVariants(t *testing.T) {
	f := newFakeRunner(func(name string, _ int) (sample, error) {
		switch {
		case name == "io":
			return sample{mpps: 100}, nil // 10 ns
		case strings.HasPrefix(name, "l3fwd"):
			return sample{mpps: 50}, nil // 20 ns: 10 above the floor
		}
		return sample{mpps: 25}, nil // 40 ns: 30 above the floor
	})
	o := Options{Peers: true, OVS: true, Flows: []int{1000}, Scenarios: []string{stateful, stateless, tableLookup}, Repetitions: 2}
	rows, err := fakeRun(t, context.Background(), o, f)
	if err != nil {
		t.Fatal(err)
	}
	once := []string{"io", "stateful 1", "l3fwd-em 0", "ovs-ct 0", "stateful 100000", "stateless 1", "l3fwd-fib 1"}
	if want := append(append(slices.Clone(once), once...), "ct 1000", "rte_hash 1000", "ct 1000", "rte_hash 1000"); !slices.Equal(f.log, want) {
		t.Errorf("order %v, want %v", f.log, want)
	}
	peers := map[string]string{}
	for _, r := range rows {
		for _, p := range r.Peers {
			peers[fmt.Sprint(r.Scenario, " ", r.Routes)] += fmt.Sprintf("%s %.1f ", p.Name, p.Ratio)
		}
	}
	want := map[string]string{"stateful 1": "l3fwd-em 3.0 ovs-ct 1.0 ", "stateful 100000": "l3fwd-em 3.0 ovs-ct 1.0 ", "stateless 1": "l3fwd-fib 3.0 ",
		"ct-lookup 0": "rte_hash_lookup_bulk 1.0 ", "ct-insert 0": "rte_hash_add_key 1.0 "}
	if fmt.Sprint(peers) != fmt.Sprint(want) {
		t.Errorf("compared %v, want %v", peers, want)
	}
	if last := rows[len(rows)-4]; last.Scenario != tableLookup || last.NsPerPacket != 25 || last.NsAboveFloor != 25 || last.RatioToFloor != 0 {
		t.Errorf("row of a table %+v, want 25 ns and no floor", last)
	}
}

// A floor that a neighbour disturbed lies above what it carries: no ratio then.
func TestNoRatioWithoutAFloor(t *testing.T) {
	rows := []Result{{Scenario: ioFloor, NsPerPacket: 30}, {Scenario: stateless, NsPerPacket: 25}, {Scenario: l3fwdFIB, NsPerPacket: 20}}
	compareWithFloor(rows)
	compareWithPeers(rows, []*contender{{}, {peers: []peer{{name: l3fwdFIB}}}, {self: peer{name: l3fwdFIB}}})
	if p := rows[1].Peers; len(p) != 1 || p[0].Ratio != 0 || p[0].NsAboveFloor != -10 || len(rows[2].Peers) != 0 {
		t.Errorf("%+v", rows)
	}
	if text := toPeers(&rows[1]); text != "- l3fwd-fib" {
		t.Errorf("printed %q", text)
	}
}

func TestFailedTableIsOneError(t *testing.T) {
	f := newFakeRunner(func(name string, _ int) (sample, error) {
		if strings.HasPrefix(name, "rte_hash") {
			return sample{}, errors.New("no memory")
		}
		return sample{mpps: 10}, nil
	})
	rows, err := fakeRun(t, context.Background(), Options{Peers: true, Flows: []int{1000}, Scenarios: []string{tableInsert}}, f)
	if err == nil || !strings.Contains(err.Error(), "no memory") || f.count["rte_hash 1000"] != 1 {
		t.Errorf("%v after %d tries", err, f.count["rte_hash 1000"])
	}
	if len(rows) != 2 || rows[1].Scenario != tableInsert || rows[1].NsPerPacket != 40 || len(rows[1].Peers) != 0 {
		t.Errorf("rows %+v, want ours without a peer", rows)
	}
}

func TestFragmentsAreCounted(t *testing.T) {
	rows := []Result{
		summarize(Result{Scenario: ioFloor, Workers: 1}, []sample{{mpps: 100}}),
		summarize(Result{Scenario: fragmentation, Workers: 1}, []sample{{mpps: 10, outPerIn: 3}, {mpps: 10, outPerIn: 2.999}, {mpps: 10, outPerIn: 3.001}}),
		summarize(Result{Scenario: stateless, Workers: 1}, []sample{{mpps: 50, outPerIn: 1.0001}}),
	}
	compareWithFloor(rows)
	if r := rows[1]; r.Fragments != 3 || r.NsPerFragment != 30 {
		t.Errorf("%+v: want 90 ns above the floor for three fragments", r)
	}
	if r := rows[2]; r.Fragments != 0 || r.NsPerFragment != 0 {
		t.Errorf("%+v: nothing was fragmented", r)
	}
	p := &processes{ffwdPath: program(t, `echo '{"duration_s": 1, "workers": [{}],
		"ports": [{"name": "in", "rx_packets": 1000000}, {"name": "out", "tx_packets": 3000000}]}'`), dir: t.TempDir()}
	m, err := p.ffwd(context.Background(), variant{routes: 1, egressMTU: narrowMTUBytes}, testSetup())
	if err != nil || m.mpps != 1 || m.outPerIn != 3 {
		t.Errorf("%+v, %v: want the packets that came", m, err)
	}
}

func TestPeerArgs(t *testing.T) {
	s := testSetup()
	s.files, s.cores = s.files[:1], []int{3}
	dir := t.TempDir()
	const eal = "-l 3 --no-pci --force-max-simd-bitwidth=512 --in-memory --vdev net_pcap0,rx_pcap=/d/a.pcap,infinite_rx=1 --vdev net_null0,no-rx=1 --"
	if got := strings.Join(ipFragmentationArgs(s), " "); got != eal+" -p 0x3 -q 2" {
		t.Errorf("got %s", got)
	}
	for of, want := range map[peer]string{{l3fwdFIB, 3}: "--lookup=fib", {name: l3fwdEM}: "--lookup=em"} {
		args, err := l3fwdFiles(of, s, 1, dir)
		if err != nil {
			t.Fatal(err)
		}
		want = fmt.Sprintf("%s -P -p 0x3 --config (0,0,3) --parse-ptype %s --rule_ipv4=%s/ipv4.rules --rule_ipv6=%[3]s/ipv6.rules", eal, want, dir)
		if got := strings.Join(args, " "); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	s.huge, s.ipv6 = false, true
	args, err := l3fwdFiles(peer{name: l3fwdEM}, s, 1, dir)
	if got := strings.Join(args, " "); err != nil || !strings.Contains(got, " --no-huge --no-shconf -m ") || !strings.Contains(got, " --ipv6 ") {
		t.Errorf("%v: %s", err, got)
	}
}

// The rules are the tuples of the capture, in both directions, no more and no less.
func TestExactMatchesAreTheCapture(t *testing.T) {
	for _, l := range []load{{flows: 500, replies: true, workers: 1}, {flows: 500, replies: true, workers: 1, tcp: true}, {flows: 500, replies: true, workers: 1, ipv6: true}} {
		s := testSetup()
		s.load = l
		var rules bytes.Buffer
		if err := writeFlows(&rules, l.ipv6, s, 7); err != nil {
			t.Fatal(err)
		}
		have := map[string]bool{}
		for line := range strings.Lines(rules.String()) {
			have[strings.TrimSpace(line)] = true
		}
		want := 0
		of := spec(l, 0, 7)
		of.Owner = func(u capture.Tuple) bool { // is asked for each packet
			want++
			for _, u := range []capture.Tuple{u, u.Reversed()} {
				if line := fmt.Sprintf("R%s %s %d %d %d 1", u.Dst.Addr(), u.Src.Addr(), u.Dst.Port(), u.Src.Port(), u.Protocol); !have[line] {
					t.Fatalf("no rule %q", line)
				}
			}
			return true
		}
		if _, err := of.Write(&bytes.Buffer{}); err != nil || len(have) != want || want != 1000 {
			t.Errorf("%d rules for %d packets, %v", len(have), want, err)
		}
		rules.Reset()
		if err := writeFlows(&rules, !l.ipv6, s, 7); err != nil || strings.Count(rules.String(), "\n") != 1 {
			t.Errorf("the other family: %q, %v", rules.String(), err)
		}
	}
}

func TestRoutesOfPeersAreOurs(t *testing.T) {
	var rules, other bytes.Buffer
	if err := errors.Join(writeRoutes(&rules, true, 50, true), writeRoutes(&other, false, 50, true)); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(rules.String()), "\n")
	for i, prefix := range prefixes(50, true) {
		if want := fmt.Sprintf("R%s 1", prefix); lines[i] != want {
			t.Errorf("line %d: %q, want %q", i, lines[i], want)
		}
	}
	if other.String() != "R0.0.0.0/0 1\n" {
		t.Errorf("the other family: %q", other.String())
	}
}

// dpdk serves a telemetry socket that says what DPDK 22.11 said; each question
// about a port adds to its counters.
func dpdk(t *testing.T, dir string, answer func(command string, nth int) string) {
	t.Helper()
	dir = filepath.Join(dir, "dpdk", "rte")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unixpacket", filepath.Join(dir, telemetrySocket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, `{"version":"DPDK 22.11.11","pid":1,"max_output_len":16384}`)
		buf := make([]byte, 1024)
		for nth := 0; ; nth++ {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			fmt.Fprint(conn, answer(string(buf[:n]), nth))
		}
	}()
}

func TestTelemetry(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(string, int) string
		want   string
	}{
		"good": {func(command string, nth int) string {
			return fmt.Sprintf(`{"/ethdev/stats":{"ipackets":%d,"opackets":%d,"q_ipackets":[1]}}`, 1000*nth, 3000*nth)
		}, ""},
		"no port":   {func(string, int) string { return `{"/ethdev/stats":null}` }, "port 0 has no counters"},
		"no object": {func(string, int) string { return `nonsense` }, "/ethdev/stats"},
	} {
		dir := t.TempDir()
		dpdk(t, dir, c.answer)
		link, err := dialTelemetry(dir)
		if err != nil {
			t.Fatal(err)
		}
		got, err := link.traffic()
		link.conn.Close()
		switch {
		case c.want == "" && (err != nil || got.in != 0 || got.out != 3000):
			t.Errorf("%s: %+v, %v", name, got, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := dialTelemetry(t.TempDir()); err == nil || !strings.Contains(err.Error(), "no telemetry socket") {
		t.Errorf("no socket: %v", err)
	}
}

func TestRateBetweenReadings(t *testing.T) {
	now := time.Now()
	before := traffic{100, 300, now}
	m, err := traffic{2_000_100, 6_000_300, now.Add(500 * time.Millisecond)}.since(before)
	if err != nil || m.mpps != 4 || m.outPerIn != 3 {
		t.Errorf("%+v, %v; want 4 Mpps and three fragments each", m, err)
	}
	for want, after := range map[string]traffic{
		"received 0 packets":    {100, 300, now.Add(time.Second)},
		"forwarded 50 of 100 p": {200, 350, now.Add(time.Second)},
	} {
		if _, err := after.since(before); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A peer is asked to end when its figures have been read, and gone when not.
func TestPeerProcess(t *testing.T) {
	s := testSetup()
	s.files, s.warmup, s.duration = s.files[:1], time.Millisecond, time.Millisecond
	for name, c := range map[string]struct{ script, want string }{
		"dies":      {"echo 'EAL: Error - exiting with code: 1' >&2; echo '  Cause: no memory' >&2; exit 1", "ended early: Cause: no memory"},
		"no socket": {"echo 'L3FWD: " + dpdkStartedWords + " 3' >&2; exec sleep 100", "no telemetry socket"},
	} {
		p := &processes{programs: map[string]string{l3fwdProgram: program(t, c.script)}, dir: t.TempDir(), seed: 1}
		_, err := p.peer(context.Background(), peer{l3fwdFIB, 1}, s)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if left, _ := os.ReadDir(p.dir); len(left) != 0 {
			t.Errorf("%s: left %d files", name, len(left))
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p := &processes{programs: map[string]string{l3fwdProgram: program(t, "exec sleep 100")}, dir: t.TempDir()}
	if _, err := p.peer(ctx, peer{name: l3fwdEM}, s); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestPeersInJSON(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, []Result{{Scenario: stateless, Peers: []Peer{{l3fwdFIB, 40, 25, 10, 1.5}}}}); err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Peers []map[string]any `json:"peers"`
	}
	if err := json.Unmarshal(b.Bytes(), &rows); err != nil || len(rows) != 1 || len(rows[0].Peers) != 1 {
		t.Fatalf("%v: %s", err, b.String())
	}
	want := map[string]any{"name": l3fwdFIB, "mpps": 40.0, "ns_per_packet": 25.0, "ns_above_floor": 10.0, "ratio": 1.5}
	if got := rows[0].Peers[0]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

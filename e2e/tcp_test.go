package e2e

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// iperf is what iperf3 --json says at the end.
type iperf struct {
	Error string `json:"error"`
	End   struct {
		Received struct {
			Bytes         uint64  `json:"bytes"`
			BitsPerSecond float64 `json:"bits_per_second"`
		} `json:"sum_received"`
	} `json:"end"`
}

const iperfPort = "5201"

// iperfServer starts an iperf3 server for as long as the test.
func (h *host) iperfServer(t *testing.T) {
	t.Helper()
	h.start(t, "iperf3", "-s", "-p", iperfPort)
	h.listening(t, iperfPort)
}

// iperf runs an iperf3 client to its end. A server that has not yet seen the end of the
// run before is asked again.
func (h *host) iperf(t *testing.T, to string, flags ...string) *iperf {
	t.Helper()
	var out string
	eventually(t, "the iperf3 server is busy", func() bool {
		out, _ = h.try(t, append([]string{"iperf3", "--json", "--connect-timeout", "5000", "-p", iperfPort, "-c", to}, flags...)...)
		return !strings.Contains(out, "the server is busy")
	})
	var r iperf
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Error != "" {
		t.Fatalf("iperf3: %v %s\n%s", err, r.Error, out)
	}
	return &r
}

// iperfRun is one run of iperf3 from the client.
type iperfRun struct {
	name  string
	ipv6  bool
	flags []string
}

func checkIperf(t *testing.T, b *bed) {
	b.iperfRuns(t, []iperfRun{
		{"up", false, []string{"-P", "8"}},
		{"down", false, []string{"-R"}},
		{"up ipv6", true, nil},
		{"down ipv6", true, []string{"-R"}},
	})
}

// checkIperfShort is for variants whose interest lies elsewhere.
func checkIperfShort(t *testing.T, b *bed) {
	b.iperfRuns(t, []iperfRun{{"up", false, []string{"-P", "4"}}, {"down ipv6", true, []string{"-R"}}})
}

func (b *bed) iperfRuns(t *testing.T, runs []iperfRun) {
	t.Helper()
	b.server.iperfServer(t)
	for _, run := range runs {
		address := b.server.ipv4
		if run.ipv6 {
			address = b.server.ipv6
		}
		const sent, underWay = 30 << 20, 20 << 20 // at most, at the end
		r := b.client.iperf(t, address, append(run.flags, "-n", strconv.Itoa(sent))...)
		if r.End.Received.Bytes < sent-underWay {
			t.Errorf("%s: %d bytes arrived of %d", run.name, r.End.Received.Bytes, sent)
		}
		t.Logf("%s: %.0f Mbit/s", run.name, r.End.Received.BitsPerSecond/1e6)
	}
}

const downloadBytes = 20_000_000

// checkDownload compares what curl gets from a web server with what is there.
func checkDownload(t *testing.T, b *bed) {
	content := make([]byte, downloadBytes)
	rand.Read(content)
	dir := t.TempDir()
	writeFile(t, dir, "file", content)
	want := sha256.Sum256(content)
	for _, h := range []*host{b.client, b.server} {
		h.start(t, "python3", "-m", "http.server", "--bind", "::", "--directory", dir, "8000")
		h.listening(t, "8000")
	}
	b.ends(func(from, _ *host, address, _ string) {
		ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
		defer cancel()
		if strings.Contains(address, ":") {
			address = "[" + address + "]"
		}
		got, err := from.command(ctx, "curl", "--silent", "--show-error", "--noproxy", "*", fmt.Sprintf("http://%s:8000/file", address)).Output()
		if exit, ok := err.(*exec.ExitError); ok {
			t.Fatalf("curl: %v: %s", err, exit.Stderr)
		}
		if sum := sha256.Sum256(got); sum != want {
			t.Errorf("from %s came %d bytes that are not what was sent", address, len(got))
		}
	})
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"ffwd/capture"
	"ffwd/control"
)

// ffwd is the command under test, built once: DPDK starts once per process, so
// every test runs a process of its own.
var ffwd string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ffwd-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ffwd = filepath.Join(dir, "ffwd")
	if out, err := exec.Command("go", "build", "-o", ffwd, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// limit is when a process that should have ended is killed.
const limit = 30 * time.Second

// result is what a process printed and how it ended.
type result struct {
	stdout, stderr string
	code, pid      int
}

// call runs a command to its end.
func call(t *testing.T, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, ffwd, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("ffwd %v did not end:\n%s", args, errs.String())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode(), cmd.ProcessState.Pid()}
}

// bed is a directory with captures and a place for a configuration.
type bed struct {
	t   *testing.T
	dir string
}

const (
	bedFlows   = 100
	bedPackets = 1000
)

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t, t.TempDir()}
	var in bytes.Buffer
	if _, err := (capture.Spec{Flows: bedFlows, Packets: bedPackets, Seed: 1}).Write(&in); err != nil {
		t.Fatal(err)
	}
	b.write("in.pcap", in.Bytes())
	const fileHeader = 24 // of a pcap: a capture without packets
	b.write("empty.pcap", in.Bytes()[:fileHeader])
	return b
}

func (b *bed) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bed) write(name string, text []byte) {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), text, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// config writes a configuration that routes everything from port in to port
// out, after replacing pairs of old and new in it, and returns its path.
func (b *bed) config(name string, pairs ...string) string {
	b.t.Helper()
	text := strings.NewReplacer("DIR", b.dir, "CORE", fmt.Sprint(runtime.NumCPU()-1)).Replace(`
[eal]
huge_pages = "off"
[pool]
mbufs = 8191
[workers]
cores = [CORE]
[slow_path]
enabled = "off"
[control]
socket = "DIR/run/ffwd.sock"
[metrics]
address = "127.0.0.1:0"
[ct]
max_flows = 4096
max_flows_ipv6 = 1024
[[ports]]
name = "in"
device = "net_pcap0,rx_pcap=DIR/in.pcap,tx_pcap=DIR/back.pcap"
mac = "02:70:63:61:70:00"
addresses = ["192.168.1.1/24"]
[[ports]]
name = "out"
device = "net_pcap1,rx_pcap=DIR/empty.pcap,tx_pcap=DIR/out.pcap"
addresses = ["192.168.2.1/24"]
[[routes]]
prefix = "0.0.0.0/0"
via = "192.168.2.2"
[[neighbours]]
port = "out"
address = "192.168.2.2"
mac = "02:00:00:00:01:02"
`)
	for pair := range slices.Chunk(pairs, 2) {
		if !strings.Contains(text, pair[0]) {
			b.t.Fatalf("no %q in the configuration", pair[0])
		}
		text = strings.Replace(text, pair[0], pair[1], 1)
	}
	b.write(name, []byte(text))
	return b.path(name)
}

// endless are the pairs that make the capture come for ever, and go nowhere.
func (b *bed) endless() []string {
	return []string{
		",tx_pcap=" + b.dir + "/back.pcap", ",infinite_rx=1",
		"net_pcap1,rx_pcap=" + b.dir + "/empty.pcap,tx_pcap=" + b.dir + "/out.pcap", "net_null0,no-rx=1",
	}
}

// process is a switch that runs.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout bytes.Buffer
	log    logBuffer
	ended  chan struct{}
}

// start runs a switch and returns when its control socket is open.
func (b *bed) start(config string, flags ...string) *process {
	b.t.Helper()
	p := &process{t: b.t, cmd: exec.Command(ffwd, append([]string{"run", "-c", config}, flags...)...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.log
	if err := p.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	b.t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
	})
	p.awaitLog("metrics open")
	return p
}

// wait returns how the process ended.
func (p *process) wait() result {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(limit):
		p.t.Fatalf("the switch did not end:\n%s", p.log.String())
	}
	return result{p.stdout.String(), p.log.String(), p.cmd.ProcessState.ExitCode(), p.cmd.ProcessState.Pid()}
}

// awaitLog returns the first log line that contains text.
func (p *process) awaitLog(text string) string {
	p.t.Helper()
	deadline := time.After(limit)
	for {
		grown := p.log.grown()
		for line := range strings.Lines(p.log.String()) {
			if strings.Contains(line, text) {
				return line
			}
		}
		select {
		case <-grown:
		case <-p.ended:
			p.t.Fatalf("the switch ended before it logged %q:\n%s", text, p.log.String())
		case <-deadline:
			p.t.Fatalf("no %q in the log:\n%s", text, p.log.String())
		}
	}
}

// awaitReceived returns when the switch has received n packets.
func (b *bed) awaitReceived(n uint64) {
	b.t.Helper()
	b.await(fmt.Sprint(n, " packets received"), func(d *control.DropList) bool { return d.Received >= n })
}

// await asks the switch where packets went until it is so.
func (b *bed) await(what string, so func(*control.DropList) bool) {
	b.t.Helper()
	f := socketFlags{socket: b.path("run/ffwd.sock")}
	c, err := f.client()
	if err != nil {
		b.t.Fatal(err)
	}
	for deadline := time.Now().Add(limit); ; {
		var drops control.DropList
		if err := c.get("/v1/drops", nil, &drops); err != nil {
			b.t.Fatal(err)
		}
		switch {
		case so(&drops):
			return
		case time.Now().After(deadline):
			b.t.Fatalf("no %s: %+v", what, drops)
		}
	}
}

// leftBehind fails the test if a process that ended left its DPDK directory or
// its control socket.
func (b *bed) leftBehind(pid int) {
	b.t.Helper()
	for _, path := range []string{fmt.Sprintf("/var/run/dpdk/ffwd-%d", pid), b.path("run/ffwd.sock")} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			b.t.Errorf("%s is left behind: %v", path, err)
		}
	}
	for _, pattern := range []string{"/dev/hugepages/*", "/run/user/*/dpdk/*"} {
		found, _ := filepath.Glob(pattern) // others may come and go: DPDK names ours by the process
		for _, path := range found {
			if strings.Contains(path, fmt.Sprintf("ffwd-%d", pid)) {
				b.t.Errorf("%s is left behind", path)
			}
		}
	}
}

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// load starts TCP in both directions, waits until it flows, and returns what ends it.
func (b *bed) load(t *testing.T) (stop func()) {
	t.Helper()
	b.server.iperfServer(t)
	client := b.client.start(t, "iperf3", "-p", iperfPort, "-c", b.server.ipv4, "-t", "60", "--bidir")
	const enough = 10000
	before := b.ffwd.report(t).Transmitted
	eventually(t, "no traffic", func() bool { return b.ffwd.report(t).Transmitted > before+enough })
	return func() {
		client.cmd.Process.Kill()
		<-client.ended
	}
}

// stopLimit is what a stop may take, traffic or not.
const stopLimit = 2 * time.Second

func TestTerminateUnderLoad(t *testing.T) {
	needRoot(t)
	for _, v := range []variant{afPacket, afXDP} {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			t.Run(fmt.Sprintf("%s %v", v.name, sig), func(t *testing.T) {
				b := newBed(t, v, topology{})
				b.load(t)
				start := time.Now()
				b.ffwd.cmd.Process.Signal(sig)
				b.ffwd.end(t)
				if took := time.Since(start); took > stopLimit {
					t.Errorf("took %v, want at most %v", took, stopLimit)
				} else {
					t.Logf("took %v", took)
				}
			})
		}
	}
}

// A switch that was killed leaves nothing that keeps the next from working, and
// the next leaves nothing of either.
func TestKillAndRestart(t *testing.T) {
	needRoot(t)
	for _, v := range []variant{afPacket, afXDP} {
		for _, hugePages := range []string{"off", "auto"} {
			t.Run(v.name+" huge pages "+hugePages, func(t *testing.T) {
				b := newBed(t, v, topology{hugePages: hugePages})
				stopLoad := b.load(t)
				killed := b.ffwd
				killed.cmd.Process.Kill()
				<-killed.ended
				stopLoad()
				b.ffwd = launch(t, b.router, filepath.Join(b.dir, "ffwd.toml")).ready(t)
				b.client.ping(t, b.server.ipv4, "-c", "10", "-i", "0.01")
				b.stop(t)
				killed.checkNothingLeft(t)
			})
		}
	}
}

// A second switch on the wires of the first is refused, and harms nothing.
func TestSecondSwitchOnTheSameWires(t *testing.T) {
	needRoot(t)
	for _, v := range []variant{afPacket, afXDP} {
		t.Run(v.name, func(t *testing.T) {
			b := newBed(t, v, topology{})
			config, err := os.ReadFile(filepath.Join(b.dir, "ffwd.toml"))
			if err != nil {
				t.Fatal(err)
			}
			second := writeFile(t, b.dir, "second.toml", bytes.ReplaceAll(config, []byte("/ffwd.sock"), []byte("/second.sock")))
			p := launch(t, b.router, second)
			p.wait(t)
			if code := p.cmd.ProcessState.ExitCode(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			wantMatch(t, p.stderr.String(), `^port lan: interface r0 is a port already`)
			b.client.ping(t, b.server.ipv4, "-c", "3", "-i", "0.01")
			b.stop(t)
		})
	}
}

// A switch that is told to end while it starts, which takes a while with large tables and
// many routes in the kernel, does not finish that first, and leaves nothing.
func TestTerminateWhileStarting(t *testing.T) {
	needRoot(t)
	const routes, step = 50_000, 60 * time.Millisecond
	b := &bed{t: t, dir: t.TempDir(), router: newNamespace(t, "router")}
	var batch strings.Builder
	for i := range routes {
		fmt.Fprintf(&batch, "route add blackhole %s\nroute add blackhole %s\n", flushed(i, true), flushed(i, false))
	}
	b.router.ip(batch.String())
	config := writeFile(t, b.dir, "ffwd.toml", []byte(fmt.Sprintf(`
[eal]
huge_pages = "off"
[workers]
cores = [%d]
[ct]
max_flows = 8000000
[control]
socket = "%s/ffwd.sock"
[[ports]]
name = "lan"
device = "net_null0"
addresses = ["10.1.1.1/24"]
`, workerCore, b.dir)))
	interrupted, longest := 0, time.Duration(0)
	for n := 1; ; n++ {
		p := launch(t, b.router, config)
		time.Sleep(time.Duration(n) * step) // what is tried, not what is waited for
		start := time.Now()
		p.cmd.Process.Signal(syscall.SIGTERM)
		p.wait(t)
		took, state := time.Since(start), p.cmd.ProcessState
		p.checkNothingLeft(t)
		if state.Sys().(syscall.WaitStatus).Signaled() { // it had not begun
			continue
		}
		if state.ExitCode() != 0 {
			t.Fatalf("exit code %d:\n%s", state.ExitCode(), p.stderr.String())
		}
		longest = max(longest, took)
		if strings.Contains(p.stderr.String(), "workers started") {
			break
		}
		interrupted++
	}
	t.Logf("interrupted %d times; the longest stop took %v", interrupted, longest)
	if interrupted == 0 {
		t.Error("no start was interrupted")
	}
}

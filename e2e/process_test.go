package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a run of ffwd.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	ns     *namespace // nil: none of its own
	socket string
	stdout lockedBuffer
	stderr lockedBuffer
	ended  chan struct{}
	http   http.Client
}

// launch starts ffwd in a namespace, or where we are. Its configuration names the
// control socket ffwd.sock beside it.
func launch(t *testing.T, ns *namespace, config string, flags ...string) *process {
	t.Helper()
	args := append([]string{ffwd, "run", "-c", config, "--json"}, flags...)
	if ns != nil {
		args = append([]string{"ip", "netns", "exec", ns.name}, args...)
	}
	p := &process{t: t, cmd: exec.Command(args[0], args[1:]...), ns: ns,
		socket: filepath.Join(filepath.Dir(config), "ffwd.sock"), ended: make(chan struct{})}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", p.socket)
	}
	p.http = http.Client{Timeout: soon, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("ffwd %d printed:\n%s", p.cmd.Process.Pid, p.stderr.String())
		}
	})
	return p
}

// ready waits until all ports are up.
func (p *process) ready(t *testing.T) *process {
	t.Helper()
	await(t, "ffwd is ready", func() bool {
		select {
		case <-p.ended:
			t.Fatalf("ffwd ended with code %d:\n%s", p.cmd.ProcessState.ExitCode(), p.stderr.String())
		default:
		}
		var r report
		if p.get("/v1/report", &r) != nil || len(r.Ports) == 0 {
			return false
		}
		for _, port := range r.Ports {
			if !port.LinkUp {
				return false
			}
		}
		return true
	})
	return p
}

// get asks the control socket.
func (p *process) get(path string, answer any) error {
	response, err := p.http.Get("http://ffwd" + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		return fmt.Errorf("%s: %s %s", path, response.Status, text)
	}
	return json.NewDecoder(response.Body).Decode(answer)
}

// report asks for what was counted so far.
func (p *process) report(t *testing.T) *report {
	t.Helper()
	var r report
	if err := p.get("/v1/report", &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// client runs a sub-command that asks the running switch.
func (p *process) client(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, ffwd, append(args, "--socket", p.socket)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ffwd %v: %v:\n%s", args, err, out)
	}
	return string(out)
}

// stop ends a running switch with SIGTERM and returns its report, see end.
func (p *process) stop(t *testing.T) *report {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	return p.end(t)
}

// end waits for the switch to end and checks what must be true after every run:
// the exit code says that no mbuf is missing, FF-12's equation holds, and nothing
// is left behind.
func (p *process) end(t *testing.T) *report {
	t.Helper()
	p.wait(t)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, p.stderr.String())
	}
	var r report
	d := json.NewDecoder(strings.NewReader(p.stdout.String()))
	if err := d.Decode(&r); err != nil || d.More() {
		t.Fatalf("want one JSON object (%v):\n%s", err, p.stdout.String())
	}
	r.checkConservation(t)
	p.checkNothingLeft(t)
	return &r
}

func (p *process) wait(t *testing.T) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(commandLimit):
		t.Fatalf("ffwd did not end in %v:\n%s", commandLimit, p.stderr.String())
	}
}

// checkNothingLeft looks for what a run may leave: the control socket, DPDK's
// runtime directory and huge pages, interfaces, XDP programs and processes.
func (p *process) checkNothingLeft(t *testing.T) {
	t.Helper()
	pid := fmt.Sprint(p.cmd.Process.Pid)
	if _, err := os.Lstat(p.socket); err == nil {
		t.Errorf("the control socket is left")
	}
	for _, pattern := range []string{"/var/run/dpdk/*", "/run/user/*/dpdk/*", "/tmp/dpdk/*", "/dev/hugepages/*", "/mnt/huge*/*"} {
		found, _ := filepath.Glob(pattern)
		for _, path := range found {
			if strings.Contains(filepath.Base(path), "-"+pid) {
				t.Errorf("%s is left", path)
			}
		}
	}
	if p.ns == nil {
		return
	}
	if pids := p.ns.pids(t); pids != "" {
		t.Errorf("processes are left in the router's namespace: %s", pids)
	}
	for line := range strings.Lines(p.ns.run(t, "ip", "-o", "link")) {
		name := strings.TrimSuffix(strings.Fields(line)[1], ":")
		if name, _, _ = strings.Cut(name, "@"); name != "lo" && name != "r0" && name != "r1" && name != "r2" {
			t.Errorf("an interface is left: %s", line)
		}
		if strings.Contains(line, "xdp") {
			t.Errorf("an XDP program is left: %s", line)
		}
	}
}

// pids lists the processes in the namespace.
func (n *namespace) pids(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("ip", "netns", "pids", n.name).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace of one test.
type namespace struct {
	t    *testing.T
	name string
}

var namespaces atomic.Int32

// namespaceFormat names a namespace after the process that made it, its number
// there, and its role.
const namespaceFormat = "ffwd-e2e-%d-%d-%s"

// sweep removes the namespaces, and what still runs in them, of test processes that
// were killed before they could. Nobody else names a namespace like that.
func sweep() {
	list, _ := exec.Command("ip", "netns", "list").Output()
	for line := range strings.Lines(string(list)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		var pid, number int
		var role string
		if _, err := fmt.Sscanf(name, namespaceFormat, &pid, &number, &role); err != nil || unix.Kill(pid, 0) != unix.ESRCH {
			continue
		}
		left, _ := exec.Command("ip", "netns", "pids", name).Output()
		for _, word := range strings.Fields(string(left)) {
			if p, err := strconv.Atoi(word); err == nil {
				unix.Kill(p, unix.SIGKILL)
			}
		}
		exec.Command("ip", "netns", "del", name).Run()
	}
}

// newNamespace makes a namespace that lasts as long as the test.
func newNamespace(t *testing.T, role string) *namespace {
	t.Helper()
	n := &namespace{t, fmt.Sprintf(namespaceFormat, os.Getpid(), namespaces.Add(1), role)}
	n.host("ip", "netns", "add", n.name)
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", n.name).CombinedOutput(); err != nil {
			t.Errorf("remove namespace: %v: %s", err, out)
		}
	})
	n.ip("link set lo up")
	return n
}

// host runs a command outside the namespace.
func (n *namespace) host(args ...string) {
	n.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// ip runs ip in the namespace, with a command in each line: at once for all up to the
// next that names a family, -4 or -6, which a batch has one of.
func (n *namespace) ip(lines ...string) {
	n.t.Helper()
	for len(lines) > 0 {
		args, count := []string{"ip", "-n", n.name}, 1
		if family, _, named := strings.Cut(lines[0], " "); named && strings.HasPrefix(family, "-") {
			args, lines[0] = append(args, family), strings.TrimPrefix(lines[0], family)
		} else if count = slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "-") }); count < 0 {
			count = len(lines)
		}
		c := exec.Command(args[0], append(args[1:], "-batch", "-")...)
		c.Stdin = strings.NewReader(strings.Join(lines[:count], "\n"))
		if out, err := c.CombinedOutput(); err != nil {
			n.t.Fatalf("%q: %v: %s", lines[:count], err, out)
		}
		lines = lines[count:]
	}
}

// command prepares a command in the namespace, on the cores of the hosts. Its
// process is the command's own: ip and taskset run it in their place.
func (n *namespace) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "taskset", append([]string{"-c", hostCores, "ip", "netns", "exec", n.name}, args...)...)
}

// try runs a command in the namespace to its end and returns all it printed.
func (n *namespace) try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
	defer cancel()
	out, err := n.command(ctx, args...).CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%s did not end in %v:\n%s", strings.Join(args, " "), commandLimit, out)
	}
	return string(out), err
}

// run is try for a command that must succeed.
func (n *namespace) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := n.try(t, args...)
	if err != nil {
		t.Fatalf("%s: %v:\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// background runs a command in the namespace until it ends or the test does.
type background struct {
	cmd   *exec.Cmd
	out   lockedBuffer
	ended chan struct{}
}

func (n *namespace) start(t *testing.T, args ...string) *background {
	t.Helper()
	b := &background{cmd: n.command(context.Background(), args...), ended: make(chan struct{})}
	b.cmd.Stdout, b.cmd.Stderr = &b.out, &b.out
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		b.cmd.Wait()
		close(b.ended)
	}()
	t.Cleanup(func() {
		b.cmd.Process.Kill()
		<-b.ended
	})
	return b
}

// listening waits until somebody listens on a TCP port.
func (n *namespace) listening(t *testing.T, port string) {
	t.Helper()
	eventually(t, "nobody listens on "+port, func() bool {
		return n.run(t, "ss", "-Hltn", "sport = "+port) != ""
	})
}

// do calls f on a thread in the namespace: sockets that f makes belong to it.
func (n *namespace) do(t *testing.T, f func() error) {
	t.Helper()
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		result <- func() error {
			fd, err := unix.Open("/run/netns/"+n.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return err
			}
			return f()
		}()
	}()
	if err := <-result; err != nil {
		t.Fatalf("in %s: %v", n.name, err)
	}
}

// sysctl writes values below /proc/sys/net.
func (n *namespace) sysctl(values map[string]string) {
	n.t.Helper()
	n.do(n.t, func() error {
		for key, value := range values {
			if err := os.WriteFile("/proc/sys/net/"+key, []byte(value), 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// lockedBuffer is a buffer that can be read while a process writes to it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

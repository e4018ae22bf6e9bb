package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ffwd is the command under test, built once.
var ffwd string

// workerCore is where ffwd's worker spins, and hostCores where everything else
// runs, as taskset takes it: a host that shares the core of a spinning worker
// waits for whole time slices.
var (
	workerCore int
	hostCores  string
)

// init keeps the process's first thread for main: a thread that namespace.do takes
// into a namespace ends there, but the first one cannot end, and would look like a
// process that was left.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ffwd-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	ffwd = filepath.Join(dir, "ffwd")
	if out, err := exec.Command("go", "build", "-o", ffwd, "../cmd/ffwd").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	workerCore, hostCores = divideCores()
	sweep()
	return m.Run()
}

// divideCores gives the last core we may use to the worker, and the others, if
// there are any, to the hosts.
func divideCores() (worker int, hosts string) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0, "0"
	}
	var cores []int
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			cores = append(cores, i)
		}
	}
	worker = cores[len(cores)-1]
	if len(cores) == 1 {
		return worker, fmt.Sprint(worker)
	}
	for _, core := range cores[:len(cores)-1] {
		hosts += fmt.Sprintf(",%d", core)
	}
	return worker, hosts[1:]
}

// needRoot skips a test that makes namespaces.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("makes network namespaces, which needs root: run as root")
	}
}

// Limits of waiting: of a condition that holds at once on an idle machine, and of
// a command of a second or two.
const (
	soon         = 15 * time.Second
	commandLimit = 60 * time.Second
)

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(soon); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v: %s", soon, what)
		}
	}
}

// wantMatch fails the test unless text matches the pattern.
func wantMatch(t *testing.T, text, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(text) {
		t.Errorf("want %q in:\n%s", pattern, text)
	}
}

// writeFile writes a file that a test needs, and returns its path.
func writeFile(t *testing.T, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

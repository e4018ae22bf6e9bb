package bindings

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"syscall"
)

// optionsVariable makes this test binary start the EAL with the options it holds and
// print how that went, because a process has but one try.
const optionsVariable = "FFWD_EAL_OPTIONS"

// outcome is what such a process prints.
type outcome struct {
	Error  string // of InitEAL
	Second string // of InitEAL again
	Errno  int    // of the Error in the chain
	Lcore  uint32 // of a registered thread
	Cores  int    // that an ordinary goroutine may run on after the start
	Close  string // of CleanupEAL
}

func TestMain(m *testing.M) {
	if text, ok := os.LookupEnv(optionsVariable); ok {
		var options EALOptions
		if err := json.Unmarshal([]byte(text), &options); err != nil {
			panic(err)
		}
		if _, ok := os.LookupEnv(uncheckedVariable); ok {
			startEAL(options)
			return
		}
		json.NewEncoder(os.Stdout).Encode(tryEAL(options))
		return
	}
	os.Exit(m.Run())
}

// uncheckedVariable makes it leave out the checks, to meet DPDK's own ways.
const uncheckedVariable = "FFWD_EAL_UNCHECKED"

func tryEAL(options EALOptions) (o outcome) {
	if err := InitEAL(options); err != nil {
		o.Error = err.Error()
		if failed, ok := errors.AsType[*Error](err); ok {
			o.Errno = int(failed.Errno)
		}
	} else {
		runtime.LockOSThread()
		if err := RegisterThread(); err != nil {
			panic(err)
		}
		o.Lcore = LcoreID()
		UnregisterThread()
		o.Cores = len(allowedCores())
	}
	if err := InitEAL(options); err != nil {
		o.Second = err.Error()
	}
	if err := CleanupEAL(); err != nil {
		o.Close = err.Error()
	}
	return o
}

// runEAL runs tryEAL in a process of its own, which must print nothing else. adjust
// may change the command.
func runEAL(t *testing.T, options EALOptions, adjust ...func(*exec.Cmd)) outcome {
	t.Helper()
	text, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), optionsVariable+"="+string(text))
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	for _, f := range adjust {
		f(cmd)
	}
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var o outcome
	if err := json.Unmarshal([]byte(stdout.String()), &o); err != nil || strings.Count(stdout.String(), "\n") != 1 || stderr.Len() != 0 {
		t.Fatalf("not the outcome alone: stdout %q, stderr %q", stdout.String(), stderr.String())
	}
	return o
}

func TestInitEALRefuses(t *testing.T) {
	tests := []struct {
		name    string
		options EALOptions
		words   []string
	}{
		{"core that does not exist", EALOptions{MainCores: []int{4095}}, []string{"core 4095", "/sys/devices/system/cpu/online"}},
		{"negative core", EALOptions{MainCores: []int{-1}}, []string{"core -1"}},
		{"negative memory", EALOptions{MemoryMB: -1}, []string{"memory of -1 MB"}},
		{"more huge pages than there are", EALOptions{HugePages: true, MemoryMB: 1 << 24}, []string{"16777216 MB of huge pages", "nr_hugepages", "without huge pages"}},
		{"more memory than there is", EALOptions{MemoryMB: 1 << 30}, []string{"start eal: "}},
		{"unknown argument", EALOptions{Extra: []string{"--no-such-thing"}}, []string{"--no-such-thing", "dpdk-testpmd --help"}},
		{"argument without its value", EALOptions{Extra: []string{"--file-prefix"}}, []string{"file-prefix"}},
		{"argument that contradicts", EALOptions{Extra: []string{"--iova-mode", "nonsense"}}, []string{"--iova-mode"}},
		{"help", EALOptions{Extra: []string{"--help"}}, []string{"--help"}},
		{"abbreviated help", EALOptions{Extra: []string{"--hel"}}, []string{"--hel"}},
		{"clustered help", EALOptions{Extra: []string{"-vh"}}, []string{"-vh"}},
		{"log levels", EALOptions{Extra: []string{"--log-level", "help"}}, []string{"help"}},
		{"memory mode", EALOptions{Extra: []string{"--in-memory"}}, []string{"--in-memory"}},
		{"driver that is not there", EALOptions{Extra: []string{"-d", "/nowhere/librte_net_foo.so"}}, []string{"/nowhere/librte_net_foo.so"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := runEAL(t, tt.options)
			t.Log(o.Error)
			if o.Error == "" {
				t.Fatal("accepted")
			}
			if strings.ContainsAny(o.Error, "\r\n") {
				t.Errorf("more than one line: %q", o.Error)
			}
			for _, word := range append(tt.words, "start eal: ") {
				if !strings.Contains(o.Error, word) {
					t.Errorf("%q does not say %q", o.Error, word)
				}
			}
			if o.Close != "" {
				t.Errorf("cleanup of what never started: %s", o.Close)
			}
		})
	}
}

// Where DPDK ends the process all the same, it does so with one line and status 1.
func TestExitOfDPDKIsReported(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), uncheckedVariable+"=", optionsVariable+`={"MainCores":[0],"Extra":["--help"]}`)
	text, err := cmd.CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 1 || strings.Count(string(text), "\n") != 1 || !strings.HasPrefix(string(text), "start eal: ") {
		t.Errorf("%v, %q", err, text)
	}
}

// The EAL starts, leaves the affinity of other threads alone, says no to a second start,
// and leaves no files behind.
func TestInitEAL(t *testing.T) {
	start := func(t *testing.T, options EALOptions, adjust ...func(*exec.Cmd)) {
		const prefix = "ffwd-test"
		options.ProgramName = prefix
		o := runEAL(t, options, adjust...)
		if o.Error != "" || o.Close != "" {
			t.Fatalf("start: %s, cleanup: %s", o.Error, o.Close)
		}
		if !strings.Contains(o.Second, ErrOnce.Error()) {
			t.Errorf("second start: %q", o.Second)
		}
		if o.Lcore == LcoreAny || o.Lcore == 0 {
			t.Errorf("a registered thread is lcore %d, want one of its own", o.Lcore)
		}
		if want := len(allowedCores()); o.Cores != want {
			t.Errorf("an ordinary thread may run on %d cores, want %d", o.Cores, want)
		}
		if files := filesOf(t, prefix); len(files) != 0 {
			t.Errorf("left behind: %q", files)
		}
	}
	t.Run("ordinary memory", func(t *testing.T) { start(t, EALOptions{MemoryMB: 64, MainCores: []int{0}}) })
	t.Run("ordinary user", func(t *testing.T) { start(t, EALOptions{MemoryMB: 64}, asNobody(t)) })
	t.Run("PCI bus on", func(t *testing.T) { start(t, EALOptions{MemoryMB: 64, PCI: true}) })
	t.Run("huge pages", func(t *testing.T) {
		if FreeHugePagesMB() < 64 {
			t.Skip("needs 64 MB of free huge pages; CI reserves them")
		}
		start(t, EALOptions{MemoryMB: 64, HugePages: true, MainCores: []int{0}})
	})
}

// filesOf lists what a DPDK process with this file prefix left behind.
func filesOf(t *testing.T, prefix string) (all []string) {
	t.Helper()
	for _, pattern := range []string{"/var/run/dpdk/", "/tmp/dpdk/", os.Getenv("XDG_RUNTIME_DIR") + "/dpdk/", "/dev/hugepages/"} {
		files, err := filepath.Glob(pattern + prefix + "*")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, files...)
	}
	return all
}

// asNobody makes a command run as an ordinary user, if this process is root.
func asNobody(t *testing.T) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		if os.Getuid() != 0 {
			return
		}
		// The test binary's directory is root's alone: hand it over as an open file.
		binary, err := os.Open("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { binary.Close() })
		cmd.ExtraFiles = []*os.File{binary}
		cmd.Path = "/proc/self/fd/3"
		const nobody = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
}

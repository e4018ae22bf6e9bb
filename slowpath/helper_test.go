package slowpath

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// Shrinking a script that the kernel runs takes a wait for each try: little of it
// is worth the time. The command line's word wins.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.shrinktime", "5s"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// newNetns makes a network namespace that lasts as long as the test and has no
// name, and returns a path to it. As in a namespace whose interfaces belong to a
// switch, IPv6 is off by default and nothing is forwarded.
func newNetns(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	made := make(chan *os.File)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine, and stays in no other's way
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error("unshare:", err)
			close(made)
			return
		}
		for _, path := range []string{"ipv6/conf/all/disable_ipv6", "ipv6/conf/default/disable_ipv6"} {
			if err := setSysctl("/proc/sys/net/"+path, "1"); err != nil {
				t.Error(err)
			}
		}
		file, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			t.Error(err)
		}
		made <- file
	}()
	file := <-made
	if file == nil {
		t.FailNow()
	}
	t.Cleanup(func() { file.Close() })
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), file.Fd())
}

// in runs a command in the namespace and returns what it prints.
func in(t *testing.T, ns string, command ...string) string {
	t.Helper()
	out, err := exec.Command("nsenter", append([]string{"--net=" + ns}, command...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", command, err, out)
	}
	return string(out)
}

// eventually waits for something that happens soon.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

// journal is a log that can be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) count(of string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), of)
}

const (
	lanIface = 1
	wanIface = 2
)

// twoTwins are the twins of two ports.
func twoTwins() []TwinConfig {
	return []TwinConfig{
		{Iface: lanIface, Name: "lan", MAC: [6]byte{2, 0, 0, 0, 1, 1}, MTUBytes: 1500, Addresses: []netip.Prefix{
			netip.MustParsePrefix("10.1.1.1/24"), netip.MustParsePrefix("fd01:1::1/64")}},
		{Iface: wanIface, Name: "wan.100", MAC: [6]byte{2, 0, 0, 0, 2, 1}, MTUBytes: 1400, Addresses: []netip.Prefix{
			netip.MustParsePrefix("10.2.2.1/24"), netip.MustParsePrefix("fd01:2::1/64")}},
	}
}

// start opens and starts a slow path with one worker in a namespace of its own.
func start(t *testing.T, ns string) (*SlowPath, *journal) {
	t.Helper()
	log := &journal{}
	s, err := Open(Config{
		Netns: ns, Twins: twoTwins(), Workers: 1, FrameBytes: 1518,
		Owner: func(uint16, []byte) int { return 0 },
		Log:   slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error("close:", err)
		}
	})
	s.Start()
	return s, log
}

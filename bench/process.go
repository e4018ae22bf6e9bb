package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// processes is the runner that starts real ones, one at a time.
type processes struct {
	testpmdPath, ffwdPath string
	programs              map[string]string // paths of the peers, by name
	dir                   string            // for configurations
	seed                  uint64            // of the captures
}

// Limits on time that is not measured.
const (
	startLimit = 2 * time.Minute // EAL, pools, reading a capture of millions, loading routes
	stopLimit  = 20 * time.Second
	killDelay  = 5 * time.Second // between asking a process to end and killing it
	killSignal = syscall.SIGKILL // what a process gets that would outlive us
)

// devices returns the two ports that every program gets: a source that plays one
// capture per queue for ever, and a sink that only discards. Without no-rx=1 the sink
// would make packets as well, and testpmd would forward them to the source.
func (s *setup) devices() (source, sink string) {
	source = "net_pcap0"
	for _, file := range s.files {
		source += ",rx_pcap=" + file
	}
	return source + ",infinite_rx=1", "net_null0,no-rx=1"
}

// command prepares a child that is asked to end by signal when ctx is done or the
// limit is over, and killed if it does not.
func command(ctx context.Context, limit time.Duration, path string, args ...string) (*exec.Cmd, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killDelay
	// A process group of its own: a Ctrl-C at the terminal is ours to pass on. If we
	// are killed, testpmd ends with its input and ffwd after its duration.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, cancel
}

// transcript collects a child's output and tells when a text has come.
type transcript struct {
	mu    sync.Mutex
	text  bytes.Buffer
	until string
	seen  chan struct{} // closed once until has come
	once  sync.Once
}

func newTranscript(until string) *transcript {
	return &transcript{until: until, seen: make(chan struct{})}
}

func (t *transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text.Write(b)
	if bytes.Contains(t.text.Bytes(), []byte(t.until)) {
		t.once.Do(func() { close(t.seen) })
	}
	return len(b), nil
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// complaint is the last line in which a program says what is wrong, or its last
// line of all.
func complaint(output string) string {
	lines := slices.DeleteFunc(strings.Split(output, "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
	for _, word := range []string{"Not enough mbufs", "Cause:", "level=ERROR", "rror", "ail", "annot"} {
		for _, l := range slices.Backward(lines) {
			if strings.Contains(l, word) && !strings.Contains(l, "-errors:") {
				return strings.TrimSpace(l)
			}
		}
	}
	if len(lines) == 0 {
		return "it said nothing"
	}
	return strings.TrimSpace(lines[len(lines)-1])
}

// child is a process that is being waited for.
type child struct {
	*exec.Cmd
	ended chan struct{} // closed when it has ended
	err   error         // how; valid after ended
}

func start(cmd *exec.Cmd) (*child, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{Cmd: cmd, ended: make(chan struct{})}
	go func() {
		c.err = cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

var (
	errEndedEarly = errors.New("ended early")
	errNotQuit    = errors.New("did not quit")
)

// pass lets time pass, unless the child ends first.
func (c *child) pass(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.ended:
		return errEndedEarly
	}
}

// finish waits for the child's end, and brings it about after a while.
func (c *child) finish(limit time.Duration) error {
	select {
	case <-c.ended:
		return c.err
	case <-time.After(limit):
		err := c.Process.Kill()
		<-c.ended
		return errors.Join(fmt.Errorf("%w within %v", errNotQuit, limit), err)
	}
}

// converse starts testpmd, waits for its prompt, and shows a port's counters at the
// beginning and at the end of the measured time. testpmd buffers its own output
// until it ends, all but the prompt: the figures are read afterwards, and are rates
// that testpmd computed by its own clock.
func converse(cmd *exec.Cmd, warmup, duration time.Duration) (string, error) {
	out := newTranscript("testpmd> ")
	cmd.Stdout, cmd.Stderr = out, out
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	c, err := start(cmd)
	if err != nil {
		return "", err
	}
	err = c.command(stdin, out, warmup, duration)
	stdin.Close() // the end of its input ends testpmd, too
	err = errors.Join(err, c.finish(stopLimit))
	return out.String(), err
}

// command types what testpmd is to do.
func (c *child) command(stdin io.Writer, out *transcript, warmup, duration time.Duration) error {
	select {
	case <-out.seen:
	case <-c.ended:
		return errEndedEarly
	}
	for _, pause := range []time.Duration{warmup, duration} {
		if err := c.pass(pause); err != nil {
			return err
		}
		if _, err := io.WriteString(stdin, "show port stats 0\n"); err != nil {
			return err
		}
	}
	_, err := io.WriteString(stdin, "quit\n")
	return err
}

func joinInts(list []int, sep string) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, sep)
}

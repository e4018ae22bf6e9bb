package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The table of rates is redrawn in place: what it leaves on a terminal is one
// table, with the log above it, each line once; and the totals at the end.
func TestLiveTable(t *testing.T) {
	config := hairpin(t, t.TempDir(), "net_null0")
	terminal, ours := openTerminal(t, 40, 120)
	cmd := exec.Command(ffwd, "run", "-c", config)
	cmd.Stdout, cmd.Stderr = terminal, terminal
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var output lockedBuffer
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		terminal.Close()
		close(ended)
	}()
	go io.Copy(&output, ours)
	t.Cleanup(func() { cmd.Process.Kill(); <-ended })

	redrawn := regexp.MustCompile(`\x1b\[\d+A`)
	eventually(t, "the table is not redrawn", func() bool { return len(redrawn.FindAllString(output.String(), -1)) >= 2 })
	for line, want := range map[string]int{"rx Mpps": 1, "frame_too_short|not_our_mac|ethertype": 1, "workers started": 1} {
		whole := regexp.MustCompile(line) // the table may be half drawn at any one look
		eventually(t, fmt.Sprintf("%q is not on the screen as often as %d times", line, want), func() bool {
			return len(whole.FindAllString(screenOf(output.String()), -1)) == want
		})
	}
	cmd.Process.Signal(syscall.SIGTERM)
	<-ended
	eventually(t, "no totals", func() bool { return strings.Contains(output.String(), "received ") })
	if screen := screenOf(output.String()); strings.Contains(screen, "rx Mpps") {
		t.Errorf("the table is left on the screen:\n%s", screen)
	}
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// openTerminal makes a pseudo-terminal; a program writes to one end, and what it
// wrote is read at ours.
func openTerminal(t *testing.T, rows, columns uint16) (program, ours *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(ours.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	}
	if err == nil {
		program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return program, ours
}

// control sequences that move the cursor or erase.
var controlSequence = regexp.MustCompile(`^\x1b\[(\d*)([AJ])`)

// screenOf is what a terminal of endless height shows after this output: text,
// new lines, and the sequences "cursor up" and "erase below".
func screenOf(output string) string {
	lines, row := []string{""}, 0
	for output != "" {
		if m := controlSequence.FindStringSubmatch(output); m != nil {
			output = output[len(m[0]):]
			if m[2] == "J" {
				lines = lines[:row+1]
				lines[row] = ""
				continue
			}
			up, _ := strconv.Atoi(m[1])
			row = max(0, row-max(1, up))
			continue
		}
		switch c := output[0]; c {
		case '\r':
		case '\n':
			if row++; row == len(lines) {
				lines = append(lines, "")
			}
		default:
			lines[row] += string(c)
		}
		output = output[1:]
	}
	return strings.Join(lines, "\n")
}

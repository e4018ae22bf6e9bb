package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"ffwd/control"
)

// screen shows a table that is redrawn in place, with the log scrolling above
// it. On anything but a terminal it shows nothing.
type screen struct {
	out, err *os.File
	live     bool // out is a terminal and we are to use it

	mu     sync.Mutex
	frame  []string // what is shown now
	before control.Mark
}

func newScreen(out, err *os.File, wanted bool) *screen {
	return &screen{out: out, err: err, live: wanted && isTerminal(out)}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// log returns where the log goes: standard error, without tearing the table when
// both are on one terminal.
func (s *screen) log() io.Writer {
	if s.live && isTerminal(s.err) {
		return logAbove{s}
	}
	return s.err
}

type logAbove struct{ *screen }

// Write prints a log line where the table was, and the table below it.
func (l logAbove) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	frame := l.frame
	l.erase()
	n, err := l.err.Write(line)
	l.draw(frame)
	return n, err
}

// refresh draws the rates since the last refresh.
func (s *screen) refresh(sw *control.Switch) {
	if !s.live {
		return
	}
	now := sw.Mark()
	report := sw.ReportBetween(s.before, now)
	s.before = now
	var text bytes.Buffer
	printRates(&text, &report)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.draw(strings.Split(strings.TrimRight(text.String(), "\n"), "\n"))
}

// clear takes the table away.
func (s *screen) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
}

// erase and draw: the caller holds mu.
func (s *screen) erase() {
	if len(s.frame) > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA\r\x1b[J", len(s.frame))
	}
	s.frame = nil
}

// draw prints a frame, cut to the terminal: a line that wraps or scrolls away
// could not be erased.
func (s *screen) draw(frame []string) {
	if size, err := unix.IoctlGetWinsize(int(s.out.Fd()), unix.TIOCGWINSZ); err == nil && size.Row > 1 {
		frame = frame[:min(len(frame), int(size.Row)-1)]
		for i, line := range frame {
			frame[i] = line[:min(len(line), int(size.Col))]
		}
	}
	for _, line := range frame {
		fmt.Fprintln(s.out, line)
	}
	s.frame = frame
}

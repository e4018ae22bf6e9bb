package queue

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ffwd/epoch"
)

// poorSocket has no descriptor for a connection, until it is closed.
type poorSocket struct {
	asked  atomic.Int32
	closed atomic.Bool
}

func (s *poorSocket) AcceptUnix() (*net.UnixConn, error) {
	if s.closed.Load() {
		return nil, net.ErrClosed
	}
	s.asked.Add(1)
	return nil, &net.OpError{Op: "accept", Net: "unixpacket", Err: unix.EMFILE}
}

func (s *poorSocket) Close() error { s.closed.Store(true); return nil }

// A process without descriptors asks for connections ever more seldom and says so once, and its
// end does not wait for the next time. Source: VQ-5
func TestOutOfDescriptors(t *testing.T) {
	var said bytes.Buffer
	set, err := NewSet([]Options{plain(0)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	socket := &poorSocket{}
	start := time.Now()
	server := Serve(set, socket, &epoch.Domain{}, slog.New(slog.NewTextHandler(&said, nil)))
	const times = 7
	for socket.asked.Load() < times {
		time.Sleep(time.Millisecond)
	}
	if least := firstPause * (1<<(times-1) - 1); time.Since(start) < least {
		t.Errorf("%d times in %v, less than %v", times, time.Since(start), least)
	}
	for range 2 {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := strings.Count(said.String(), "\n"); n != 1 || !strings.Contains(said.String(), "too many open files") {
		t.Errorf("%d lines:\n%s", n, said.String())
	}
}

// What stopped is told again after a while, with how often it was; a connection ends the pauses.
func TestFaultsAreToldAgain(t *testing.T) {
	var said bytes.Buffer
	a := acceptor{log: slog.New(slog.NewTextHandler(&said, nil))}
	for range 1000 {
		a.tell(unix.EMFILE)
	}
	a.logged = a.logged.Add(-faultInterval)
	a.tell(unix.ENFILE)
	if n := strings.Count(said.String(), "\n"); n != 2 || !strings.Contains(said.String(), "times=1000") {
		t.Errorf("%d lines:\n%s", n, said.String())
	}
}

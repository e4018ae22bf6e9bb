package queue

import (
	"errors"
	"log/slog"
	"net"
	"time"
)

// Accepter is a listening unix socket.
type Accepter interface {
	AcceptUnix() (*net.UnixConn, error)
	Close() error
}

// Pauses after connections that could not be accepted: each is twice the one before, and
// of those that follow one another one is logged in a while.
const (
	firstPause    = 5 * time.Millisecond
	longestPause  = time.Second
	faultInterval = time.Minute
)

// acceptor accepts connections through times when there are none to be had, because the
// process or the machine is out of descriptors or memory.
type acceptor struct {
	socket Accepter
	log    *slog.Logger
	closed <-chan struct{}
	pause  time.Duration // the latest; 0: all is well
	faults int           // since the latest that was logged
	logged time.Time
}

// next returns the next connection, or false when the socket is closed.
func (a *acceptor) next() (*net.UnixConn, bool) {
	for {
		c, err := a.socket.AcceptUnix()
		switch {
		case err == nil:
			a.pause = 0
			return c, true
		case errors.Is(err, net.ErrClosed):
			return nil, false
		}
		a.tell(err)
		a.pause = min(max(firstPause, 2*a.pause), longestPause)
		select {
		case <-time.After(a.pause):
		case <-a.closed:
		}
	}
}

// tell logs a fault, unless it has just logged another.
func (a *acceptor) tell(err error) {
	a.faults++
	if now := time.Now(); a.logged.IsZero() || now.Sub(a.logged) >= faultInterval {
		a.log.Warn("queue socket accepts no listener", "error", err, "times", a.faults)
		a.faults, a.logged = 0, now
	}
}

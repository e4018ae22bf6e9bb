package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ffwd/queue/wire"
)

// Bounds on listeners, so that none holds on to memory or a goroutine for nothing.
const (
	maxClients    = 64               // connections at once
	helloTimeout  = 10 * time.Second // from the connection to Ready, on a machine however busy
	sendTimeout   = time.Second      // for one message of ours
	limitInterval = time.Millisecond // between two messages of a listener, in the long run
	limitBurst    = 100
	drainTimeout  = time.Second // for the last verdicts of a listener that goes
	drainInterval = 100 * time.Microsecond
)

// Retirer frees memory when no worker can see it any more; the epoch's domain is one.
type Retirer interface{ Retire(free func()) }

// Server lets listeners in and out. One goroutine for each of them, which waits on its
// socket.
type Server struct {
	set     *Set
	retire  Retirer
	log     *slog.Logger
	socket  Accepter
	closed  chan struct{}
	mu      sync.Mutex // guards clients
	clients map[*net.UnixConn]struct{}
	ended   bool
	running sync.WaitGroup
}

// Serve answers on a listening unix socket of type SOCK_SEQPACKET until Close.
func Serve(set *Set, socket Accepter, retire Retirer, log *slog.Logger) *Server {
	s := &Server{set: set, retire: retire, log: log, socket: socket, closed: make(chan struct{}), clients: map[*net.UnixConn]struct{}{}}
	s.running.Add(1)
	go s.accept()
	return s
}

// Close sends all listeners away and returns when nothing of them is in use by the
// server. Workers that still run let go at their next poll.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.ended {
		s.ended = true
		close(s.closed)
	}
	for c := range s.clients {
		_ = c.CloseRead() // its goroutine does the rest
	}
	s.mu.Unlock()
	err := s.socket.Close()
	s.running.Wait()
	return err
}

func (s *Server) accept() {
	defer s.running.Done()
	a := acceptor{socket: s.socket, log: s.log, closed: s.closed}
	for {
		c, ok := a.next()
		if !ok {
			return
		}
		if !s.enter(c) {
			_ = refuse(c, wire.CodeBusy, fmt.Sprintf("%d listeners are connected, which is all there may be", maxClients))
			_ = c.Close()
			continue
		}
		go func() {
			defer s.leave(c)
			if err := s.serve(c); err != nil {
				s.log.Info("queue listener", "error", err)
			}
		}()
	}
}

func (s *Server) enter(c *net.UnixConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || len(s.clients) >= maxClients {
		return false
	}
	s.clients[c] = struct{}{}
	s.running.Add(1)
	return true
}

func (s *Server) leave(c *net.UnixConn) {
	_ = c.CloseWrite() // a worker may have a descriptor of it for a little longer
	_ = c.Close()
	s.mu.Lock()
	delete(s.clients, c)
	s.mu.Unlock()
	s.running.Done()
}

func (s *Server) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// serve is one listener's life.
func (s *Server) serve(c *net.UnixConn) error {
	if err := c.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
		return err
	}
	var hello wire.Hello
	if err := receive(c, hello.Unmarshal); err != nil {
		_ = refuse(c, wire.CodeProtocol, err.Error())
		return fmt.Errorf("hello: %w", err)
	}
	q := s.set.Lookup(hello.Queue)
	switch {
	case hello.Version != wire.Version:
		return refuse(c, wire.CodeVersion, fmt.Sprintf("version %d is spoken here, not %d", wire.Version, hello.Version))
	case q == nil:
		return refuse(c, wire.CodeNoQueue, fmt.Sprintf("there is no queue %d: see [[queues]] of the configuration", hello.Queue))
	case !q.claimed.CompareAndSwap(false, true):
		return refuse(c, wire.CodeBusy, fmt.Sprintf("queue %d has a listener, process %d", hello.Queue, q.Listener()))
	}
	b, err := s.bind(c, q, hello.Copy)
	if err != nil {
		q.claimed.Store(false)
		code := wire.CodeFault
		if errors.Is(err, wire.ErrMessage) {
			code = wire.CodeProtocol
		}
		_ = refuse(c, code, err.Error())
		return fmt.Errorf("queue %d: %w", q.Number, err)
	}
	s.log.Info("queue listener came", "queue", q.Number, "pid", b.pid)
	q.binding.Store(b)
	err = s.listen(c, q, b)
	s.drain(b)
	q.binding.Store(nil)
	// Another listener gets the queue when this one's memory is gone, so that none
	// can make it pile up.
	s.retire.Retire(func() {
		if err := b.close(); err != nil {
			s.log.Error("queue memory", "queue", q.Number, "error", err)
		}
		q.claimed.Store(false)
	})
	s.log.Info("queue listener went", "queue", q.Number, "pid", b.pid, "why", err)
	return nil
}

// drain waits until the workers have read the verdicts that a listener left behind, for what
// it decided before it went is decided. Workers do that within a poll.
func (s *Server) drain(b *binding) {
	end := time.Now().Add(drainTimeout)
	for w := range b.layout.Workers {
		_, in := b.layout.SwitchLane(b.packets, b.verdicts, w)
		for last := in.Tail(); in.Behind(last) && b.broken.Load() == nil && !s.stopping() && time.Now().Before(end); {
			time.Sleep(drainInterval)
		}
	}
}

// bind makes the memory, hands it to the listener, and seals it when that has mapped it.
func (s *Server) bind(c *net.UnixConn, q *Queue, copy uint32) (*binding, error) {
	b, err := newBinding(q.layout(s.set.workers))
	if err != nil {
		return nil, err
	}
	b.limit(q, copy)
	if err := b.adopt(c); err != nil {
		return nil, errors.Join(err, b.close())
	}
	welcome := wire.Welcome{
		Queue: q.Number, Layout: b.layout, Copy: b.copy.Load(), MaxPackets: uint32(q.MaxPackets),
		Timeout: q.Timeout, Stall: q.Stall,
	}
	if err := c.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return nil, errors.Join(err, b.close())
	}
	if _, _, err := c.WriteMsgUnix(welcome.Marshal(), unix.UnixRights(b.files...), nil); err != nil {
		return nil, errors.Join(fmt.Errorf("welcome: %w", err), b.close())
	}
	if err := receive(c, wire.CheckReady); err != nil {
		return nil, errors.Join(fmt.Errorf("ready: %w", err), b.close())
	}
	if err := b.seal(); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// adopt notes whose connection it is, and takes a descriptor of it for the workers.
func (b *binding) adopt(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			b.pid = int(cred.Pid)
		}
		b.socket, inner = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	})
	return errors.Join(err, inner)
}

// limit sets how much of each packet is copied: what the listener wants, but never more
// than the queue is configured for.
func (b *binding) limit(q *Queue, want uint32) {
	most := uint32(q.CopyBytes)
	if most == 0 || want != 0 && want < most {
		most = want
	}
	b.copy.Store(most)
}

// listen waits until the listener goes, or has to. The error says why.
func (s *Server) listen(c *net.UnixConn, q *Queue, b *binding) error {
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	started, messages := time.Now(), 0
	for {
		var limits wire.Limits
		closed := false
		err := receive(c, func(m []byte) error {
			t, _, err := wire.TypeOf(m)
			if closed = err == nil && t == wire.TypeClose; closed {
				return nil
			}
			return limits.Unmarshal(m)
		})
		broken, _ := b.broken.Load().(error)
		switch {
		case broken != nil:
			return refuse(c, wire.CodeProtocol, broken.Error())
		case s.stopping():
			return refuse(c, wire.CodeStopping, "the switch stops")
		case closed:
			return context.Canceled
		case errors.Is(err, wire.ErrMessage):
			return errors.Join(err, refuse(c, wire.CodeProtocol, err.Error()))
		case err != nil:
			return err
		}
		b.limit(q, limits.Copy)
		// Messages are rare. One who floods us is slowed down to what it may send.
		messages++
		if ahead := time.Duration(messages-limitBurst)*limitInterval - time.Since(started); ahead > 0 {
			time.Sleep(ahead)
		}
	}
}

// receive reads one message and gives it to f. Descriptors that come along are not
// taken: without room for them the kernel drops them.
func receive(c *net.UnixConn, f func([]byte) error) error {
	var m [wire.MaxMessage + 1]byte
	n, err := c.Read(m[:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: hello and ready did not come within %v", wire.ErrMessage, helloTimeout)
	}
	if err != nil {
		return err
	}
	if n > wire.MaxMessage {
		return fmt.Errorf("%w: longer than %d bytes", wire.ErrMessage, wire.MaxMessage)
	}
	return f(m[:n])
}

// refuse tells the listener why it has to go, if it still reads, and returns that.
func refuse(c *net.UnixConn, code wire.Code, text string) error {
	r := &wire.Refuse{Code: code, Text: text}
	if c.SetWriteDeadline(time.Now().Add(sendTimeout)) == nil {
		_, _ = c.Write(r.Marshal())
	}
	return r
}

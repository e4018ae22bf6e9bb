package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"ffwd/conf"
	"ffwd/pmd"
)

// Bounds on clients, so that none can hold on to memory or a goroutine.
const (
	headerTimeout  = 2 * time.Second
	requestTimeout = 10 * time.Second
	answerTimeout  = 30 * time.Second
	idleTimeout    = time.Minute
	maxHeaderBytes = 16 << 10
	maxClients     = 64 // connections at once
)

// server is an HTTP server on one listener.
type server struct {
	http     *http.Server
	listener net.Listener
	served   chan struct{}
	requests sync.WaitGroup // being answered; they may use anything of the switch
}

// listeners are what clients connect to; nil where there is none.
type listeners struct {
	control, queues, metrics net.Listener
}

// takeSockets takes the sockets and the metrics address, before anything else is touched: a
// second switch of the same configuration ends here. Clients wait until serve and
// serveQueues.
func (s *Switch) takeSockets(c *conf.Config) (err error) {
	s.undo(s.listeners.close)
	if path := c.Control.Socket; path != "" {
		if s.listeners.control, err = listenUnix("unix", path); err != nil {
			return fmt.Errorf("control.socket: %w", err)
		}
	}
	if len(c.Queues) > 0 {
		if s.listeners.queues, err = listenUnix("unixpacket", c.Control.QueueSocket); err != nil {
			return fmt.Errorf("control.queue_socket: %w", err)
		}
	}
	if address := c.Metrics.Address; address != "" {
		if s.listeners.metrics, err = net.Listen("tcp", address); err != nil {
			return fmt.Errorf("metrics.address: %w: choose another, or \"\" for none", err)
		}
	}
	return nil
}

// close closes what no server has closed before.
func (l *listeners) close() error {
	var errs []error
	for _, one := range []net.Listener{l.control, l.queues, l.metrics} {
		if one == nil {
			continue
		}
		if err := one.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// serve answers on the control socket and the metrics address.
func (s *Switch) serve(c *conf.Config) error {
	if l := s.listeners.control; l != nil {
		s.open(l, s.apiHandler())
		s.log.Info("control socket open", "path", c.Control.Socket)
	}
	if l := s.listeners.metrics; l != nil {
		s.open(l, s.metricsHandler())
		s.log.Info("metrics open", "url", "http://"+l.Addr().String()+"/metrics")
	}
	return nil
}

// open serves a handler until the switch is taken down.
func (s *Switch) open(l net.Listener, h http.Handler) {
	srv := &server{
		http: &http.Server{
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       requestTimeout,
			WriteTimeout:      answerTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		},
		listener: l,
		served:   make(chan struct{}),
	}
	srv.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		srv.requests.Add(1)
		defer srv.requests.Done()
		h.ServeHTTP(w, r)
	})
	go func() {
		defer close(srv.served)
		if err := srv.http.Serve(newBoundedListener(l, maxClients)); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("server ended", "address", l.Addr().String(), "error", err)
		}
	}()
	s.undo(srv.close)
}

// shutdownTimeout is what clients get to take their answers when the switch ends.
const shutdownTimeout = 300 * time.Millisecond

func (srv *server) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	err := srv.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.http.Close()
	}
	<-srv.served
	// Close has cancelled their contexts.
	return errors.Join(err, within(stopTimeout, "requests on "+srv.listener.Addr().String(), srv.requests.Wait))
}

// listenUnix listens on a socket of a network, "unix" or "unixpacket", of mode 0660, making its directory. A socket
// that nobody listens on any more is replaced; anything else that has the name
// is left alone, and is an error.
func listenUnix(network, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("%w: choose a path that this user may write, or \"\" for none", err)
	}
	if err := pmd.RemoveStaleSocket(path); err != nil {
		return nil, err
	}
	// The socket must not exist with another mode for an instant, so chmod will
	// not do. The umask is the whole process's; nothing else makes files now.
	mask := syscall.Umask(0o117)
	l, err := net.Listen(network, path)
	syscall.Umask(mask)
	if err != nil {
		return nil, fmt.Errorf("%w: choose a path that this user may write, or \"\" for none", err)
	}
	return l, nil
}

package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ffwd/queue/wire"
)

// ErrClosed is returned after Close, and when the switch ended the connection without
// saying why.
var ErrClosed = errors.New("the queue's connection is closed")

// Refused is the error when the switch said why it refuses this listener. Use errors.As.
type Refused = wire.Refuse

// Listener is the one listener of a queue.
type Listener struct {
	welcome  wire.Welcome
	conn     *net.UnixConn
	packets  []byte // shared memory
	verdicts []byte
	sleeping *atomic.Uint32
	in       []wire.Consumer // by worker
	out      []wire.Producer
	turn     int // worker that Receive begins with

	epoll  int // what Receive waits on: wake, the socket, and cancel
	wake   int // readable when packets came
	cancel int // eventfd: somebody wants Receive to return
	socket int // descriptor of the connection, for epoll

	using   sync.Mutex // held while the memory is in use
	closing atomic.Bool
	opts    options
	window  time.Duration // for which Receive looks before it sleeps, at most opts.spin
}

type options struct {
	copyBytes int
	spin      time.Duration
}

// An Option changes how a Listener is opened.
type Option func(*options)

// CopyBytes asks for the first n bytes of each packet only.
func CopyBytes(n int) Option { return func(o *options) { o.copyBytes = n } }

// Spin makes Receive look for packets for up to so long before it sleeps, DefaultSpin
// unless it is said otherwise, and 0 for not at all. To sleep and be woken costs both sides
// system calls, and the packet some microseconds. Receive looks only as long as packets
// come at such intervals, so that a queue where little comes keeps no processor busy.
func Spin(d time.Duration) Option { return func(o *options) { o.spin = d } }

// DefaultSpin is about ten times what going to sleep and being woken takes.
const DefaultSpin = 50 * time.Microsecond

// Open binds the caller to a queue of the switch that answers on a socket. ctx bounds
// the call, not the Listener's life.
//
// A *Refused error says why the switch does not want it.
func Open(ctx context.Context, socket string, queue uint16, opts ...Option) (*Listener, error) {
	var d net.Dialer
	dialled, err := d.DialContext(ctx, "unixpacket", socket)
	if err != nil {
		return nil, fmt.Errorf("queue %d: %w: is the switch running, and has it this control.queue_socket?", queue, err)
	}
	conn, ok := dialled.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("queue %d: a connection of type %T", queue, dialled), dialled.Close())
	}
	l := &Listener{conn: conn, epoll: -1, wake: -1, cancel: -1, socket: -1, opts: options{spin: DefaultSpin}}
	for _, o := range opts {
		o(&l.opts)
	}
	l.window = l.opts.spin
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetDeadline(time.Unix(1, 0)) })
	err = l.open(queue)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		_ = l.Close()
		return nil, fmt.Errorf("queue %d: %w", queue, err)
	}
	return l, nil
}

func (l *Listener) open(queue uint16) error {
	hello := wire.Hello{Version: wire.Version, Queue: queue, Copy: uint32(max(0, l.opts.copyBytes))}
	if err := l.tell(hello.Marshal()); err != nil {
		return err
	}
	message, files, err := l.message()
	if err != nil {
		return err
	}
	defer func() {
		for _, fd := range files {
			unix.Close(fd)
		}
	}()
	if err := l.welcome.Unmarshal(message); err != nil {
		return err
	}
	if len(files) != wire.Files {
		return fmt.Errorf("%w: welcome with %d descriptors, want %d", wire.ErrMessage, len(files), wire.Files)
	}
	if err := l.mapMemory(files); err != nil {
		return err
	}
	if err := l.tell(wire.Ready()); err != nil {
		return err
	}
	return l.watch()
}

// tell sends a message. The switch may have sent us away before it came: why is to be read.
func (l *Listener) tell(m []byte) error {
	if _, err := l.conn.Write(m); !errors.Is(err, unix.EPIPE) {
		return err
	}
	return nil
}

// message receives one message with the descriptors that came with it.
func (l *Listener) message() ([]byte, []int, error) {
	m, oob := make([]byte, wire.MaxMessage), make([]byte, unix.CmsgSpace(4*wire.Files))
	n, oobn, _, _, err := l.conn.ReadMsgUnix(m, oob)
	if errors.Is(err, unix.ECONNRESET) { // it left something of ours unread; what it said is behind that
		n, oobn, _, _, err = l.conn.ReadMsgUnix(m, oob)
	}
	if err != nil {
		return nil, nil, err
	}
	if n == 0 {
		return nil, nil, ErrClosed
	}
	var files []int
	control, err := unix.ParseSocketControlMessage(oob[:oobn])
	for i := range control {
		if fds, e := unix.ParseUnixRights(&control[i]); e == nil {
			files = append(files, fds...)
		}
	}
	var r wire.Refuse
	if r.Unmarshal(m[:n]) == nil {
		err = &r
	}
	if err != nil {
		for _, fd := range files {
			unix.Close(fd)
		}
		return nil, nil, err
	}
	return m[:n], files, nil
}

func (l *Listener) mapMemory(files []int) (err error) {
	layout := l.welcome.Layout
	sizes := [...]int{layout.PacketBytes(), layout.VerdictBytes()}
	for i, size := range sizes { // a file that is too short would fault later
		var st unix.Stat_t
		if err := unix.Fstat(files[i], &st); err != nil {
			return err
		}
		if st.Size < int64(size) {
			return fmt.Errorf("%w: memory of %d bytes, want %d", wire.ErrMessage, st.Size, size)
		}
	}
	if l.packets, err = unix.Mmap(files[0], 0, sizes[0], unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("map packets: %w", err)
	}
	if l.verdicts, err = unix.Mmap(files[1], 0, sizes[1], unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("map verdicts: %w", err)
	}
	l.wake, files[2] = files[2], -1
	l.sleeping = wire.Sleeping(l.verdicts)
	for w := range layout.Workers {
		in, out := layout.ListenerLane(l.packets, l.verdicts, w)
		l.in, l.out = append(l.in, in), append(l.out, out)
	}
	return nil
}

// watch gathers what Receive waits for in one epoll instance.
func (l *Listener) watch() (err error) {
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if l.cancel, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return err
	}
	raw, err := l.conn.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) { l.socket, inner = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, inner); err != nil {
		return err
	}
	for _, fd := range [...]int{l.wake, l.cancel, l.socket} {
		event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)}
		if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
			return err
		}
	}
	return nil
}

// Queue returns the queue's number.
func (l *Listener) Queue() uint16 { return l.welcome.Queue }

// Workers returns how many workers feed the queue.
func (l *Listener) Workers() int { return l.welcome.Layout.Workers }

// Timeout returns how long a packet waits for its verdict.
func (l *Listener) Timeout() time.Duration { return l.welcome.Timeout }

// Stall returns after what time without reading or deciding anything, while packets
// wait, the switch takes this listener for gone until it moves again.
func (l *Listener) Stall() time.Duration { return l.welcome.Stall }

// SetCopyBytes asks for the first n bytes of each packet only, 0 for as many as the
// queue is configured for. It holds for packets queued from then on.
func (l *Listener) SetCopyBytes(n int) error {
	m := wire.Limits{Copy: uint32(max(0, n))}
	_, err := l.conn.Write(m.Marshal())
	return err
}

// Close leaves the queue. What waits leaves by its rule's policy. A Receive under way
// returns ErrClosed. A second Close does nothing.
func (l *Listener) Close() error {
	if l.closing.Swap(true) {
		return nil
	}
	l.interrupt()
	l.using.Lock()
	defer l.using.Unlock()
	_, _ = l.conn.Write(wire.Close()) // closing says the same
	errs := []error{l.conn.Close()}
	for _, fd := range [...]int{l.epoll, l.wake, l.cancel, l.socket} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	for _, m := range [...][]byte{l.packets, l.verdicts} {
		if m != nil {
			errs = append(errs, unix.Munmap(m))
		}
	}
	return errors.Join(errs...)
}

// interrupt makes a Receive that sleeps look up.
func (l *Listener) interrupt() {
	if l.cancel >= 0 {
		_, _ = unix.Write(l.cancel, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

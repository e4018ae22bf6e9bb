package slowpath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// socket is an rtnetlink socket that is read into one buffer. Package netlink's
// own takes 64 KiB of heap for each datagram, and an event is a datagram: 100
// thousand routes would be 6 GiB of garbage. Not for concurrent use, but for
// close, which ends a receive that waits.
type socket struct {
	file   *os.File
	conn   syscall.RawConn
	buffer []byte
	seq    uint32

	read func(fd uintptr) bool // made once
	n    int
	from unix.Sockaddr
	err  error
}

// socketBufferBytes takes the largest piece of a dump that the kernel makes.
// Source: netlink_recvmsg in net/netlink/af_netlink.c, 32 KiB at most.
const socketBufferBytes = 64 << 10

// errOverrun: the kernel has dropped notifications that we did not read in time.
var errOverrun = errors.New("netlink notifications were lost")

// openSocket opens a socket in a namespace that gets the notifications of the
// groups, and holds up to receiveBytes of them.
func openSocket(ns *Netns, receiveBytes int, groups ...int) (*socket, error) {
	fd := -1
	err := ns.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	if err := setUp(fd, receiveBytes, groups); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("set up netlink socket: %w", err)
	}
	s := &socket{file: os.NewFile(uintptr(fd), "netlink"), buffer: make([]byte, socketBufferBytes)}
	if s.conn, err = s.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	s.read = func(fd uintptr) bool {
		// MSG_TRUNC asks for the datagram's true length.
		for {
			s.n, s.from, s.err = unix.Recvfrom(int(fd), s.buffer, unix.MSG_TRUNC)
			if !errors.Is(s.err, unix.EINTR) {
				return !errors.Is(s.err, unix.EAGAIN)
			}
		}
	}
	return s, nil
}

func setUp(fd, receiveBytes int, groups []int) error {
	// The bound of net.core.rmem_max holds for the second, the first needs
	// CAP_NET_ADMIN. Either doubles the figure for its bookkeeping.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBytes) != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBytes); err != nil {
			return fmt.Errorf("receive buffer of %d bytes: %w", receiveBytes, err)
		}
	}
	// Dumps of one table instead of all of them.
	if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1); err != nil {
		return fmt.Errorf("strict dumps (Linux 4.20 or newer): %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	for _, g := range groups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g); err != nil {
			return fmt.Errorf("join group %d: %w", g, err)
		}
	}
	return nil
}

// close may come from anybody at any time, and ends what waits.
func (s *socket) close() error { return s.file.Close() }

// control calls f with the descriptor, which is not closed meanwhile and perhaps another's.
func (s *socket) control(f func(fd int) error) error {
	var failed error
	if err := s.conn.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// receive returns the next datagram, valid until the next call. It waits for it
// until the file's deadline, or not at all.
func (s *socket) receive(wait bool) ([]byte, error) {
	s.err = nil
	read := s.read
	if !wait {
		read = func(fd uintptr) bool { return s.read(fd) || errors.Is(s.err, unix.EAGAIN) }
	}
	if err := s.conn.Read(read); err != nil {
		return nil, err
	}
	switch from, _ := s.from.(*unix.SockaddrNetlink); {
	case errors.Is(s.err, unix.ENOBUFS):
		return nil, errOverrun
	case s.err != nil:
		return nil, s.err
	case from == nil || from.Pid != nl.PidKernel:
		return nil, nil // another process's: whoever may send it, we do not listen
	case s.n > len(s.buffer):
		return nil, errOverrun
	}
	return s.buffer[:s.n], nil
}

// pending reports whether a datagram, or word of a loss, waits to be received.
func (s *socket) pending() bool {
	n := 0
	err := s.control(func(fd int) (err error) {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return err
	})
	return n > 0 || err != nil
}

// barrier returns when the kernel has done all that it was at when it sent the
// notifications received so far. It tells of an address, a link or a nexthop object
// before it drops the routes that go with it, which can take seconds, and dumps of
// routes wait for nobody. All of it happens under one lock, RTNL, that the request
// for a link needs too. Anybody may ask. Source: __inet_del_ifa in
// net/ipv4/devinet.c, __dev_notify_flags in net/core/dev.c, remove_nexthop in
// net/ipv4/nexthop.c, rtnl_getlink in net/core/rtnetlink.c; tried on Linux 6.18.
func (s *socket) barrier() error {
	r := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	loopback := familyHeader(unix.SizeofIfInfomsg, unix.AF_UNSPEC)
	binary.NativeEndian.PutUint32(loopback[4:], 1) // the first in every namespace
	r.AddData(loopback)
	return s.request(r, func(message) {})
}

// request sends a request and calls each for every message of the answer. The
// errors of a dump that changed under way wrap errInterrupted; its messages are
// good as far as they go.
func (s *socket) request(r *nl.NetlinkRequest, each func(m message)) error {
	s.seq++
	r.Seq = s.seq
	err := s.control(func(fd int) error {
		return unix.Sendto(fd, r.Serialize(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	})
	if err != nil {
		return fmt.Errorf("netlink request: %w", err)
	}
	interrupted := false
	for done := false; !done; {
		data, err := s.receive(true)
		if err != nil {
			return fmt.Errorf("netlink answer: %w", err)
		}
		for m := range messages(data) {
			if m.seq != r.Seq {
				continue
			}
			interrupted = interrupted || m.flags&unix.NLM_F_DUMP_INTR != 0
			switch m.kind {
			case unix.NLMSG_ERROR, unix.NLMSG_DONE:
				if err = errnoOf(m.data); err != nil {
					return err
				}
				done = true
			default:
				each(m)
			}
		}
	}
	if interrupted {
		return errInterrupted
	}
	return nil
}

// errInterrupted: what was dumped changed meanwhile.
var errInterrupted = errors.New("netlink dump was interrupted")

// errnoOf reads the code that NLMSG_ERROR and NLMSG_DONE begin with.
func errnoOf(data []byte) error {
	if len(data) < 4 {
		return nil
	}
	if code := int32(binary.NativeEndian.Uint32(data)); code < 0 {
		return syscall.Errno(-code)
	}
	return nil
}

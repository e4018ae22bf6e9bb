package slowpath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netnsDir is where ip-netns(8) keeps namespaces by name.
const netnsDir = "/run/netns"

// Netns is a network namespace that is held open: it lasts until Close even if
// its name goes.
type Netns struct {
	name string
	file *os.File
}

// OpenNetns opens a network namespace: a name under /run/netns, a path, or "" for
// the one the calling thread is in.
func OpenNetns(name string) (*Netns, error) {
	path := name
	switch {
	case name == "":
		path = "/proc/thread-self/ns/net"
	case !filepath.IsAbs(name):
		path = filepath.Join(netnsDir, name)
	}
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("network namespace %s: %w: make it with: ip netns add", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	return &Netns{name, file}, nil
}

// Name returns the name the namespace was opened by; "" is our own.
func (n *Netns) Name() string { return n.name }

// FD returns the namespace's descriptor, for setns(2) and for the options of
// package netlink that take a netns.NsHandle. It is valid until Close.
func (n *Netns) FD() int { return int(n.file.Fd()) }

// Close lets go of the namespace.
func (n *Netns) Close() error { return n.file.Close() }

// Do runs f on a thread that is in the namespace: for what looks at the calling
// thread's, like /dev/net/tun, /proc/sys/net and new sockets. Nothing that f
// starts may outlive it on that thread.
func (n *Netns) Do(f func() error) error {
	result := make(chan error, 1)
	go func() { result <- n.doHere(f) }()
	return <-result
}

// doHere is Do on the calling goroutine. A thread that cannot go back stays
// locked and ends with the goroutine: nobody else finds itself in the namespace.
func (n *Netns) doHere(f func() error) error {
	runtime.LockOSThread()
	ours, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("network namespace: %w", err)
	}
	defer ours.Close()
	if err := unix.Setns(n.FD(), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", n.file.Name(), err)
	}
	err = f()
	if unix.Setns(int(ours.Fd()), unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	return err
}

// Netlink opens a netlink socket in the namespace. The caller closes it.
func (n *Netns) Netlink() (*netlink.Handle, error) {
	h, err := netlink.NewHandleAt(netns.NsHandle(n.FD()), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink in namespace %s: %w", n.file.Name(), err)
	}
	return h, nil
}

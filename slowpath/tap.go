package slowpath

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TwinConfig describes the twin of a port or VLAN sub-port.
type TwinConfig struct {
	Iface     uint16 // the switch's index of the interface
	Name      string // of the TAP, at most 15 characters
	MAC       [6]byte
	MTUBytes  int // of L3
	Addresses []netip.Prefix
}

// tap is one TAP interface, configured and up. It goes with its descriptor.
type tap struct {
	file  *os.File // for reads, which wait
	fd    int      // of file, for writes and ioctls, which do not
	index int      // the kernel's interface index
}

const tunDevice = "/dev/net/tun"

// openTAP makes the TAP of a twin in the namespace. On failure nothing stays.
func openTAP(ns *Netns, c *TwinConfig) (t *tap, err error) {
	err = ns.Do(func() error {
		if t, err = createTAP(c.Name); err != nil {
			return err
		}
		if err := t.configure(c); err != nil {
			return errors.Join(err, t.close())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("TAP %s: %w", c.Name, err)
	}
	return t, nil
}

// createTAP makes the interface, in the namespace of the calling thread: bare
// frames, no header, nothing left to be done by hardware, not persistent.
func createTAP(name string) (*tap, error) {
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", tunDevice, err)
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	const exclusive = unix.IFF_TUN_EXCL // or we would join somebody else's
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | exclusive)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		unix.Close(fd)
		if errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("an interface of this name is there already: choose another with the port's key tap: %w", err)
		}
		return nil, fmt.Errorf("create: %w", err)
	}
	// Every frame that the kernel gives us is whole: it computes checksums and
	// cuts segments itself.
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, 0); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("turn offloads off: %w", err)
	}
	// Only now: a descriptor without an interface cannot be waited for.
	return &tap{file: os.NewFile(uintptr(fd), name), fd: fd}, nil
}

// configure gives the interface the port's properties and sets it up.
func (t *tap) configure(c *TwinConfig) error {
	link, err := netlink.LinkByName(c.Name)
	if err != nil {
		return fmt.Errorf("find: %w", err)
	}
	t.index = link.Attrs().Index
	if err := netlink.LinkSetHardwareAddr(link, c.MAC[:]); err != nil {
		return fmt.Errorf("set address %x: %w", c.MAC, err)
	}
	if err := netlink.LinkSetMTU(link, c.MTUBytes); err != nil {
		return fmt.Errorf("set mtu %d: %w", c.MTUBytes, err)
	}
	if err := t.setCarrier(false); err != nil { // until the port's link is known
		return err
	}
	if err := configureSysctls(c.Name); err != nil {
		return err
	}
	for _, a := range c.Addresses {
		if err := addAddress(link, a); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	return nil
}

// addAddress adds an address that is ours without asking the network for it: the
// port had it before, and answers for it now.
func addAddress(link netlink.Link, prefix netip.Prefix) error {
	address, err := netlink.ParseAddr(prefix.String())
	if err != nil {
		return fmt.Errorf("address %s: %w", prefix, err)
	}
	if prefix.Addr().Is6() {
		address.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrAdd(link, address); err != nil {
		return fmt.Errorf("add address %s: %w", prefix, err)
	}
	return nil
}

// setCarrier makes the interface have a carrier or none.
func (t *tap) setCarrier(up bool) error {
	on := 0
	if up {
		on = 1
	}
	if err := unix.IoctlSetPointerInt(t.fd, unix.TUNSETCARRIER, on); err != nil {
		return fmt.Errorf("set carrier (Linux 5.0 or newer): %w", err)
	}
	return nil
}

// write gives the kernel a frame. It never waits.
func (t *tap) write(frame []byte) error {
	_, err := unix.Write(t.fd, frame)
	return err
}

func (t *tap) close() error { return t.file.Close() }

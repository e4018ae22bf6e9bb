package pmd

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Settings of the kernel interfaces that ports stand on. What a port changes there would
// outlive the process, so it is remembered and put back.

// KernelInterface returns the kernel interface that the port stands on, or "".
func (p *Port) KernelInterface() string { return p.device.kernelInterface() }

// RestoreInterface gives the kernel interface the MTU, the MAC and the multicast filter back
// that it had before Open, unless somebody else has changed them since. Close does so too; this is for a port
// that cannot be closed, and touches nothing that workers use.
func (p *Port) RestoreInterface() error {
	return errors.Join(p.restoreMTU(), p.restoreMAC(), p.restoreMulticast())
}

func (p *Port) restoreMTU() error {
	before := p.mtuBefore.Swap(0)
	if before == 0 {
		return nil
	}
	iface := p.device.kernelInterface()
	now, err := interfaceMTU(iface)
	if err == nil && now == p.config.MTUBytes {
		err = setInterfaceMTU(iface, int(before))
	}
	return p.wrapPresent("restore the mtu", err) // it may be gone, with its namespace
}

func (p *Port) restoreMAC() error {
	before := p.macBefore.Swap(nil)
	if before == nil {
		return nil
	}
	link, err := netlink.LinkByName(p.device.kernelInterface())
	if err == nil && bytes.Equal(link.Attrs().HardwareAddr, p.config.MAC) {
		err = netlink.LinkSetHardwareAddr(link, *before)
	}
	return p.wrapPresent("restore the mac", err)
}

func (p *Port) restoreMulticast() error {
	if !p.allMulticast.Swap(false) {
		return nil
	}
	link, err := netlink.LinkByName(p.device.kernelInterface())
	if err == nil {
		err = netlink.LinkSetAllmulticastOff(link)
	}
	return p.wrapPresent("restore the multicast filter", err)
}

// wrapPresent words an error about a kernel interface, unless that the interface is gone.
func (p *Port) wrapPresent(op string, err error) error {
	var gone netlink.LinkNotFoundError
	if errors.As(err, &gone) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return p.wrap(op, err)
}

// claim holds a kernel interface for one port. The zero claim holds nothing.
type claim struct {
	socket *net.UnixConn
	index  int // of the interface
}

// claim takes the device's kernel interface, if it stands on one. Two switches on one
// interface would both forward what comes in by a packet socket, and the second one's
// AF_XDP socket, refused, takes the first one's program along. The claim is the name of
// an abstract socket, which the namespace has once, and which goes with the process.
func (d device) claim() (claim, error) {
	name := d.kernelInterface()
	if name == "" {
		return claim{}, nil
	}
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return claim{}, err
	}
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: fmt.Sprintf("@ffwd/interface/%d", iface.Index)})
	if errors.Is(err, unix.EADDRINUSE) {
		return claim{}, refusal{fmt.Sprintf("interface %s is a port already, of this switch or of another one that runs: give each port its own", name), fs.ErrExist}
	}
	return claim{socket, iface.Index}, err
}

func (c claim) release() error {
	if c.socket == nil {
		return nil
	}
	return c.socket.Close()
}

// lendMTU gives the interface the port's MTU and remembers what it had.
func (p *Port) lendMTU(iface string) error {
	before, err := interfaceMTU(iface)
	if err != nil || before == p.config.MTUBytes {
		return err
	}
	if err := setInterfaceMTU(iface, p.config.MTUBytes); err != nil {
		return err
	}
	p.mtuBefore.Store(int64(before))
	return nil
}

// lendMAC gives the device the port's MAC. What the kernel interface under it had, if
// there is one, is remembered.
func (p *Port) lendMAC() error {
	before, err := p.id.MAC()
	if err != nil {
		return err
	}
	if err := p.id.SetMAC(p.config.MAC); err != nil {
		return err
	}
	if p.device.kernelInterface() != "" && !bytes.Equal(before, p.config.MAC) {
		p.macBefore.Store(&before)
	}
	return nil
}

// lendAllMulticast makes the interface take every multicast frame, as DPDK's drivers for
// kernel interfaces cannot.
func (p *Port) lendAllMulticast(iface string) error {
	link, err := netlink.LinkByName(iface)
	if err != nil || link.Attrs().RawFlags&unix.IFF_ALLMULTI != 0 {
		return err
	}
	if err := netlink.LinkSetAllmulticastOn(link); err != nil {
		return fmt.Errorf("interface %s: receive all multicast: %w", iface, err)
	}
	p.allMulticast.Store(true)
	return nil
}

// interfaceRunning reports whether a kernel interface is up and has a carrier.
func interfaceRunning(name string) (bool, error) {
	var flags uint16
	err := interfaceRequest(name, unix.SIOCGIFFLAGS, func(*unix.Ifreq) {}, func(r *unix.Ifreq) { flags = r.Uint16() })
	const running = unix.IFF_UP | unix.IFF_RUNNING
	return flags&running == running, err
}

func interfaceMTU(name string) (bytes int, err error) {
	err = interfaceRequest(name, unix.SIOCGIFMTU, func(*unix.Ifreq) {}, func(r *unix.Ifreq) { bytes = int(r.Uint32()) })
	return bytes, err
}

// setInterfaceMTU sets a kernel interface's MTU.
func setInterfaceMTU(name string, bytes int) error {
	return interfaceRequest(name, unix.SIOCSIFMTU, func(r *unix.Ifreq) { r.SetUint32(uint32(bytes)) }, func(*unix.Ifreq) {})
}

// interfaceRequest makes one ioctl on a kernel interface.
func interfaceRequest(name string, request uint, fill, read func(*unix.Ifreq)) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	defer unix.Close(fd)
	ifreq, err := unix.NewIfreq(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	fill(ifreq)
	if err := unix.IoctlIfreq(fd, request, ifreq); err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	read(ifreq)
	return nil
}

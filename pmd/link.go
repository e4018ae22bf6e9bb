package pmd

import (
	"fmt"

	"golang.org/x/sys/unix"

	"ffwd/bindings"
)

// Link is the state of a port's link.
type Link = bindings.Link

// Link reads the port's link without waiting. It notes a change since the last call
// in LinkGeneration, which is how a device without link interrupts gets one: the
// control side calls Link now and then.
//
// A device on a kernel interface has that interface's carrier; its driver claims the
// link to be up.
func (p *Port) Link() (Link, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == closed {
		return Link{}, p.fail("link", errClosed)
	}
	link, err := p.id.Link()
	if err != nil {
		return Link{}, p.fail("link", err)
	}
	if iface := p.device.kernelInterface(); iface != "" && link.Up {
		if link.Up, err = interfaceRunning(iface); err != nil {
			return Link{}, p.fail("link", err)
		}
	}
	if link != p.lastLink {
		p.lastLink = link
		p.linkChanges.Add(1)
	}
	return link, nil
}

// LinkGeneration grows with every change of the link that was noticed, by interrupt or
// by Link. Any thread.
func (p *Port) LinkGeneration() uint32 { return p.linkChanges.Load() + p.id.LinkEvents() }

// KernelInterface returns the kernel interface that the port stands on, or "".
func (p *Port) KernelInterface() string { return p.device.kernelInterface() }

// HasLinkInterrupt reports whether the device announces link changes by itself.
func (p *Port) HasLinkInterrupt() bool { return p.linkInterrupt }

// interfaceRunning reports whether a kernel interface is up and has a carrier.
func interfaceRunning(name string) (bool, error) {
	var flags uint16
	err := interfaceRequest(name, unix.SIOCGIFFLAGS, func(*unix.Ifreq) {}, func(r *unix.Ifreq) { flags = r.Uint16() })
	const running = unix.IFF_UP | unix.IFF_RUNNING
	return flags&running == running, err
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

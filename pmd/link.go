package pmd

import "ffwd/bindings"

// Link is the state of a port's link.
type Link = bindings.Link

// Link asks the driver for the port's link, without waiting for it. Link interrupts are
// left off: with them DPDK answers with what the last one said, and devices that offer
// them may give none, as 82574 and vmxnet3 do under vfio.
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
	if !link.Up {
		link.SpeedMbit = 0 // vmxnet3 goes on to say what it would be
	}
	return link, nil
}

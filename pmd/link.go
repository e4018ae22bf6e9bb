package pmd

import (
	"time"

	"ffwd/bindings"
)

// dialInterval is how often a device whose peer is gone looks for it.
const dialInterval = time.Second

// Link is the state of a port's link.
type Link = bindings.Link

// Link asks the driver for the port's link, without waiting for it. Link interrupts are
// left off: with them DPDK answers with what the last one said, and devices that offer
// them may give none, as 82574 and vmxnet3 do under vfio.
//
// A device that dials its peer has lost it when the link is down, and dials anew, once
// in a while. The error is why it cannot.
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
	if !link.Up && p.state == started && p.device.dials() {
		return Link{}, p.redial()
	}
	if !link.Up {
		link.SpeedMbit = 0 // vmxnet3 goes on to say what it would be
	}
	return link, nil
}

// redial starts a device that has lost its peer, or never had it, if it is time to. That
// the link is up the driver says when the peer has answered. The caller holds mu.
func (p *Port) redial() error {
	if time.Since(p.dialed) < dialInterval {
		return nil
	}
	p.dialed = time.Now()
	return p.wrap("link: no peer yet", p.id.StartBehind(p.gate))
}

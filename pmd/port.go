package pmd

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ffwd/bindings"
)

// minMTUBytes is what every IPv4 link must carry. Source: RFC 791.
const minMTUBytes = 68

// DefaultDescriptors is the length of a device queue where PortConfig leaves it open.
const DefaultDescriptors = 1024

// PortConfig describes a port to open.
type PortConfig struct {
	Name   string // as the user knows it: "wan"
	Device string // PCI address or software device, with DPDK's arguments

	MTUBytes int              // without the Ethernet header; 0: DefaultMTUBytes
	MAC      net.HardwareAddr // nil: the device's own

	// RxQueues and TxQueues are how many are wanted, usually one per worker. The port
	// may have fewer receive queues; of TxQueues it always has as many.
	RxQueues, TxQueues int
	DeviceTxQueues     int // most queues of the device behind TxQueues; 0: as many as it has
	RxDesc, TxDesc     int // descriptors per queue; 0: DefaultDescriptors

	Promiscuous bool
	Checksums   bool // have the device verify those of TCP and UDP, where it can
}

func (c PortConfig) withDefaults() (PortConfig, error) {
	if c.MTUBytes == 0 {
		c.MTUBytes = DefaultMTUBytes
	}
	if c.RxDesc == 0 {
		c.RxDesc = DefaultDescriptors
	}
	if c.TxDesc == 0 {
		c.TxDesc = DefaultDescriptors
	}
	const maxUint16 = 65535
	switch {
	case c.Name == "":
		return c, errors.New("a port needs a name")
	case c.RxQueues < 1 || c.RxQueues > maxUint16:
		return c, fmt.Errorf("rx queues: %d: at least 1 is needed", c.RxQueues)
	case c.TxQueues < 1 || c.TxQueues > maxUint16:
		return c, fmt.Errorf("tx queues: %d: at least 1 is needed", c.TxQueues)
	case c.DeviceTxQueues < 0:
		return c, fmt.Errorf("tx queues of the device: %d is negative", c.DeviceTxQueues)
	case c.RxDesc < 0 || c.RxDesc > maxUint16 || c.TxDesc < 0 || c.TxDesc > maxUint16:
		return c, fmt.Errorf("descriptors: %d and %d are not within 1 and %d", c.RxDesc, c.TxDesc, maxUint16)
	case c.MTUBytes < minMTUBytes || c.MTUBytes > MaxMTUBytes:
		return c, fmt.Errorf("mtu: %d is not within %d (RFC 791) and %d", c.MTUBytes, minMTUBytes, MaxMTUBytes)
	case c.MAC != nil && (len(c.MAC) != 6 || c.MAC[0]&1 != 0):
		return c, fmt.Errorf("mac: %s is no unicast Ethernet address", c.MAC)
	}
	return c, nil
}

type portState int

const (
	opened portState = iota
	started
	stopped
	closed
)

var (
	errClosed  = errors.New("port is closed")
	errStopped = errors.New("this driver cannot start again after a stop: close the port and open it anew")
)

// Port is an open port. Its methods belong to the control side.
type Port struct {
	name    string
	device  device
	id      bindings.PortID
	runtime *Runtime
	config  PortConfig
	info    bindings.DeviceInfo

	rx    []*RxQueue
	tx    []*TxQueue
	locks []bindings.TxLock
	nTx   int           // device queues behind tx
	gate  bindings.Gate // of a driver that is unguarded

	mac          net.HardwareAddr
	promiscuous  bool         // set by us, to be taken back
	mtuBefore    atomic.Int64 // of the kernel interface, to be given back; 0: nothing is
	claim        claim
	macBefore    atomic.Pointer[net.HardwareAddr] // likewise
	allMulticast atomic.Bool                      // set by us on the kernel interface
	rssKey       []byte
	symmetricRSS bool

	mu     sync.Mutex // guards what follows
	state  portState
	dialed time.Time // when a device that dials did so last
}

// Name returns the port's name from its configuration.
func (p *Port) Name() string { return p.name }

// ID returns DPDK's number of the port, as in packet.Mbuf.Port.
func (p *Port) ID() uint16 { return uint16(p.id) }

// Driver returns the name of the driver.
func (p *Port) Driver() string { return p.info.Driver }

// Socket returns the NUMA socket of the device, or bindings.AnySocket.
func (p *Port) Socket() int { return p.id.Socket() }

// MTU returns the port's MTU in bytes.
func (p *Port) MTU() int { return p.config.MTUBytes }

// MAC returns the port's Ethernet address.
func (p *Port) MAC() net.HardwareAddr { return slices.Clone(p.mac) }

// RxQueues returns the port's receive queues, one or more. They are gone with Close.
func (p *Port) RxQueues() []*RxQueue { return slices.Clone(p.rx) }

// TxQueues returns the port's ways out, as many as were wanted. They are gone with Close.
func (p *Port) TxQueues() []*TxQueue { return slices.Clone(p.tx) }

// SymmetricRSS reports whether the device keeps both directions of a flow on the
// receive queue of the same number on every such port. Verified by Start; false
// before it, with one queue, and for every software device.
func (p *Port) SymmetricRSS() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.symmetricRSS
}

// RETASize returns the entries of the device's redirection table, 0 if it has none.
// Entry i leads to queue i modulo the number of queues.
func (p *Port) RETASize() int { return p.info.RETASize }

// Start lets packets flow.
func (p *Port) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.state == started:
		return nil
	case p.state == closed:
		return p.fail("start", errClosed)
	case p.state == stopped && p.device.driver.stopIsFinal:
		return p.fail("start", errStopped)
	}
	if err := p.startDevice(); err != nil {
		return p.fail("start", err)
	}
	p.state = started
	p.symmetricRSS = p.verifySymmetricRSS(p.info)
	return nil
}

func (p *Port) startDevice() error {
	if !p.device.driver.unguarded {
		return p.id.Start()
	}
	p.dialed = time.Now()
	if err := p.id.StartBehind(p.gate); err != nil && !p.device.dials() {
		return err
	}
	return nil // its peer may be late; Link goes on to dial
}

// Stop ends the flow. No worker may use the port's queues any more.
func (p *Port) Stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stop()
}

func (p *Port) stop() error {
	if p.state != started {
		return nil
	}
	p.state = stopped
	if p.device.driver.keepsMbufs {
		p.drain()
	}
	for i := range p.nTx {
		p.id.ReclaimTx(i)
	}
	if p.device.driver.unguarded {
		return p.wrap("stop", p.id.StopBehind(p.gate))
	}
	return p.wrap("stop", p.id.Stop())
}

// drain frees what waits in the receive queues. The number of rounds is bounded in
// case something keeps filling them.
func (p *Port) drain() {
	const burst, rounds = 64, 1 << 16
	array := bindings.NewMbufArray(burst)
	defer bindings.FreeMbufArray(array)
	for _, q := range p.rx {
		for range rounds {
			n := q.Rx(array, burst)
			if n == 0 {
				break
			}
			bindings.FreeBulk(array, n)
		}
	}
}

// Close stops the port, frees its queues and gives the device back. A second Close
// does nothing.
func (p *Port) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == closed {
		return nil
	}
	err := p.stop()
	p.state = closed
	p.runtime.forget(p)
	if p.device.driver.unguarded {
		return err
	}
	return errors.Join(err, p.release())
}

// release gives the device back.
func (p *Port) release() error {
	var errs []error
	if p.promiscuous { // on a kernel interface it would outlive us
		errs = append(errs, p.wrap("clear promiscuous", p.id.SetPromiscuous(false)))
	}
	errs = append(errs,
		p.wrap("close", p.id.Close()),
		p.wrap("close", bindings.RemoveDevice(p.info.Device)),
		p.RestoreInterface(),
		p.claim.release())
	p.freeQueues()
	return errors.Join(errs...)
}

// fail words an error: "port wan: start: ...".
func (p *Port) fail(op string, err error) error {
	return fmt.Errorf("port %s: %s: %w", p.name, op, err)
}

func (p *Port) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return p.fail(op, err)
}

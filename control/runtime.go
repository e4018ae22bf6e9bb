package control

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"ffwd/conf"
	"ffwd/pipeline"
	"ffwd/pmd"
)

// startRuntime brings up DPDK and its pools as the configuration asks.
func startRuntime(c *conf.Config, a *affinity) (*pmd.Runtime, error) {
	o := pmd.Options{
		MainCores:    a.others(),
		Mbufs:        c.Pool.Mbufs,
		CacheSize:    c.Pool.Cache,
		MemoryMB:     c.EAL.MemoryMB,
		ExtraEALArgs: c.EAL.Args,
	}
	if o.CacheSize == 0 {
		o.CacheSize = pmd.NoCache
	}
	if o.Mbufs == 0 {
		o.Mbufs = mbufsFor(c)
	}
	for _, core := range c.Workers.Cores {
		if socket := pmd.CoreSocket(core); !slices.Contains(o.Sockets, socket) {
			o.Sockets = append(o.Sockets, socket)
		}
	}
	for i := range c.Ports {
		p := &c.Ports[i]
		o.MaxMTUBytes = max(o.MaxMTUBytes, p.MTU)
		if isPCI(p.Device) {
			o.PCIDevices = append(o.PCIDevices, p.Device)
		}
	}
	switch c.EAL.HugePages {
	case conf.HugeRequire:
		o.HugePages = true
	case conf.HugeAuto:
		o.HugePages = len(o.PCIDevices) > 0 || o.HugePagesSuffice()
	}
	rt, err := pmd.Start(o)
	if err != nil {
		return nil, fmt.Errorf("dpdk: %w", err)
	}
	return rt, nil
}

// isPCI tells a PCI address from a software device's name: only the former has
// a colon before the arguments.
func isPCI(device string) bool {
	name, _, _ := strings.Cut(device, ",")
	return strings.Contains(name, ":")
}

// mbufsFor is the smallest pool that can never run dry: every descriptor and
// every slot of a handoff ring or a verdict queue holds an mbuf, and so does every
// fragment that may wait for its first one; each worker has a cache and what it has in hand. Of the form 2^k-1, which wastes no memory.
func mbufsFor(c *conf.Config) int {
	workers := len(c.Workers.Cores)
	mtuBytes, devices := 0, 0
	for i := range c.Ports {
		mtuBytes = max(mtuBytes, c.Ports[i].MTU)
		if !c.Ports[i].IsVLAN() {
			devices++
		}
	}
	inHand := pipeline.MbufsInHand(devices, c.Workers.Burst, mtuBytes) + 2*c.Pool.Cache
	n := workers * (inHand + (workers-1)*c.Workers.HandoffRing)
	if c.CT.Enabled {
		n += workers * c.CT.Fragments.MaxPackets
	}
	for i := range c.Queues {
		n += workers * c.Queues[i].MaxPackets
	}
	for i := range c.Ports {
		p := &c.Ports[i]
		n += queues(p.RxQueues, workers)*p.RxDescriptors + queues(p.TxQueues, workers)*p.TxDescriptors
	}
	const least = 1<<13 - 1
	return max(least, 1<<bits.Len(uint(n))-1)
}

// queues is how many queues a port is asked for: one per worker unless told.
func queues(configured, workers int) int {
	if configured != 0 {
		return configured
	}
	return workers
}

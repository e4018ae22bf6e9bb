package pmd

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"

	"ffwd/bindings"
)

// Defaults of Options.
const (
	DefaultMbufs     = 16383 // per socket; 2^k-1 wastes no memory
	DefaultPoolCache = 256
	DefaultMTUBytes  = 1500
)

// NoCache is the Options.CacheSize of pools without caches.
const NoCache = -1

// MaxMTUBytes is the largest MTU whose frames fit one mbuf, of 64 KiB with headroom.
const MaxMTUBytes = math.MaxUint16/rxBufferStep*rxBufferStep - tpacketSlackBytes - frameExtraBytes

// driverMemoryMB is set aside for what drivers allocate: rings, queues, tables. Without
// huge pages it also holds the pools of net_af_xdp; what is not used costs nothing.
const (
	driverMemoryMB         = 64
	driverMemoryNoHugePage = 512
)

// Options says how the runtime starts. The zero value works: no huge pages, software
// devices only.
type Options struct {
	ProgramName string // as DPDK knows it; empty: "ffwd"

	// MainCores are the CPU cores for DPDK's control threads, apart from the workers'.
	// Empty: all cores of this process.
	MainCores []int

	// HugePages takes packet memory from free huge pages. NICs need it.
	HugePages bool

	// PCIDevices are the PCI addresses that Open will be asked for. Naming them here
	// lets DPDK choose its address mode to suit them. PCI alone just turns the bus on.
	PCIDevices []string
	PCI        bool

	// Sockets are the NUMA sockets that get a pool: those of ports and workers. Empty:
	// socket 0. Without huge pages there is one pool, on no particular socket.
	Sockets []int

	Mbufs        int // mbufs per pool; 0: DefaultMbufs
	CacheSize    int // mbufs cached per worker and pool; 0: DefaultPoolCache, NoCache: none
	MaxMTUBytes  int // largest MTU of any port; 0: DefaultMTUBytes
	DataRoom     int // bytes of buffer per mbuf with headroom; 0: from MaxMTUBytes
	MemoryMB     int // MiB of packet memory; 0: what the pools need
	ExtraEALArgs []string
}

// withDefaults fills in what was left at zero and refuses what cannot be.
func (o Options) withDefaults() (Options, error) {
	if o.Mbufs == 0 {
		o.Mbufs = DefaultMbufs
	}
	switch o.CacheSize {
	case 0:
		o.CacheSize = min(DefaultPoolCache, o.Mbufs*2/3)
	case NoCache:
		o.CacheSize = 0
	}
	if o.MaxMTUBytes == 0 {
		o.MaxMTUBytes = DefaultMTUBytes
	}
	if len(o.Sockets) == 0 {
		o.Sockets = []int{0}
	}
	if !o.HugePages {
		o.Sockets = []int{bindings.AnySocket}
	}
	switch {
	case o.Mbufs < 0:
		return o, fmt.Errorf("mbufs: %d is negative", o.Mbufs)
	case o.CacheSize < 0 || o.CacheSize > bindings.MaxPoolCache || o.CacheSize*3 > o.Mbufs*2:
		return o, fmt.Errorf("mbuf cache: %d is not within 0 and %d, two thirds of %d mbufs at most", o.CacheSize, bindings.MaxPoolCache, o.Mbufs)
	case o.MaxMTUBytes < minMTUBytes || o.MaxMTUBytes > MaxMTUBytes:
		return o, fmt.Errorf("mtu: %d is not within %d and %d", o.MaxMTUBytes, minMTUBytes, MaxMTUBytes)
	}
	if o.DataRoom == 0 {
		o.DataRoom = dataRoomFor(o.MaxMTUBytes)
	}
	if o.DataRoom < dataRoomFor(o.MaxMTUBytes) || o.DataRoom > math.MaxUint16 {
		return o, fmt.Errorf("data room: %d is not within %d, for an mtu of %d, and %d", o.DataRoom, dataRoomFor(o.MaxMTUBytes), o.MaxMTUBytes, math.MaxUint16)
	}
	return o, nil
}

// Runtime is the running EAL with its pools and ports. There is one per process.
type Runtime struct {
	options Options
	pools   []*Pool
	kernel  []*Pool // of ports whose driver never gives all mbufs back; guarded by mu

	mu     sync.Mutex
	ports  []*Port // in the order of opening
	late   []*Port // closed, but their devices stay until Close
	bound  []int   // interfaces of closed ports whose drivers bind each once
	closed bool
}

// Start brings DPDK up and makes the pools. It works once per process, also after
// Close. On failure nothing is left behind, and the error is one line.
func Start(o Options) (*Runtime, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	pci := make([]string, 0, len(o.PCIDevices))
	for _, text := range o.PCIDevices {
		d, err := parseDevice(text)
		if err == nil {
			err = d.check(o.HugePages)
		}
		if err != nil {
			return nil, fmt.Errorf("start: %w", err)
		}
		pci = append(pci, d.String())
	}
	needMB := o.poolMB()
	if o.HugePages {
		if free := bindings.FreeHugePagesMB(); free < needMB {
			return nil, fmt.Errorf("start: %d mbufs on %d sockets need %d MB of huge pages, %d MB are free: reserve more (/sys/kernel/mm/hugepages/*/nr_hugepages), lower the number of mbufs, or run without huge pages",
				o.Mbufs, len(o.Sockets), needMB, free)
		}
		// Taken at once, as long as nobody else has: DPDK ends the process where it finds
		// none later (rte_eth_dev_allocate). By node it cannot be said with -m.
		if o.MemoryMB = 0; len(o.Sockets) == 1 {
			o.MemoryMB = needMB
		}
	} else if o.MemoryMB == 0 {
		o.MemoryMB = needMB
	}
	if err := bindings.InitEAL(bindings.EALOptions{
		ProgramName: o.ProgramName,
		MainCores:   o.MainCores,
		HugePages:   o.HugePages,
		MemoryMB:    o.MemoryMB,
		PCI:         o.PCI || len(pci) > 0,
		Allow:       pci,
		Extra:       o.ExtraEALArgs,
	}); err != nil {
		return nil, err
	}
	r := &Runtime{options: o}
	for _, socket := range slices.Compact(slices.Sorted(slices.Values(o.Sockets))) {
		if err := r.addPool(socket); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

// poolMB returns the memory for all pools and what drivers need beside them, in MiB.
func (o Options) poolMB() int {
	extraMB := driverMemoryMB
	if !o.HugePages {
		extraMB = driverMemoryNoHugePage
	}
	bytes := len(o.Sockets) * o.Mbufs * (bindings.MbufBytes(o.DataRoom) + 8) // 8: the free ring
	return bytes>>20 + 1 + extraMB
}

func (r *Runtime) addPool(socket int) error {
	name := "mbufs"
	if socket != bindings.AnySocket {
		name += strconv.Itoa(socket)
	}
	mempool, err := bindings.NewMempool(name, r.options.Mbufs, r.options.CacheSize, r.options.DataRoom, socket)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	r.pools = append(r.pools, &Pool{mempool: mempool, socket: socket})
	return nil
}

// addKernelPool makes a pool for one port whose driver shares it with the kernel. It
// lives until Close, because other ports may still hold mbufs of it when its own is
// closed. The caller holds mu.
func (r *Runtime) addKernelPool(device string, socket, dataRoom int) (*Pool, error) {
	if !r.options.HugePages {
		socket = bindings.AnySocket
	}
	name := fmt.Sprintf("%.16s-%d", device, len(r.kernel)) // DPDK's names end at 25 bytes
	mempool, err := bindings.NewMempool(name, r.options.Mbufs, r.options.CacheSize, dataRoom, socket)
	if err != nil {
		return nil, err
	}
	pool := &Pool{mempool: mempool, socket: socket}
	r.kernel = append(r.kernel, pool)
	return pool, nil
}

// Pool returns the pool of a NUMA socket, or another if that one has none.
func (r *Runtime) Pool(socket int) *Pool {
	for _, p := range r.pools {
		if p.socket == socket {
			return p
		}
	}
	return r.pools[0]
}

// Pools returns all pools.
func (r *Runtime) Pools() []*Pool { return slices.Clone(r.pools) }

// Ports returns the open ports in the order of opening.
func (r *Runtime) Ports() []*Port {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ports)
}

// RegisterThread makes the calling OS thread known to DPDK, so that it has a cache in
// every pool. For workers, after LockOSThread and setting the affinity.
func (r *Runtime) RegisterThread() error { return bindings.RegisterThread() }

// UnregisterThread undoes RegisterThread, on the same thread, and leaves what was in the
// thread's caches to the others.
func (r *Runtime) UnregisterThread() {
	r.mu.Lock()
	for _, p := range slices.Concat(r.pools, r.kernel) {
		p.mempool.FlushCache()
	}
	r.mu.Unlock()
	bindings.UnregisterThread()
}

// Close closes the ports that are still open, last one first, frees the pools and
// takes DPDK down. Workers are gone, and have given back their mbufs: every mbuf
// missing from a pool is reported as an error. A second Close does nothing.
func (r *Runtime) Close() error {
	var errs []error
	for _, p := range slices.Backward(r.Ports()) {
		errs = append(errs, p.Close())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errors.Join(errs...)
	}
	r.closed = true
	errs = append(errs, bindings.ParkInterrupts())
	for _, p := range slices.Backward(r.late) {
		errs = append(errs, p.release())
	}
	for _, p := range r.kernel {
		p.mempool.Free()
	}
	for _, p := range slices.Backward(r.pools) {
		errs = append(errs, p.close())
	}
	errs = append(errs, bindings.CleanupEAL())
	return errors.Join(errs...)
}

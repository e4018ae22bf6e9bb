package pmd

import (
	"slices"
	"strings"
)

// driver is what the switch must know of a software driver beyond what ethdev says of
// it. PCI devices need none of this.
type driver struct {
	name string

	// args are the driver's argument names in DPDK 22.11. A newer release may know more:
	// they explain a failure, they do not cause one.
	args []string

	// kernelInterface: stands on the kernel interface named by iface=, and its link and
	// MTU are that interface's.
	kernelInterface bool

	// equalQueues: refuses different numbers of receive and transmit queues.
	equalQueues bool

	// keepsMbufs: close forgets the mbufs that are still in its rings.
	keepsMbufs bool

	// unguarded: its handlers on DPDK's interrupt thread share memory with stop, close and
	// bursts without a lock, and close leaves a handler behind. So bursts pass a gate, it is
	// stopped on that thread, and closed at the end of the runtime with that thread at rest.
	unguarded bool

	// stopIsFinal: cannot be started again, because stop closes its sockets.
	stopIsFinal bool

	// ownPool: hands its whole pool to the kernel, which wants an mbuf within a page, and
	// close forgets the mbufs that are in the kernel's rings. So it gets a pool of its
	// own, to which the rule that every mbuf comes back does not apply.
	ownPool bool

	// bindsOnce: the kernel refuses its socket on an interface that this process had bound
	// and closed before.
	bindsOnce bool

	// tune completes the arguments for a port with this MTU, leaving alone what the
	// user gave.
	tune func(args []string, mtuBytes int) []string
}

// drivers is sorted so that a name that starts with another's comes first.
var drivers = []driver{
	{name: "net_af_packet", args: []string{"iface", "qpairs", "blocksz", "framesz", "framecnt", "qdisc_bypass"},
		kernelInterface: true, stopIsFinal: true, tune: tuneAFPacket},
	{name: "net_af_xdp", args: []string{"iface", "start_queue", "queue_count", "shared_umem", "xdp_prog", "busy_budget", "force_copy"},
		kernelInterface: true, ownPool: true, bindsOnce: true},
	{name: "net_memif", args: []string{"id", "role", "bsize", "rsize", "socket", "socket-abstract", "mac", "secret", "zero-copy"},
		unguarded: true},
	{name: "net_null", args: []string{"size", "copy", "no-rx"}},
	{name: "net_pcap", args: []string{"rx_pcap", "tx_pcap", "rx_iface", "rx_iface_in", "tx_iface", "iface", "phy_mac", "infinite_rx"}},
	{name: "net_ring", args: []string{"nodeaction", "internal"}, keepsMbufs: true},
	{name: "net_tap", args: []string{"iface", "remote", "mac"}, equalQueues: true},
	{name: "net_vhost", args: []string{"iface", "queues", "client", "iommu-support", "postcopy-support", "tso", "linear-buffer", "ext-buffer", "legacy-ol-flags"}},
	{name: "net_virtio_user", args: []string{"path", "mac", "cq", "queue_size", "queues", "iface", "mrg_rxbuf", "in_order", "packed_vq", "server", "speed", "vectorized"},
		equalQueues: true},
}

// driverOf returns what is known of the driver behind a software device's name:
// "net_pcap0" is net_pcap's. Of an unknown driver nothing is assumed.
func driverOf(device string) driver {
	for _, d := range drivers {
		if strings.HasPrefix(device, d.name) {
			return d
		}
	}
	return driver{}
}

// dials reports whether the device is the one that seeks its peer. Its driver does so when
// it starts, once, and fails if nobody is there.
func (d device) dials() bool {
	role, _ := argValue(d.args, "role")
	return d.driver.name == "net_memif" && (role == "" || strings.Contains(role, "client"))
}

// unknownArg returns the first argument that the driver does not list.
func (d driver) unknownArg(args []string) (name string, found bool) {
	for _, arg := range args {
		key, _, _ := strings.Cut(arg, "=")
		if len(d.args) > 0 && !slices.Contains(d.args, key) {
			return key, true
		}
	}
	return "", false
}

// argValue returns the value of the first argument of that name.
func argValue(args []string, name string) (value string, ok bool) {
	for _, arg := range args {
		if key, value, _ := strings.Cut(arg, "="); key == name {
			return value, true
		}
	}
	return "", false
}

package conf

import "net/netip"

// Config is one whole configuration, with every default filled in.
//
// The toml and json names are the same, so the file, `ffwd check`, the control
// socket and the paths in faults speak one language. In the toml tag, omitempty
// leaves a zero value out of what TOML prints; list:"filled" forbids an empty
// list in a file.
type Config struct {
	EAL             EAL             `toml:"eal" json:"eal"`
	Pool            Pool            `toml:"pool" json:"pool"`
	Workers         Workers         `toml:"workers" json:"workers"`
	Ports           []Port          `toml:"ports,omitempty" json:"ports"`
	Routes          []Route         `toml:"routes,omitempty" json:"routes"`
	Neighbours      []Neighbour     `toml:"neighbours,omitempty" json:"neighbours"`
	FIB             FIB             `toml:"fib" json:"fib"`
	CT              CT              `toml:"ct" json:"ct"`
	TimeoutPolicies []TimeoutPolicy `toml:"timeout_policies,omitempty" json:"timeout_policies"`
	Policy          Policy          `toml:"policy" json:"policy"`
	Rules           []Rule          `toml:"rules,omitempty" json:"rules"`
	Queues          []Queue         `toml:"queues,omitempty" json:"queues"`
	ICMP            ICMP            `toml:"icmp" json:"icmp"`
	SlowPath        SlowPath        `toml:"slow_path" json:"slow_path"`
	Metrics         Metrics         `toml:"metrics" json:"metrics"`
	Control         Control         `toml:"control" json:"control"`
	Log             Log             `toml:"log" json:"log"`
}

// EAL is what DPDK's environment abstraction layer is started with.
type EAL struct {
	HugePages HugePages `toml:"huge_pages" json:"huge_pages"`
	MemoryMB  int       `toml:"memory_mb" json:"memory_mb"`           // MiB without huge pages; 0 = derived from the pools
	Args      []string  `toml:"args,omitempty" json:"args,omitempty"` // appended to the argument list as they are
}

// Pool sizes the mempools, of which there is one per NUMA socket in use.
type Pool struct {
	Mbufs int `toml:"mbufs" json:"mbufs"` // per socket; 0 = derived from queues and descriptors
	Cache int `toml:"cache" json:"cache"` // mbufs kept per core; 0 = no cache
}

// Workers lists the poll loops and their shape.
type Workers struct {
	Cores       []int `toml:"cores" json:"cores"`               // one worker per CPU number, in this order
	Burst       int   `toml:"burst" json:"burst"`               // packets taken per rx call
	HandoffRing int   `toml:"handoff_ring" json:"handoff_ring"` // slots per pair of workers, a power of two
}

// Port is an interface of the switch: a device of its own, or, when Parent is
// set, a VLAN sub-port of one. A sub-port has none of the device's keys; they
// are zero.
type Port struct {
	Name        string         `toml:"name" json:"name"`
	Device      string         `toml:"device,omitempty" json:"device,omitempty"` // PCI address or DPDK vdev with its arguments
	Parent      string         `toml:"parent,omitempty" json:"parent,omitempty"`
	VLAN        int            `toml:"vlan,omitempty" json:"vlan,omitempty"` // 802.1Q VID, 1..4094; sub-ports only
	MTU         int            `toml:"mtu" json:"mtu"`                       // bytes of L3; a sub-port defaults to its parent's
	MAC         MAC            `toml:"mac,omitempty" json:"mac,omitzero"`    // zero = the device's, or the parent's
	Addresses   []netip.Prefix `toml:"addresses,omitempty" json:"addresses"` // address and length of its subnet
	VRF         int            `toml:"vrf" json:"vrf"`
	Stealth     bool           `toml:"stealth" json:"stealth"`             // neither check nor decrement the TTL (FF-7)
	Options     IPOptions      `toml:"options" json:"options"`             // what becomes of IPv4 options (FF-3)
	ReversePath ReversePath    `toml:"reverse_path" json:"reverse_path"`   // how sources are held against the routes (FF-15)
	Redirects   bool           `toml:"redirects" json:"redirects"`         // tell senders of a shorter way (FF-11)
	TAP         string         `toml:"tap,omitempty" json:"tap,omitempty"` // its twin in the kernel; "" = the port's name, see TAPName

	// The device's own, zero in a sub-port.
	RxQueues      int      `toml:"rx_queues,omitempty" json:"rx_queues"` // 0 = one per worker, fewer when the device has fewer
	TxQueues      int      `toml:"tx_queues,omitempty" json:"tx_queues"` // 0 = as above
	RxDescriptors int      `toml:"rx_descriptors,omitempty" json:"rx_descriptors"`
	TxDescriptors int      `toml:"tx_descriptors,omitempty" json:"tx_descriptors"`
	Promiscuous   bool     `toml:"promiscuous,omitempty" json:"promiscuous"`
	Steering      Steering `toml:"steering,omitempty" json:"steering,omitempty"`
}

// IsVLAN tells whether the port is a VLAN sub-port of another.
func (p *Port) IsVLAN() bool { return p.Parent != "" }

// TAPName is the name of the port's twin in the kernel.
func (p *Port) TAPName() string {
	if p.TAP != "" {
		return p.TAP
	}
	return p.Name
}

// Route is one static route. A unicast route goes by Via and Port, which are one
// next hop, or by Hops; NextHops gives either as a list.
type Route struct {
	Prefix netip.Prefix `toml:"prefix" json:"prefix"`
	Type   RouteType    `toml:"type" json:"type"`
	Via    netip.Addr   `toml:"via,omitempty" json:"via,omitzero"`    // zero with a Port = on link
	Port   string       `toml:"port,omitempty" json:"port,omitempty"` // "" = the port whose subnet holds Via
	Hops   []Hop        `toml:"hops,omitempty" json:"hops,omitempty" list:"filled"`
	VRF    int          `toml:"vrf" json:"vrf"`
	MTU    int          `toml:"mtu,omitempty" json:"mtu,omitempty"` // largest packet if the port's is not less; 0 = the port's

	// Counters gives the route next hops of its own, so that nobody else's packets
	// are counted with its own (FF-12).
	Counters bool `toml:"counters,omitempty" json:"counters,omitempty"`
}

// Hop is one next hop of a multipath route.
type Hop struct {
	Via    netip.Addr `toml:"via,omitempty" json:"via,omitzero"`
	Port   string     `toml:"port,omitempty" json:"port,omitempty"`
	Weight int        `toml:"weight" json:"weight"` // share of the flows, 1..256
}

// NextHops returns the route's next hops: Hops, or Via and Port as the only one.
// It is empty for a route that is not unicast.
func (r *Route) NextHops() []Hop {
	switch {
	case r.Type != RouteUnicast:
		return nil
	case len(r.Hops) > 0:
		return r.Hops
	}
	return []Hop{{Via: r.Via, Port: r.Port, Weight: 1}}
}

// Neighbour is a static ARP or neighbour discovery entry.
type Neighbour struct {
	Port    string     `toml:"port" json:"port"`
	Address netip.Addr `toml:"address" json:"address"`
	MAC     MAC        `toml:"mac" json:"mac"`
}

// FIB bounds the routing table of each VRF, and names a file of routes. Up to its bound a
// table takes memory only for what it holds.
type FIB struct {
	MaxRoutesIPv4 int `toml:"max_routes_ipv4" json:"max_routes_ipv4"` // prefixes of all origins: routes, addresses, neighbours
	MaxRoutesIPv6 int `toml:"max_routes_ipv6" json:"max_routes_ipv6"`
	MaxNextHops   int `toml:"max_next_hops" json:"max_next_hops"` // gateways, neighbours, interfaces and sets of equal hops

	RoutesFile RoutesFile `toml:"routes_file,omitempty" json:"routes_file,omitzero"` // routes besides those of Config.Routes
}

// CT sizes the connection tracking tables, one of each family per worker.
type CT struct {
	Enabled      bool `toml:"enabled" json:"enabled"`
	MaxFlows     int  `toml:"max_flows" json:"max_flows"`           // IPv4 flows per worker
	MaxFlowsIPv6 int  `toml:"max_flows_ipv6" json:"max_flows_ipv6"` // IPv6 flows per worker

	// Flows of both families whose addresses rules translate, per worker; 0 = none (FF-6).
	MaxTranslations int `toml:"max_translations" json:"max_translations"`

	// Source: CT-7. What rules with priority accept is not held against the first, and may
	// have the second.
	MaxFlowsPerSource int `toml:"max_flows_per_source" json:"max_flows_per_source"` // over all workers; 0 = any number
	Reserve           int `toml:"reserve" json:"reserve"`                           // flows of each family, per worker

	Checksum bool `toml:"checksum" json:"checksum"` // packets with a wrong L4 checksum are invalid; the kernel's nf_conntrack_checksum

	TCP       CTTCP       `toml:"tcp" json:"tcp"`
	Timeouts  Timeouts    `toml:"timeouts" json:"timeouts"`
	Fragments CTFragments `toml:"fragments" json:"fragments"`
}

// CTFragments bound what each worker keeps of datagrams that are not whole (CT-5): of
// those whose first fragment has been seen, and of the fragments that wait for one.
type CTFragments struct {
	TimeoutIPv4        Duration `toml:"timeout_ipv4" json:"timeout_ipv4"`
	TimeoutIPv6        Duration `toml:"timeout_ipv6" json:"timeout_ipv6"`
	MaxDatagrams       int      `toml:"max_datagrams" json:"max_datagrams"`
	MaxSourceDatagrams int      `toml:"max_source_datagrams" json:"max_source_datagrams"` // of one source
	MaxPackets         int      `toml:"max_packets" json:"max_packets"`                   // that wait
	MaxSourcePackets   int      `toml:"max_source_packets" json:"max_source_packets"`
	MaxBytes           int      `toml:"max_bytes" json:"max_bytes"` // of those that wait
	MaxSourceBytes     int      `toml:"max_source_bytes" json:"max_source_bytes"`
}

// CTTCP are the switches of the TCP tracker; the kernel's nf_conntrack_tcp_loose
// and nf_conntrack_tcp_be_liberal.
type CTTCP struct {
	Loose   bool `toml:"loose" json:"loose"`     // connections are picked up in mid-stream
	Liberal bool `toml:"liberal" json:"liberal"` // segments outside the windows are let through
}

// Timeouts are the idle times after which a flow is forgotten, per protocol and
// state. Names and defaults are those of the kernel's nf_conntrack_*_timeout*
// sysctls and of libnetfilter_cttimeout.
type Timeouts struct {
	ICMP    Duration     `toml:"icmp" json:"icmp"`
	ICMPv6  Duration     `toml:"icmpv6" json:"icmpv6"`
	Generic Duration     `toml:"generic" json:"generic"` // every protocol without one of its own
	TCP     TCPTimeouts  `toml:"tcp" json:"tcp"`
	UDP     UDPTimeouts  `toml:"udp" json:"udp"`
	GRE     UDPTimeouts  `toml:"gre" json:"gre"`
	SCTP    SCTPTimeouts `toml:"sctp" json:"sctp"`
}

// TCPTimeouts has one timeout per state of the TCP tracker, and two that take
// the place of a longer one while the peer keeps silent.
type TCPTimeouts struct {
	SynSent        Duration `toml:"syn_sent" json:"syn_sent"`
	SynRecv        Duration `toml:"syn_recv" json:"syn_recv"`
	Established    Duration `toml:"established" json:"established"`
	FinWait        Duration `toml:"fin_wait" json:"fin_wait"`
	CloseWait      Duration `toml:"close_wait" json:"close_wait"`
	LastAck        Duration `toml:"last_ack" json:"last_ack"`
	TimeWait       Duration `toml:"time_wait" json:"time_wait"`
	Close          Duration `toml:"close" json:"close"`
	SynSent2       Duration `toml:"syn_sent2" json:"syn_sent2"` // SYN from both sides
	Unacknowledged Duration `toml:"unacknowledged" json:"unacknowledged"`
	MaxRetrans     Duration `toml:"max_retrans" json:"max_retrans"`
}

// UDPTimeouts tells a flow seen in one direction, or in both for less than two
// seconds, from a stream. A GRE flow is a stream at its first answer.
type UDPTimeouts struct {
	Unreplied Duration `toml:"unreplied" json:"unreplied"`
	Replied   Duration `toml:"replied" json:"replied"`
}

// SCTPTimeouts has one timeout per state of the SCTP tracker.
type SCTPTimeouts struct {
	Closed          Duration `toml:"closed" json:"closed"`
	CookieWait      Duration `toml:"cookie_wait" json:"cookie_wait"`
	CookieEchoed    Duration `toml:"cookie_echoed" json:"cookie_echoed"`
	Established     Duration `toml:"established" json:"established"`
	ShutdownSent    Duration `toml:"shutdown_sent" json:"shutdown_sent"`
	ShutdownRecd    Duration `toml:"shutdown_recd" json:"shutdown_recd"`
	ShutdownAckSent Duration `toml:"shutdown_ack_sent" json:"shutdown_ack_sent"`
	HeartbeatSent   Duration `toml:"heartbeat_sent" json:"heartbeat_sent"`
}

// Policy says what becomes of a packet that no rule of a hook matches (FF-6).
type Policy struct {
	DefaultIn  Action `toml:"default_in" json:"default_in"`
	DefaultOut Action `toml:"default_out" json:"default_out"`
}

// Rule is one line of the ordered rule list; the first that matches decides. A
// packet matches when it is in every list that is given; an empty list stands
// for any. A file cannot give an empty list: it would read as "none".
type Rule struct {
	Hook     Hook           `toml:"hook" json:"hook"`
	Action   Action         `toml:"action" json:"action"`
	InPorts  []string       `toml:"in_ports,omitempty" json:"in_ports,omitempty" list:"filled"`
	OutPorts []string       `toml:"out_ports,omitempty" json:"out_ports,omitempty" list:"filled"` // hook out only
	Src      []netip.Prefix `toml:"src,omitempty" json:"src,omitempty" list:"filled"`
	Dst      []netip.Prefix `toml:"dst,omitempty" json:"dst,omitempty" list:"filled"`
	Protocol Protocol       `toml:"protocol,omitempty" json:"protocol,omitzero"`
	SrcPorts []PortRange    `toml:"src_ports,omitempty" json:"src_ports,omitempty" list:"filled"` // TCP, UDP and SCTP only
	DstPorts []PortRange    `toml:"dst_ports,omitempty" json:"dst_ports,omitempty" list:"filled"` // as above
	State    []State        `toml:"state,omitempty" json:"state,omitempty" list:"filled"`
	Mark     Mark           `toml:"mark,omitempty" json:"mark,omitzero"`       // of the packet
	CTMark   Mark           `toml:"ct_mark,omitempty" json:"ct_mark,omitzero"` // of its connection

	// The rule is for new connections beyond so many open at one time, which else matched it;
	// 0 = for all packets (CT-7).
	ConnMax    int        `toml:"conn_max,omitempty" json:"conn_max,omitempty"`
	ConnMaxPer ConnMaxPer `toml:"conn_max_per,omitempty" json:"conn_max_per,omitempty"` // "" = rule

	// What the rule does to a packet that matches.
	RejectWith RejectWith `toml:"reject_with,omitempty" json:"reject_with,omitempty"` // action reject
	Queue      QueueRange `toml:"queue,omitempty" json:"queue,omitzero"`              // actions queue, divert and tee
	TeePort    string     `toml:"tee_port,omitempty" json:"tee_port,omitempty"`       // action tee: copies leave there as they were received
	Bypass     bool       `toml:"bypass,omitempty" json:"bypass,omitempty"`           // nobody listens: accept
	FailOpen   bool       `toml:"fail_open,omitempty" json:"fail_open,omitempty"`     // queue full or listener slow: accept
	SetMark    Mark       `toml:"set_mark,omitempty" json:"set_mark,omitzero"`
	SetCTMark  Mark       `toml:"set_ct_mark,omitempty" json:"set_ct_mark,omitzero"`
	To         AddrRange  `toml:"to,omitempty" json:"to,omitzero"`             // actions dnat and snat: one of these
	ToPorts    PortRange  `toml:"to_ports,omitempty" json:"to_ports,omitzero"` // actions that translate; zero = the packet's if it is free
	Via        netip.Addr `toml:"via,omitempty" json:"via,omitzero"`           // gateway in place of the route's; hook in only (FF-6)
	Hops       []Hop      `toml:"hops,omitempty" json:"hops,omitempty" list:"filled"`
	Timeout    string     `toml:"timeout,omitempty" json:"timeout,omitempty"`   // timeout policy for new flows (TO-3)
	Priority   bool       `toml:"priority,omitempty" json:"priority,omitempty"` // new flows may have of ct.reserve (CT-7)
	Comment    string     `toml:"comment,omitempty" json:"comment,omitempty"`
}

// Queue is a verdict queue: packets wait in it for what a listener in another process
// says (VQ-1). The limits are those of each worker.
type Queue struct {
	Number     int      `toml:"number" json:"number"`
	MaxPackets int      `toml:"max_packets" json:"max_packets"` // waiting at once
	MaxBytes   int      `toml:"max_bytes" json:"max_bytes"`     // of packets waiting at once
	CopyBytes  int      `toml:"copy_bytes" json:"copy_bytes"`   // of each that the listener sees; 0 = all
	Timeout    Duration `toml:"timeout" json:"timeout"`         // a packet waits
	Stall      Duration `toml:"stall" json:"stall"`             // the listener does nothing until it counts as gone
}

// ICMP bounds the errors that the switch sends (FF-10).
type ICMP struct {
	ErrorRate int `toml:"error_rate" json:"error_rate"` // per second, worker and type; 0 = none
}

// SlowPath is the host kernel behind the switch: TAP twins of the ports, and
// what is punted to them (SP-1 to SP-5).
type SlowPath struct {
	Enabled SlowPathMode `toml:"enabled" json:"enabled"`
	Netns   string       `toml:"netns" json:"netns"`   // a name under /run/netns, or a path; "" = our own
	Mirror  []Mirror     `toml:"mirror" json:"mirror"` // kernel tables whose routes become ours (SP-2)
	Rates   PuntRates    `toml:"rates" json:"rates"`
}

// Mirror is a kernel routing table and the VRF that gets its routes.
type Mirror struct {
	Table int `toml:"table" json:"table"` // 254 is the kernel's main table
	VRF   int `toml:"vrf" json:"vrf"`
}

// PuntRates bound what each worker gives the kernel, in packets per second; 0 is
// none (SP-4). Neighbour and Routing are the control traffic's own budgets: it is
// never counted under the reason it was punted for.
type PuntRates struct {
	Neighbour int `toml:"neighbour" json:"neighbour"`   // ARP and neighbour discovery
	Routing   int `toml:"routing" json:"routing"`       // routing protocols and what their sessions run on
	Local     int `toml:"local" json:"local"`           // to an address of ours
	Multicast int `toml:"multicast" json:"multicast"`   // to a group or broadcast address
	Options   int `toml:"options" json:"options"`       // with IPv4 options
	Extension int `toml:"extension" json:"extension"`   // with IPv6 extension headers we leave alone
	EtherType int `toml:"ethertype" json:"ethertype"`   // neither IP nor ARP
	SlowRoute int `toml:"slow_route" json:"slow_route"` // by a route that only the kernel can go
}

// Metrics says where Prometheus finds us.
type Metrics struct {
	Address string `toml:"address" json:"address"` // host:port; "" = off
}

// Control says where the control socket is.
type Control struct {
	Socket      string `toml:"socket" json:"socket"`             // path; "" = off
	QueueSocket string `toml:"queue_socket" json:"queue_socket"` // path, for listeners of queues
}

// Log shapes the log on standard error.
type Log struct {
	Level  LogLevel  `toml:"level" json:"level"`
	Format LogFormat `toml:"format" json:"format"`
}

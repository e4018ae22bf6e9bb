package conf

import "time"

// setDefaults fills table, a pointer to a table's type, with its defaults before
// the keys of the file are put over them. given tells whether the file has a key
// in this table. It is the only place that knows a default.
func setDefaults(table any, given func(key string) bool) {
	switch t := table.(type) {
	case *Config:
		t.EAL.HugePages = HugeAuto
		t.Pool.Cache = 256
		t.Workers = Workers{Cores: []int{1}, Burst: 64, HandoffRing: 2048}
		t.FIB = FIB{MaxRoutesIPv4: 5 << 19, MaxRoutesIPv6: 1 << 19, MaxNextHops: 1 << 17}
		t.CT = CT{Enabled: true, MaxFlows: 1 << 20, MaxFlowsIPv6: 1 << 17, MaxTranslations: 1 << 16, TCP: CTTCP{Loose: true}, Timeouts: kernelTimeouts, Fragments: fragments}
		t.Policy = Policy{DefaultIn: ActionAccept, DefaultOut: ActionAccept}
		t.ICMP.ErrorRate = 1000
		t.SlowPath = SlowPath{
			Enabled: SlowPathAuto,
			Mirror:  []Mirror{{Table: mainTable}},
			Rates: PuntRates{
				Neighbour: 5000, Routing: 5000, Local: 20000, Multicast: 1000,
				Options: 1000, Extension: 1000, EtherType: 500, SlowRoute: 20000,
			},
		}
		t.Metrics.Address = "127.0.0.1:9475"
		t.Control = Control{Socket: "/run/ffwd/ffwd.sock", QueueSocket: "/run/ffwd/queue.sock"}
		t.Log = Log{Level: LogInfo, Format: LogText}
	case *Port:
		t.Options = OptionsPunt
		t.ReversePath = ReversePathOff
		if given("parent") {
			return // the MTU is the parent's: inheritMTU
		}
		t.MTU = 1500
		t.RxDescriptors, t.TxDescriptors = 1024, 1024
		t.Steering = SteeringAuto
	case *Route:
		t.Type = RouteUnicast
	case *Hop:
		t.Weight = 1
	case *Queue:
		t.MaxPackets, t.MaxBytes = 1024, 4<<20
		t.Timeout, t.Stall = seconds(1), Duration(100*time.Millisecond)
	case *Rule:
		t.Hook = HookIn
	}
}

// inheritMTU gives a sub-port without an MTU that of its parent. It is the one
// default that needs another table, so it comes after all are decoded. given has the
// ports with an MTU of their own.
func inheritMTU(c *Config, given map[int]bool) {
	mtu := make(map[string]int, len(c.Ports))
	for i := range c.Ports {
		if p := &c.Ports[i]; !p.IsVLAN() {
			mtu[p.Name] = p.MTU
		}
	}
	for i := range c.Ports {
		if p := &c.Ports[i]; p.IsVLAN() && !given[i] {
			p.MTU = mtu[p.Parent]
		}
	}
}

// mainTable is RT_TABLE_MAIN of rtnetlink(7).
const mainTable = 254

// kernelTimeouts are Linux's defaults.
// Source: tcp_timeouts in nf_conntrack_proto_tcp.c, udp_timeouts in
// nf_conntrack_proto_udp.c, gre_timeouts in nf_conntrack_proto_gre.c,
// sctp_timeouts in nf_conntrack_proto_sctp.c, nf_ct_icmp_timeout,
// nf_ct_icmpv6_timeout and nf_ct_generic_timeout.
var kernelTimeouts = Timeouts{
	ICMP:    seconds(30),
	ICMPv6:  seconds(30),
	Generic: seconds(600),
	TCP: TCPTimeouts{
		SynSent:        seconds(120),
		SynRecv:        seconds(60),
		Established:    seconds(5 * 24 * 3600),
		FinWait:        seconds(120),
		CloseWait:      seconds(60),
		LastAck:        seconds(30),
		TimeWait:       seconds(120),
		Close:          seconds(10),
		SynSent2:       seconds(120),
		Unacknowledged: seconds(300),
		MaxRetrans:     seconds(300),
	},
	UDP: UDPTimeouts{Unreplied: seconds(30), Replied: seconds(120)},
	GRE: UDPTimeouts{Unreplied: seconds(30), Replied: seconds(180)},
	SCTP: SCTPTimeouts{
		Closed:          seconds(10),
		CookieWait:      seconds(3),
		CookieEchoed:    seconds(3),
		Established:     seconds(210),
		ShutdownSent:    seconds(3),
		ShutdownRecd:    seconds(3),
		ShutdownAckSent: seconds(3),
		HeartbeatSent:   seconds(30),
	},
}

// fragments has Linux's time for IPv4 (net.ipv4.ipfrag_time), and for IPv6 that of RFC
// 8200 4.5, which is Linux's too. A source may have some two hundred datagrams in flight,
// and one as large as can be out of order, twice over.
var fragments = CTFragments{
	TimeoutIPv4: seconds(30), TimeoutIPv6: seconds(60),
	MaxDatagrams: 4096, MaxSourceDatagrams: 256,
	MaxPackets: 1024, MaxSourcePackets: 128,
	MaxBytes: 1 << 20, MaxSourceBytes: 1 << 17,
}

func seconds(n int) Duration { return Duration(time.Duration(n) * time.Second) }

// Default returns the configuration of an empty file: everything but ports.
// It does not validate, because a switch without ports is a fault.
func Default() Config {
	var c Config
	setDefaults(&c, func(string) bool { return false })
	return c
}

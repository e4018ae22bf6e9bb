package conf

import (
	"strings"
	"testing"
)

// twoPorts are lines 1 to 9 of most cases below.
const twoPorts = `[[ports]]
name = "lan"
device = "net_null0"
addresses = ["10.1.1.1/24", "fd01:1::1/64"]
[[ports]]
name = "wan"
device = "net_null1"
addresses = ["10.2.2.1/24"]

`

func fill(key string) string { return twoPorts + key }

// faultCase is a document and all the faults in it, in order.
type faultCase struct {
	name   string
	doc    string
	want   string // one fault per line, without the file
	source string
}

var faultCases = []faultCase{
	// Shape.
	{"syntax", onePort + "mtu = \n", `4: ports.mtu: expected value but found '\n' instead`, "TOML"},
	{"table name", "[log]\nlevel = \"info\"\n[fib\nmax_next_hops = 3\n", `3: expected '.' or ']' to end table name, but got '\n' instead`, "TOML"},
	{"end", "[log]\nlevel = \"info\"\n[fib", "3: expected '.' or ']' to end table name, but got the end of the file instead", "TOML"},
	{"no equals sign", "[log]\nlevel 5\n", "2: expected '.' or '=', but got '5' instead", "TOML"},
	{"number", "[eal]\nmemory_mb = 0x\n", `2: eal.memory_mb: not a hexadecimal number: '0x\n'`, "TOML"},
	{"twice", "[log]\nlevel = \"info\"\nlevel = \"warn\"\n", "3: log.level: Key 'log.level' has already been defined", "TOML"},
	{"unknown key", onePort + "mtus = 1500\n", `4: ports[0].mtus: is an unknown key; did you mean "mtu"?`, "strict"},
	{"unknown table", onePort + "[worker]\n", `4: worker: is an unknown key; did you mean "workers"?`, "strict"},
	{"keys have a case", onePort + "MTU = 1500\n", `4: ports[0].MTU: is an unknown key; did you mean "mtu"?`, "strict"},
	{"nothing near", onePort + "[log]\nzzz = 1\n", `5: log.zzz: is an unknown key; want one of level, format`, "strict"},
	{"wrong types", onePort + "mtu = \"1500\"\nvrf = 1.0\nstealth = 1\noptions = true\naddresses = \"10.1.1.1/24\"\nmac = 1\n",
		"4: ports[0].mtu: is a string; want an integer\n" +
			"5: ports[0].vrf: is a decimal number; want an integer\n" +
			"6: ports[0].stealth: is an integer; want true or false\n" +
			"7: ports[0].options: is true or false; want a string\n" +
			"8: ports[0].addresses: is a string; want a list\n" +
			"9: ports[0].mac: is an integer; want a string", "types"},
	{"not a table", "ports = 1\nlog = 2020-01-01\n",
		"1: ports: is an integer; want a list\n2: log: is a date or time; want a table", "types"},
	{"list of the wrong thing", "ports = [1]\n", "1: ports[0]: is an integer; want a table", "types"},
	{"wrong word", onePort + "options = \"dorp\"\n[log]\nlevel = \"loud\"\n",
		"4: ports[0].options: \"dorp\" is unknown; did you mean \"drop\"?\n" +
			"6: log.level: \"loud\" is unknown; want debug, info, warn, error", "words"},
	{"too large for an integer", onePort + "mtu = 9223372036854775808\n",
		"4: ports.mtu: 9223372036854775808 is out of range for int64", "TOML"},
	{"empty", "", " ports: is missing; a switch needs at least one [[ports]]", "a switch has ports"},

	// eal, pool, workers.
	{"eal", onePort + "[eal]\nmemory_mb = -1\nargs = [\"-a\", \"--no-huge\", \"\"]\n",
		"5: eal.memory_mb: -1 is below 0\n" +
			"6: eal.args[1]: --no-huge is decided by eal.huge_pages\n" +
			"6: eal.args[2]: is empty or has a NUL byte", "EAL"},
	{"pool", onePort + "[pool]\nmbufs = 1023\ncache = 513\n",
		"5: pool.mbufs: 1023 is below 1024 (0 = derived)\n" +
			"6: pool.cache: 513 is above 512 (RTE_MEMPOOL_CACHE_MAX_SIZE)", "rte_mempool.h"},
	{"workers", onePort + "[workers]\ncores = [1, -1,\n1024, 1]\nburst = 257\nhandoff_ring = 1000\n",
		"5: workers.cores[1]: -1 is below 0 (CPU_SETSIZE)\n" +
			"6: workers.cores[2]: 1024 is above 1023 (CPU_SETSIZE)\n" +
			"6: workers.cores[3]: core 1 is listed twice\n" +
			"7: workers.burst: 257 is above 256\n" +
			"8: workers.handoff_ring: 1000 is not a power of two", "chosen bounds"},
	{"no workers, small ring", onePort + "[workers]\ncores = []\nburst = 128\nhandoff_ring = 64\n",
		"5: workers.cores: is empty; want one CPU number per worker\n" +
			"7: workers.handoff_ring: 64 is below one burst of 128", "chosen bounds"},

	// ports.
	{"port without anything", "[[ports]]\n", "1: ports[0].name: is missing\n" +
		"1: ports[0].device: is missing; want a PCI address (0000:03:00.0) or a DPDK device (net_af_xdp0,iface=eth1)", "needs"},
	{"names", "[[ports]]\nname = \"a b\"\ndevice = \"net_null0\"\n[[ports]]\nname = \"abcdefghijklmnop\"\ndevice = \"net_null1\"\n[[ports]]\nname = \"a b\"\ndevice = \"net_null2\"\n",
		"2: ports[0].name: \"a b\" has other characters than a-z A-Z 0-9 _ . -\n" +
			"5: ports[1].name: \"abcdefghijklmnop\" is longer than 15 characters\n" +
			"8: ports[2].name: \"a b\" has other characters than a-z A-Z 0-9 _ . -\n" +
			"8: ports[2].name: \"a b\" is the name of ports[0]", "IFNAMSIZ"},
	{"devices", "[[ports]]\nname = \"a\"\ndevice = \"03:00.0\"\n[[ports]]\nname = \"b\"\ndevice = \"0000:03:00.0,x=1\"\n[[ports]]\nname = \"c\"\ndevice = \"eth1\"\n",
		"6: ports[1].device: 0000:03:00.0 is the device of ports[0]\n" +
			"9: ports[2].device: \"eth1\" is neither a PCI address (0000:03:00.0) nor a DPDK device; a kernel interface is net_af_packet0,iface=eth1", "DPDK device strings"},
	{"mtu below", fill("[[ports]]\nname = \"x\"\ndevice = \"net_null2\"\nmtu = 67\n"), "13: ports[2].mtu: 67 is below 68 (RFC 791)", "RFC 791"},
	{"mtu above", onePort + "mtu = 9601\n", "4: ports[0].mtu: 9601 is above 9600", "chosen bounds"},
	{"mtu with IPv6", onePort + "mtu = 1279\naddresses = [\"fd00::1/64\"]\n",
		"4: ports[0].mtu: 1279 is below 1280 (RFC 8200, the port has IPv6 addresses)", "RFC 8200 section 5"},
	{"macs", onePort + "mac = \"01:00:5e:00:00:01\"\n[[ports]]\nname = \"b\"\ndevice = \"net_null1\"\nmac = \"00:00:00:00:00:00\"\n[[ports]]\nname = \"c\"\ndevice = \"net_null2\"\nmac = \"02:00\"\n",
		"4: ports[0].mac: 01:00:5e:00:00:01 is a group address (IEEE 802, I/G bit)\n" +
			"8: ports[1].mac: 00:00:00:00:00:00 is no station's address\n" +
			"12: ports[2].mac: \"02:00\" is not a MAC address like 02:00:00:00:01:01", "IEEE 802"},
	{"descriptors and queues", onePort + "rx_queues = -1\ntx_queues = 1025\nrx_descriptors = 31\ntx_descriptors = 32769\nvrf = 256\n",
		"4: ports[0].rx_queues: -1 is below 0 (RTE_MAX_QUEUES_PER_PORT)\n" +
			"5: ports[0].tx_queues: 1025 is above 1024 (RTE_MAX_QUEUES_PER_PORT)\n" +
			"6: ports[0].rx_descriptors: 31 is below 32\n" +
			"7: ports[0].tx_descriptors: 32769 is above 32768\n" +
			"8: ports[0].vrf: 256 is above 255", "chosen bounds"},

	// VLAN sub-ports.
	{"vlan without parent", onePort + "vlan = 5\n", "4: ports[0].vlan: 5 needs a parent", "802.1Q"},
	{"no such parent", onePort + "[[ports]]\nname = \"v\"\nparent = \"lam\"\nvlan = 4095\n",
		"6: ports[1].parent: \"lam\" is no port's name; did you mean \"lan\"?\n7: ports[1].vlan: 4095 is above 4094 (IEEE 802.1Q)", "802.1Q"},
	{"parent's keys", onePort + "[[ports]]\nname = \"v\"\nparent = \"lan\"\ndevice = \"net_null1\"\nsteering = \"auto\"\nmtu = 1501\n",
		"4: ports[1].vlan: is missing; a sub-port needs one in 1..4094\n" +
			"7: ports[1].device: belongs to the parent; a VLAN sub-port has none\n" +
			"8: ports[1].steering: belongs to the parent; a VLAN sub-port has none\n" +
			"9: ports[1].mtu: 1501 is above the parent's 1500", "802.1Q"},
	{"vlan in vlan, twice", onePort + "[[ports]]\nname = \"v\"\nparent = \"lan\"\nvlan = 1\n[[ports]]\nname = \"w\"\nparent = \"v\"\nvlan = 1\nmtu = 1400\n[[ports]]\nname = \"x\"\nparent = \"lan\"\nvlan = 1\n",
		"10: ports[2].parent: \"v\" is a VLAN sub-port itself\n16: ports[3].vlan: 1 on lan is that of ports[1]", "802.1Q"},

	// Addresses.
	{"no host's addresses", onePort + `addresses = [
"0.0.0.0/0", "127.0.0.1/8", "224.0.0.1/24", "0.1.2.3/24", "255.255.255.255/32", "240.0.0.1/24",
"::1/128", "ff02::1/64", "::ffff:10.0.0.1/120", "10.0.0.0/24", "10.0.0.255/24", "fd00::/64", "10.0.0.1/0",
"10.0.0.1", ""]
`,
		"5: ports[0].addresses[0]: 0.0.0.0/0 is the unspecified address\n" +
			"5: ports[0].addresses[1]: 127.0.0.1/8 is a loopback address\n" +
			"5: ports[0].addresses[2]: 224.0.0.1/24 is a multicast address\n" +
			"5: ports[0].addresses[3]: 0.1.2.3/24 is in 0.0.0.0/8 (RFC 791)\n" +
			"5: ports[0].addresses[4]: 255.255.255.255/32 is the limited broadcast address\n" +
			"5: ports[0].addresses[5]: 240.0.0.1/24 is in 240.0.0.0/4, reserved (RFC 1112)\n" +
			"6: ports[0].addresses[6]: ::1/128 is a loopback address\n" +
			"6: ports[0].addresses[7]: ff02::1/64 is a multicast address\n" +
			"6: ports[0].addresses[8]: ::ffff:10.0.0.1/120 is an IPv4-mapped IPv6 address; write the IPv4 address\n" +
			"6: ports[0].addresses[9]: 10.0.0.0/24 is the network's own address, not a host's\n" +
			"6: ports[0].addresses[10]: 10.0.0.255/24 is the broadcast address of its subnet\n" +
			"6: ports[0].addresses[11]: fd00::/64 is the subnet-router anycast address (RFC 4291 section 2.6.1)\n" +
			"6: ports[0].addresses[12]: 10.0.0.1/0 has no subnet; a length of 0 holds every address\n" +
			"7: ports[0].addresses[13]: \"10.0.0.1\" is not an address with a prefix length like 10.1.1.1/24\n" +
			"7: ports[0].addresses[14]: \"\" is not an address with a prefix length like 10.1.1.1/24", "RFC 1812 5.3.7; FF-4"},
	{"point-to-point", onePort + "addresses = [\"10.0.0.0/31\", \"10.0.0.2/32\", \"fd00::/127\"]\n", "", "RFC 3021, RFC 6164"},
	{"taken and overlapping", fill("[[ports]]\nname = \"x\"\ndevice = \"net_null2\"\naddresses = [\"10.1.1.1/24\", \"10.0.0.1/8\", \"10.2.2.2/24\",\n\"fd01:1::2/64\", \"10.1.1.9/32\"]\n"),
		"4: ports[0].addresses[0]: 10.1.1.1/24 overlaps 10.0.0.0/8 of ports[2].addresses[1]\n" +
			"8: ports[1].addresses[0]: 10.2.2.1/24 overlaps 10.0.0.0/8 of ports[2].addresses[1]\n" +
			"13: ports[2].addresses[0]: 10.1.1.1 is ports[0].addresses[0] already\n" +
			"13: ports[2].addresses[2]: 10.2.2.2/24 overlaps 10.2.2.0/24 of ports[1].addresses[0]\n" +
			"14: ports[2].addresses[3]: fd01:1::2/64 overlaps fd01:1::/64 of ports[0].addresses[1]\n" +
			"14: ports[2].addresses[4]: 10.1.1.9/32 overlaps 10.1.1.0/24 of ports[0].addresses[0]", "one port per subnet"},
	{"link-local and other VRF", fill("[[ports]]\nname = \"x\"\ndevice = \"net_null2\"\nvrf = 1\naddresses = [\"10.1.1.1/24\", \"fe80::1/64\"]\n[[ports]]\nname = \"y\"\ndevice = \"net_null3\"\naddresses = [\"fe80::1/64\", \"fe80::1/64\"]\n"),
		"18: ports[3].addresses[1]: fe80::1 is listed twice", "RFC 4007 section 6"},

	// Routes.
	{"prefixes", fill("[[routes]]\nvia = \"10.1.1.2\"\n[[routes]]\nprefix = \"192.0.2.1/24\"\nvia = \"10.1.1.2\"\n[[routes]]\nprefix = \"10.1.1.0/24\"\nvia = \"10.2.2.2\"\n[[routes]]\nprefix = \"10.1.1.1/32\"\nport = \"wan\"\n[[routes]]\nprefix = \"224.0.0.0/8\"\ntype = \"blackhole\"\n[[routes]]\nprefix = \"fe80::/64\"\nport = \"lan\"\n"),
		"10: routes[0].prefix: is missing\n" +
			"13: routes[1].prefix: 192.0.2.1/24 has host bits set; want 192.0.2.0/24\n" +
			"16: routes[2].prefix: 10.1.1.0/24 is connected by ports[0].addresses[0]\n" +
			"19: routes[3].prefix: 10.1.1.1/32 is our own address, ports[0].addresses[0]\n" +
			"22: routes[4].prefix: 224.0.0.0/8 is multicast\n" +
			"25: routes[5].prefix: fe80::/64 is link-local and never routed (RFC 4291)", "FF-5"},
	{"same prefix", fill("[[routes]]\nprefix = \"0.0.0.0/0\"\nvia = \"10.1.1.2\"\n[[routes]]\nprefix = \"0.0.0.0/0\"\ntype = \"blackhole\"\n[[routes]]\nprefix = \"0.0.0.0/0\"\ntype = \"blackhole\"\nvrf = 1\n"),
		"14: routes[1].prefix: 0.0.0.0/0 is the prefix of routes[0]", "one route per prefix and VRF"},
	{"gateways", fill(`[[routes]]
prefix = "192.0.2.0/24"
hops = [
{ via = "10.3.3.3" },
{ via = "10.3.3.3", port = "wan" },
{ via = "10.1.1.1" },
{ via = "10.1.1.255" },
{ via = "10.1.1.2", port = "wan" },
{ via = "fd01:1::2" },
{ via = "224.0.0.5" },
{ via = "10.1.1.2", port = "lna", weight = 257 },
{ weight = 0 },
{ via = "10.3.3.3", port = "wan" },
{ port = "lan", via = "x" },
]
[[routes]]
prefix = "2001:db8::/32"
via = "fe80::1"
`),
		"13: routes[0].hops[0].via: 10.3.3.3 is on no subnet of VRF 0; name the port if it is on link there\n" +
			"15: routes[0].hops[2].via: 10.1.1.1 is our own address, ports[0].addresses[0]\n" +
			"16: routes[0].hops[3].via: 10.1.1.255 is the broadcast address of its subnet\n" +
			"17: routes[0].hops[4].via: 10.1.1.2 is on the subnet of lan, not on wan\n" +
			"18: routes[0].hops[5].via: fd01:1::2 is not of the family of 192.0.2.0/24\n" +
			"19: routes[0].hops[6].via: 224.0.0.5 is a multicast address\n" +
			"20: routes[0].hops[7].weight: 257 is above 256\n" +
			"20: routes[0].hops[7].port: \"lna\" is no port's name; did you mean \"lan\"?\n" +
			"21: routes[0].hops[8].weight: 0 is below 1\n" +
			"21: routes[0].hops[8]: has neither via nor port\n" +
			"22: routes[0].hops[9]: is listed twice; give one a weight\n" +
			"23: routes[0].hops[10].via: \"x\" is not an IP address\n" +
			"27: routes[1].via: fe80::1 is link-local; name the port", "FF-16"},
	{"forms", fill("[[routes]]\nprefix = \"192.0.2.0/24\"\n[[routes]]\nprefix = \"192.0.3.0/24\"\ntype = \"prohibit\"\nport = \"lan\"\n[[routes]]\nprefix = \"192.0.4.0/24\"\nport = \"lan\"\nhops = [{port = \"lan\"}]\n[[routes]]\nprefix = \"192.0.5.0/24\"\nport = \"lan\"\nvrf = 1\n[[routes]]\nprefix = \"192.0.6.0/24\"\nhops = []\n[[routes]]\nprefix = \"192.0.7.0/24\"\nport = \"lan\"\nmtu = 67\n[[routes]]\nprefix = \"2001:db8::/32\"\nport = \"lan\"\nmtu = 1279\n[[routes]]\nprefix = \"192.0.8.0/24\"\ntype = \"blackhole\"\nmtu = 1300\n[[routes]]\nprefix = \"192.0.9.0/24\"\nport = \"lan\"\nmtu = 65536\n"),
		"10: routes[0].hops: is missing; a unicast route needs via, port or hops\n" +
			"14: routes[1].type: a prohibit route has no via, port or hops\n" +
			"19: routes[2].hops: stands beside via or port; give one or the other\n" +
			"22: routes[3].port: lan is in VRF 0; want a port of VRF 1\n" +
			"26: routes[4].hops: is empty; leave the key out for any\n" +
			"30: routes[5].mtu: 67 is below 68 (RFC 791)\n" +
			"34: routes[6].mtu: 1279 is below 1280 (RFC 8200)\n" +
			"38: routes[7].mtu: a blackhole route has no mtu\n" +
			"42: routes[8].mtu: 65536 is above 65535 (RFC 791)", "FF-8"},

	// Neighbours.
	{"neighbours", fill(`[[neighbours]]
port = "lan"
address = "10.2.2.2"
mac = "02:00:00:00:00:01"
[[neighbours]]
port = "lan"
address = "10.1.1.1"
[[neighbours]]
port = "lan"
address = "10.1.1.255"
mac = "ff:ff:ff:ff:ff:ff"
[[neighbours]]
port = "nowhere"
address = "10.1.1.9"
mac = "02:00:00:00:00:01"
[[neighbours]]
mac = "02:00:00:00:00:01"
`),
		"12: neighbours[0].address: 10.2.2.2 is on no subnet of lan\n" +
			"14: neighbours[1].mac: is missing\n" +
			"16: neighbours[1].address: 10.1.1.1 is our own address\n" +
			"19: neighbours[2].address: 10.1.1.255 is the broadcast address of its subnet\n" +
			"20: neighbours[2].mac: ff:ff:ff:ff:ff:ff is a group address (IEEE 802, I/G bit)\n" +
			"22: neighbours[3].port: \"nowhere\" is no port's name\n" +
			"25: neighbours[4].port: is missing\n" +
			"25: neighbours[4].address: is missing", "SP-5"},
	{"state without tracking", fill("[ct]\nenabled = false\n[[rules]]\naction = \"accept\"\nstate = [\"established\"]\n"),
		"14: rules[0].state: is not known without connection tracking: ct.enabled is false", "CT-2"},
	{"neighbours on link by a route", fill(`[[routes]]
prefix = "192.0.2.0/24"
port = "lan"
[[routes]]
prefix = "192.0.3.0/24"
via = "172.16.0.1"
port = "lan"
[[neighbours]]
port = "lan"
address = "192.0.2.77"
mac = "02:00:00:00:00:01"
[[neighbours]]
port = "lan"
address = "172.16.0.1"
mac = "02:00:00:00:00:01"
[[neighbours]]
port = "lan"
address = "fe80::77"
mac = "02:00:00:00:00:01"
[[neighbours]]
port = "lan"
address = "fe80::77"
mac = "02:00:00:00:00:01"
`), "31: neighbours[3].address: fe80::77 on lan is neighbours[2] already", "SP-5"},

	// ct.
	{"fib", onePort + "[fib]\nmax_routes_ipv4 = 1023\nmax_routes_ipv6 = 8388609\nmax_next_hops = 4194305\n",
		"5: fib.max_routes_ipv4: 1023 is below 1024\n" +
			"6: fib.max_routes_ipv6: 8388609 is above 8388608\n" +
			"7: fib.max_next_hops: 4194305 is above 4194304", "FF-16"},
	{"ct", onePort + "[ct]\nmax_flows = 1023\nmax_flows_ipv6 = 50000001\n[ct.timeouts]\nicmp = \"0s\"\nicmpv6 = \"-1s\"\ngeneric = \"1h\"\n[ct.timeouts.tcp]\nestablished = \"576h0m1s\"\nclose = \"1500us\"\nfin_wait = \"5 d\"\nsyn = \"1s\"\n[ct.timeouts.udp]\nreplied = 30\n",
		"5: ct.max_flows: 1023 is below 1024\n" +
			"6: ct.max_flows_ipv6: 50000001 is above 50000000\n" +
			"8: ct.timeouts.icmp: 0s is below 1ms\n" +
			"9: ct.timeouts.icmpv6: -1s is below 1ms\n" +
			"12: ct.timeouts.tcp.established: 576h0m1s is above 576h (24 days: deadlines are 32-bit milliseconds)\n" +
			"13: ct.timeouts.tcp.close: 1.5ms is not in whole milliseconds\n" +
			"14: ct.timeouts.tcp.fin_wait: \"5 d\" is not a duration like \"30s\", \"2m\" or \"120h\"\n" +
			"15: ct.timeouts.tcp.syn: is an unknown key; want one of syn_sent, syn_recv, established, fin_wait, close_wait, last_ack, time_wait, close, syn_sent2, unacknowledged, max_retrans\n" +
			"17: ct.timeouts.udp.replied: is an integer; want a string", "TO-1"},
	{"longest timeout", onePort + "[ct.timeouts.tcp]\nestablished = \"576h\"\nclose = \"1ms\"\n", "", "TO-1"},

	{"fragments", onePort + "[ct.fragments]\ntimeout_ipv4 = \"0s\"\nmax_datagrams = 0\nmax_packets = 10\nmax_source_packets = 11\nmax_bytes = 65535\nmax_source_bytes = 1073741825\n",
		"5: ct.fragments.timeout_ipv4: 0s is below 1ms\n" +
			"6: ct.fragments.max_datagrams: 0 is below 1\n" +
			"8: ct.fragments.max_source_packets: 11 is above max_packets, which is 10\n" +
			"9: ct.fragments.max_bytes: 65535 is below 65536\n" +
			"10: ct.fragments.max_source_bytes: 1073741825 is above 1073741824", "CT-5"},

	// Rules.
	{"rule actions", fill(`[ct]
enabled = false
[policy]
default_in = "reject"
[[rules]]
action = "drop"
reject_with = "tcp_reset"
[[rules]]
action = "reject"
reject_with = "tcp_reset"
protocol = "udp"
[[rules]]
action = "continue"
mark = "1/0"
[[rules]]
action = "continue"
mark = "0x1f/0xf"
set_mark = "4294967296"
set_ct_mark = 1
`),
		"13: policy.default_in: reject is for rules; want accept or drop, or a last rule that says reject\n" +
			"16: rules[0].reject_with: needs action reject; this is drop\n" +
			"19: rules[1].reject_with: tcp_reset needs protocol tcp; this is udp\n" +
			"22: rules[2].action: continue does nothing without set_mark, set_ct_mark, timeout, via, hops or priority\n" +
			"23: rules[2].mark: \"1/0\": a mask of 0 names no bit\n" +
			"26: rules[3].mark: \"0x1f/0xf\": the value has bits outside the mask; want 0xf/0xf\n" +
			"27: rules[3].set_mark: \"4294967296\" is not a 32-bit mark like \"0x10\" or \"0x10/0xf0\"\n" +
			"28: rules[3].set_ct_mark: needs connections, but ct.enabled is false", "FF-6"},
	{"limits", fill(`[ct]
max_flows_per_source = -1
reserve = 131072
[[rules]]
action = "accept"
conn_max = 10
[[rules]]
action = "drop"
conn_max = 50000001
conn_max_per = "sourc"
state = ["established"]
[[rules]]
action = "drop"
conn_max_per = "source"
priority = true
state = ["related"]
[[rules]]
action = "reject"
conn_max = 1
conn_max_per = "source"
state = ["new", "established"]
`),
		"11: ct.max_flows_per_source: -1 is below 0\n" +
			"12: ct.reserve: 131072 is above 131071 (it is part of both ct.max_flows and ct.max_flows_ipv6)\n" +
			"15: rules[0].conn_max: is for connections that are too many: it needs action drop or reject, before the rule that accepts; this is accept\n" +
			"18: rules[1].conn_max: 50000001 is above 50000000\n" +
			"18: rules[1].conn_max: is about new connections, which state leaves out\n" +
			"19: rules[1].conn_max_per: \"sourc\" is unknown; did you mean \"source\"?\n" +
			"23: rules[2].conn_max_per: needs conn_max\n" +
			"24: rules[2].priority: is about new connections, which state leaves out", "CT-7"},
	{"limits without connections", fill(`[ct]
enabled = false
[[rules]]
action = "drop"
conn_max = 10
[[rules]]
action = "accept"
priority = true
`),
		"14: rules[0].conn_max: needs connections, but ct.enabled is false\n" +
			"17: rules[1].priority: needs connections, but ct.enabled is false", "CT-7"},
	{"rules", fill(`[[rules]]
in_ports = ["lan", "lan", "dmz"]
out_ports = ["wan"]
[[rules]]
action = "accept"
src = ["10.0.0.1/8", "fd00::/8"]
dst = []
[[rules]]
action = "deny"
protocol = "icmp"
dst_ports = [80]
src = ["fd00::/8"]
[[rules]]
action = "drop"
src_ports = ["80-79", 65536,
"x"]
dst_ports = [1, "1"]
[[rules]]
action = "drop"
protocol = 256
[[rules]]
action = "drop"
protocol = "tpc"
state = ["new", "newish", "new"]
`),
		"10: rules[0].action: is missing; want accept, drop, reject, continue, queue, divert, tee, dnat, redirect, snat, masquerade\n" +
			"11: rules[0].in_ports[2]: \"dmz\" is no port's name\n" +
			"11: rules[0].in_ports[1]: lan is listed twice\n" +
			"12: rules[0].out_ports: is not known in hook in, before the route lookup; want hook out\n" +
			"15: rules[1].src[0]: 10.0.0.1/8 has host bits set; want 10.0.0.0/8\n" +
			"15: rules[1].src[1]: fd00::/8 is not of the family of 10.0.0.1/8; write a rule for each\n" +
			"16: rules[1].dst: is empty; leave the key out for any\n" +
			"18: rules[2].action: \"deny\" is unknown; want accept, drop, reject, continue, queue, divert, tee, dnat, redirect, snat, masquerade\n" +
			"19: rules[2].protocol: icmp is not carried by IPv6, as in fd00::/8; want icmpv6\n" +
			"20: rules[2].dst_ports: protocol icmp has none; want tcp, udp or sctp\n" +
			"24: rules[3].src_ports[0]: \"80-79\" is reversed; want \"79-80\"\n" +
			"24: rules[3].src_ports[1]: \"65536\" is not a port 0..65535 or a range like \"8000-8100\"\n" +
			"24: rules[3].src_ports: needs a protocol: tcp, udp or sctp\n" +
			"25: rules[3].src_ports[2]: \"x\" is not a port 0..65535 or a range like \"8000-8100\"\n" +
			"26: rules[3].dst_ports: needs a protocol: tcp, udp or sctp\n" +
			"26: rules[3].dst_ports[1]: 1 is listed twice\n" +
			"29: rules[4].protocol: \"256\" is unknown; want tcp, udp, icmp, icmpv6, sctp, gre or 0..255\n" +
			"32: rules[5].protocol: \"tpc\" is unknown; did you mean \"tcp\"?\n" +
			"33: rules[5].state[1]: \"newish\" is unknown; want new, established, related, invalid, untracked\n" +
			"33: rules[5].state[2]: new is listed twice", "FF-6, CT-2"},

	// Services.
	{"services", onePort + "[icmp]\nerror_rate = -1\n[metrics]\naddress = \"9475\"\n[control]\nsocket = \"/run/\"\n",
		"5: icmp.error_rate: -1 is below 0\n" +
			"7: metrics.address: \"9475\" is not host:port, as in 127.0.0.1:9475\n" +
			"9: control.socket: \"/run/\" is a directory; want the path of a socket", "FF-10"},
	{"metrics port", onePort + "[metrics]\naddress = \"[::1]:99999\"\n[control]\nsocket = \"" + strings.Repeat("x", 108) + "\"\n",
		"5: metrics.address: \"[::1]:99999\" has no port number 0..65535\n" +
			"7: control.socket: is 108 bytes long, more than 107 (unix(7))", "unix(7)"},
}

func TestFaults(t *testing.T) { checkFaults(t, faultCases) }

func checkFaults(t *testing.T, cases []faultCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse("f", []byte(tc.doc))
			got := ""
			if err != nil {
				got = strings.ReplaceAll("\n"+err.Error(), "\nf:", "\n")[1:]
			}
			if got != tc.want {
				t.Errorf("%s\ngot:\n%s\nwant:\n%s", tc.source, got, tc.want)
			}
		})
	}
}

// A Config built in Go is held to what a file is.
func TestValidateWithoutFile(t *testing.T) {
	c := Default()
	c.Ports = []Port{{Name: "lan", Device: "net_null0", MTU: 1500, RxDescriptors: 64, TxDescriptors: 64, Options: "x"}}
	c.Rules = []Rule{{Hook: HookIn, Action: ActionDrop, Protocol: ProtocolUDP, DstPorts: []PortRange{{2, 1}}}}
	c.Log.Level = ""
	want := `ports[0].options: "x" is unknown; want punt, drop, forward
ports[0].reverse_path: is missing; want off, strict, loose
log.level: is missing; want debug, info, warn, error
ports[0].steering: is missing; want auto, software, queue
rules[0].dst_ports[0]: 2-1 is reversed`
	if got := c.Validate().Error(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// A file that repeats one fault per line reports them all.
func TestTooMuch(t *testing.T) {
	c := Default()
	for range maxPorts + 1 {
		c.Ports = append(c.Ports, Port{})
	}
	c.Rules = make([]Rule, maxRules+1)
	c.Workers.Cores = make([]int, maxWorkers+1)
	text := c.Validate().Error()
	for _, want := range []string{
		"ports: has 1025 ports, more than 1024",
		"rules: has 65537 rules, more than 65536",
		"workers.cores: has 128 cores, more than 127 (RTE_MAX_LCORE)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
}

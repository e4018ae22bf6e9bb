package bench

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"

	"ffwd/capture"
	"ffwd/packet"
)

// The ports of every configuration.
const (
	sourcePort = "in"
	sinkPort   = "out"
	fillPort   = "fill" // of a dump alone
)

// Addresses. Flows are between two networks inside routedNet, most of which the
// routes cover; the rest takes the default route.
var (
	clientNet = netip.MustParsePrefix("64.0.0.0/4")
	serverNet = netip.MustParsePrefix("80.0.0.0/4")
	routedNet = netip.MustParsePrefix("64.0.0.0/3")

	sinkAddress = netip.MustParsePrefix("198.51.100.1/24")

	clientNet6 = netip.MustParsePrefix("2a00::/25")
	serverNet6 = netip.MustParsePrefix("2a00:80::/25")
	routedNet6 = netip.MustParsePrefix("2a00::/24")
)

// minMTUIPv6 is the least MTU of a port with IPv6 addresses. Source: RFC 8200 section 5.
const minMTUIPv6 = 1280

// nextHops are as many neighbours as share the routes, 198.51.100.2 and following.
const nextHops = 16

// writeConfig writes the configuration of one measurement.
func writeConfig(path string, v variant, s *setup) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	defer file.Close()
	w := bufio.NewWriter(file)
	printConfig(w, v, s)
	if err := w.Flush(); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return file.Close()
}

func printConfig(w io.Writer, v variant, s *setup) {
	source, sink := s.devices()
	if s.huge {
		fmt.Fprintf(w, "[eal]\nhuge_pages = %q\n\n", "require")
	} else {
		fmt.Fprintf(w, "[eal]\nhuge_pages = %q\nmemory_mb = %d\n\n", "off", s.ordinaryMemoryMB())
	}
	fmt.Fprintf(w, "[pool]\nmbufs = %d\ncache = %d\n\n", s.mbufs(), poolCache)
	fmt.Fprintf(w, "[workers]\ncores = [%s]\nburst = %d\n\n", joinInts(s.cores, ", "), burst)
	mtu, sourceAddress, outAddress := s.mtuBytes(), "192.0.2.1/24", sinkAddress.String()
	if s.ipv6 {
		sourceAddress, outAddress = "2001:db8:1::1/64", "2001:db8:2::1/64"
	}
	type port struct {
		name, device, address string
		mtu                   int
	}
	ports := []port{
		{sourcePort, source, sourceAddress, mtu},
		{sinkPort, sink, outAddress, cmp.Or(v.egressMTU, mtu)},
	}
	if v.fill != "" {
		ports = append(ports, port{fillPort, "net_pcap1,rx_pcap=" + v.fill, "203.0.113.1/24", mtu})
	}
	for _, port := range ports {
		// Each capture holds both directions of its flows: no software steering.
		fmt.Fprintf(w, "[[ports]]\nname = %q\ndevice = %q\naddresses = [%q]\nmtu = %d\nrx_queues = %d\ntx_queues = %d\nsteering = %q\n\n",
			port.name, port.device, port.address, port.mtu, len(s.files), len(s.files), "queue")
		if port.name == fillPort { // captures are addressed to the first device of net_pcap
			fmt.Fprintf(w, "mac = %q\n\n", net.HardwareAddr(capture.DefaultDstMAC[:]))
		}
	}
	translations := 0
	if s.hidden {
		translations = statefulMaxFlows
	}
	fmt.Fprintf(w, "[ct]\nenabled = %t\nmax_flows = %d\nmax_flows_ipv6 = 1024\nmax_translations = %d\n\n", !v.stateless, cmp.Or(v.maxFlows, statefulMaxFlows), translations)
	if v.unreplied > 0 {
		fmt.Fprintf(w, "[ct.timeouts.udp]\nunreplied = %q\n\n", v.unreplied)
	}
	if v.brief > 0 {
		fmt.Fprintf(w, "[ct.timeouts.tcp]\nestablished = %q\nunacknowledged = %q\n\n", v.brief, v.brief)
	}
	fmt.Fprintf(w, "[metrics]\naddress = \"\"\n\n[slow_path]\nenabled = \"off\"\n\n[log]\nlevel = \"warn\"\n\n[control]\nsocket = %q\n", v.controlSocket)
	printQueue(w, v)
	if s.hidden {
		fmt.Fprintf(w, "[[rules]]\nhook = \"out\"\naction = \"masquerade\"\nsrc = [%q]\n\n", clientNet)
	}
	printRoutes(w, v.routes, s.ipv6)
}

// printQueue ends the table that control's socket is in.
func printQueue(w io.Writer, v variant) {
	if v.queuedShare == 0 {
		fmt.Fprintln(w)
		return
	}
	fmt.Fprintf(w, "queue_socket = %q\n\n[[queues]]\nnumber = 0\n\n", v.queueSocket)
	fmt.Fprintf(w, "[[rules]]\naction = \"queue\"\nqueue = 0\nsrc = [")
	for i, net := range shareOf(clientNet, v.queuedShare) {
		if i > 0 {
			fmt.Fprint(w, ", ")
		}
		fmt.Fprintf(w, "%q", net)
	}
	fmt.Fprint(w, "]\n\n")
}

// shareOf returns the networks that are so many of the allShares equal parts of a network,
// the first ones, and as few networks as possible. The network is one of IPv4.
func shareOf(net netip.Prefix, share int) (list []netip.Prefix) {
	from := binary.BigEndian.Uint32(net.Addr().AsSlice())
	for bits, size := net.Bits(), allShares; size > 0; bits, size = bits+1, size/2 {
		if share&size == 0 {
			continue
		}
		var at [4]byte
		binary.BigEndian.PutUint32(at[:], from)
		list = append(list, netip.PrefixFrom(netip.AddrFrom4(at), bits))
		from += 1 << (32 - bits)
	}
	return list
}

// mtuBytes is the MTU that the frames of the load need, and IPv6 wants in any case.
func (s *setup) mtuBytes() int {
	least := MTUBytes
	if s.ipv6 {
		least = minMTUIPv6
	}
	return max(least, s.frameBytes-packet.EthernetLen)
}

// printRoutes writes n routes of a family, the default route first, and the
// neighbours they use. A million of them must not be more than conf reads.
func printRoutes(w io.Writer, n int, ipv6 bool) {
	hops, network := min(n, nextHops), "198.51.100."
	if ipv6 {
		network = "2001:db8:2::"
	}
	for i := range hops {
		fmt.Fprintf(w, "[[neighbours]]\nport = %q\naddress = \"%s%d\"\nmac = \"02:00:00:00:01:%02x\"\n\n", sinkPort, network, 2+i, i)
	}
	for i, prefix := range prefixes(n, ipv6) {
		fmt.Fprintf(w, "[[routes]]\nprefix=\"%s\"\nvia=\"%s%d\"\n", prefix, network, 2+i%hops)
	}
}

// lengths is how often a prefix length occurs, in hundredths: about as in the
// Internet's routing table, without the very short ones.
type lengths []struct{ bits, share int }

var (
	lengths4 = lengths{{24, 60}, {23, 9}, {22, 11}, {21, 5}, {20, 5}, {19, 3}, {18, 2}, {17, 1}, {16, 4}}
	lengths6 = lengths{{48, 50}, {44, 22}, {40, 20}, {36, 7}, {32, 1}}
)

// prefixes returns the default route and n-1 different prefixes of the routed
// network of a family, always the same.
func prefixes(n int, ipv6 bool) []netip.Prefix {
	random := rand.New(rand.NewPCG(1, 1))
	net, shares, first := routedNet, lengths4, netip.MustParsePrefix("0.0.0.0/0")
	if ipv6 {
		net, shares, first = routedNet6, lengths6, netip.MustParsePrefix("::/0")
	}
	list := []netip.Prefix{first}
	seen := make(map[netip.Prefix]bool, n)
	for len(list) < n {
		prefix := netip.PrefixFrom(randomAddress(random, net), shares.random(random)).Masked()
		if !seen[prefix] {
			seen[prefix] = true
			list = append(list, prefix)
		}
	}
	return list
}

// randomAddress returns an address of which the bits behind the prefix vary, in
// IPv6 the first 32 of them.
func randomAddress(random *rand.Rand, net netip.Prefix) netip.Addr {
	offset := random.Uint32()
	if net.Addr().Is4() {
		base := net.Addr().As4()
		be := binary.BigEndian
		be.PutUint32(base[:], be.Uint32(base[:])|offset>>net.Bits())
		return netip.AddrFrom4(base)
	}
	base := net.Addr().As16()
	be := binary.BigEndian
	be.PutUint64(base[:], be.Uint64(base[:])|uint64(offset)<<32>>net.Bits())
	return netip.AddrFrom16(base)
}

func (l lengths) random(random *rand.Rand) int {
	at := random.IntN(100)
	for _, length := range l {
		if at -= length.share; at < 0 {
			return length.bits
		}
	}
	panic("bench: shares of prefix lengths do not add up to 100")
}

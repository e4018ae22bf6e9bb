package bench

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
)

// The ports of every configuration.
const (
	sourcePort = "in"
	sinkPort   = "out"
)

// Addresses. Flows are between two networks inside routedNet, most of which the
// routes cover; the rest takes the default route.
var (
	clientNet = netip.MustParsePrefix("64.0.0.0/4")
	serverNet = netip.MustParsePrefix("80.0.0.0/4")
	routedNet = netip.MustParsePrefix("64.0.0.0/3")
)

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
	for _, port := range []struct{ name, device, address string }{
		{sourcePort, source, "192.0.2.1/24"},
		{sinkPort, sink, "198.51.100.1/24"},
	} {
		// Each capture holds both directions of its flows: no software steering.
		fmt.Fprintf(w, "[[ports]]\nname = %q\ndevice = %q\naddresses = [%q]\nmtu = %d\nrx_queues = %d\ntx_queues = %d\nsteering = %q\n\n",
			port.name, port.device, port.address, MTUBytes, len(s.files), len(s.files), "queue")
	}
	fmt.Fprintf(w, "[ct]\nenabled = %t\nmax_flows = %d\nmax_flows_ipv6 = 1024\n\n", !v.stateless, v.maxFlows)
	if v.unreplied > 0 {
		fmt.Fprintf(w, "[ct.timeouts.udp]\nunreplied = %q\n\n", v.unreplied)
	}
	fmt.Fprintf(w, "[metrics]\naddress = \"\"\n\n[slow_path]\nenabled = \"off\"\n\n[control]\nsocket = \"\"\n\n[log]\nlevel = \"warn\"\n\n")
	printRoutes(w, v.routes)
}

// printRoutes writes n routes, the default route first, and the neighbours they use.
func printRoutes(w io.Writer, n int) {
	hops := min(n, nextHops)
	for i := range hops {
		fmt.Fprintf(w, "[[neighbours]]\nport = %q\naddress = \"198.51.100.%d\"\nmac = \"02:00:00:00:01:%02x\"\n\n", sinkPort, 2+i, i)
	}
	for i, prefix := range prefixes(n) {
		fmt.Fprintf(w, "[[routes]]\nprefix = \"%s\"\nvia = \"198.51.100.%d\"\n\n", prefix, 2+i%hops)
	}
}

// lengths is how often a prefix length occurs, in hundredths: about as in the
// Internet's routing table, without the very short ones.
var lengths = []struct{ bits, share int }{
	{24, 60}, {23, 9}, {22, 11}, {21, 5}, {20, 5}, {19, 3}, {18, 2}, {17, 1}, {16, 4},
}

// prefixes returns the default route and n-1 different prefixes of routedNet, always
// the same.
func prefixes(n int) []netip.Prefix {
	random := rand.New(rand.NewPCG(1, 1))
	list := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	seen := make(map[netip.Prefix]bool, n)
	base := routedNet.Addr().As4()
	for len(list) < n {
		offset := random.Uint32() >> routedNet.Bits()
		addr := netip.AddrFrom4([4]byte{base[0] | byte(offset>>24), byte(offset >> 16), byte(offset >> 8), byte(offset)})
		prefix := netip.PrefixFrom(addr, randomLength(random)).Masked()
		if !seen[prefix] {
			seen[prefix] = true
			list = append(list, prefix)
		}
	}
	return list
}

func randomLength(random *rand.Rand) int {
	at := random.IntN(100)
	for _, l := range lengths {
		if at -= l.share; at < 0 {
			return l.bits
		}
	}
	panic("bench: shares of prefix lengths do not add up to 100")
}

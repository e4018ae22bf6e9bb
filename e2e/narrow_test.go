package e2e

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

// The path narrows from wideMTU to narrowMTU at the router.
const (
	wideMTU   = 3000
	narrowMTU = 1400
)

var narrowChecks = []check{
	{"fragments", checkFragments},
	{"fragments of fragments", checkFragmentsOfFragments},
	{"udp", checkLargeUDP},
	{"fragmentation needed", checkFragmentationNeeded},
	{"path mtu discovery", checkPathMTUDiscovery},
	{"download", checkDownload},
}

// FF-9, FF-10, FF-14. AF_XDP only: to a packet socket the kernel gives reassembled
// datagrams.
func TestNarrowToTheServer(t *testing.T) {
	runChecks(t, []variant{kernel, afXDP}, topology{clientMTU: wideMTU, serverMTU: narrowMTU}, narrowChecks)
}

// FF-9, FF-10, FF-14
func TestNarrowToTheClient(t *testing.T) {
	runChecks(t, []variant{kernel, afXDP}, topology{clientMTU: narrowMTU, serverMTU: wideMTU}, narrowChecks)
}

// towardsNarrow returns the hosts on the wide and on the narrow side.
func (b *bed) towardsNarrow() (wide, narrow *host) {
	if b.clientMTU > b.serverMTU {
		return b.client, b.server
	}
	return b.server, b.client
}

// The narrow side's kernel reassembles what we made of one datagram, and each
// fragment is as RFC 791 wants it.
func checkFragments(t *testing.T, b *bed) {
	wide, narrow := b.towardsNarrow()
	before := b.fragmentsMade(t)
	tap := narrow.sniff(t)
	const size = 2900
	sent := pingsSent(t, wide.ping(t, narrow.ipv4, "-c", "3", "-i", "0.01", "-M", "dont", "-s", strconv.Itoa(size)))
	const (
		datagram = size + 8
		each     = (narrowMTU - 20) / 8 * 8
		pieces   = (datagram + each - 1) / each
	)
	tap.datagrams(t, sent, datagram, pieces)
	if made := b.fragmentsMade(t) - before; b.ffwd != nil && made != uint64(sent*pieces) {
		t.Errorf("%d fragments are counted, want %d", made, sent*pieces)
	}
}

// FF-9: right for a packet that is itself a fragment.
func checkFragmentsOfFragments(t *testing.T, b *bed) {
	wide, narrow := b.towardsNarrow()
	tap := narrow.sniff(t)
	const size = 60000
	wide.ping(t, narrow.ipv4, "-c", "1", "-M", "dont", "-s", strconv.Itoa(size))
	const (
		datagram = size + 8
		first    = (wideMTU - 20) / 8 * 8
		second   = (narrowMTU - 20) / 8 * 8
		last     = datagram % first
		pieces   = datagram/first*((first+second-1)/second) + (last+second-1)/second
	)
	tap.datagrams(t, 1, datagram, pieces)
}

// fragmentsMade returns ffwd's count, and 0 of the kernel.
func (b *bed) fragmentsMade(t *testing.T) uint64 {
	if b.ffwd == nil {
		return 0
	}
	return b.ffwd.report(t).Fragments
}

// Datagrams around what fits come through in both directions.
func checkLargeUDP(t *testing.T, b *bed) {
	b.client.echo(t)
	b.server.echo(t)
	b.ends(func(from, _ *host, address, _ string) {
		if netip.MustParseAddr(address).Is6() {
			return // routers do not fragment IPv6
		}
		c, err := from.dial(t, "udp", address, soon)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, n := range []int{narrowMTU - 29, narrowMTU - 28, narrowMTU - 27, 2 * narrowMTU, wideMTU - 29, wideMTU - 28, wideMTU - 27, 9000} {
			if err := exchange(c, make([]byte, n), soon); err != nil {
				t.Errorf("%s: datagram of %d bytes: %v", address, n, err)
			}
		}
	})
}

func checkFragmentationNeeded(t *testing.T, b *bed) {
	wide, narrow := b.towardsNarrow()
	for _, c := range []struct {
		name, address string
		header        int
		pattern       string
	}{
		{"ipv4", narrow.ipv4, 28, fmt.Sprintf(`From %s .*Frag needed and DF set \(mtu = %d\)`, wide.gw4, narrowMTU)},
		{"ipv6", narrow.ipv6, 48, fmt.Sprintf(`From %s .*Packet too big: mtu=%d`, wide.gw6, narrowMTU)},
	} {
		wide.forgetPaths()
		wide.ping(t, c.address, "-c", "1", "-M", "do", "-s", strconv.Itoa(narrowMTU-c.header))
		for _, size := range []int{narrowMTU - c.header + 1, 2900} {
			wide.forgetPaths()
			wide.pingFails(t, c.pattern, c.address, "-M", "do", "-s", strconv.Itoa(size))
		}
		narrow.ping(t, map[string]string{"ipv4": wide.ipv4, "ipv6": wide.ipv6}[c.name], "-c", "1", "-M", "do", "-s", strconv.Itoa(narrowMTU-c.header))
	}
	wide.forgetPaths()
}

// TCP learns the path's MTU from our ICMP errors, and goes on.
func checkPathMTUDiscovery(t *testing.T, b *bed) {
	wide, narrow := b.towardsNarrow()
	narrow.echo(t)
	for _, c := range []struct{ address, route string }{
		{narrow.ipv4, "route get "}, {narrow.ipv6, "-6 route get "},
	} {
		wide.forgetPaths()
		conn, err := wide.dial(t, "tcp", c.address, soon)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		message := make([]byte, 10<<20)
		rand.Read(message)
		if err := exchange(conn, message, soon); err != nil {
			t.Errorf("%s: %v", c.address, err)
		}
		wantMatch(t, wide.run(t, append([]string{"ip"}, strings.Fields(c.route+c.address)...)...), fmt.Sprintf(` mtu %d\b`, narrowMTU))
	}
}

const jumboMTU = 9000

// Frames larger than the default of the ring, and of an mbuf.
func TestJumboFrames(t *testing.T) {
	runChecks(t, []variant{kernel, afPacket}, topology{clientMTU: jumboMTU, serverMTU: jumboMTU}, []check{
		{"ping", func(t *testing.T, b *bed) {
			b.ends(func(from, _ *host, address, _ string) {
				for _, size := range []int{1472, 1473, 1900, 2048, 4096, 8900, jumboMTU - 48, jumboMTU - 28} {
					if size == jumboMTU-28 && netip.MustParseAddr(address).Is6() {
						continue
					}
					from.ping(t, address, "-c", "1", "-M", "do", "-s", strconv.Itoa(size))
				}
			})
		}},
		{"download", checkDownload},
		{"iperf", checkIperfShort},
	})
}

package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// The reverse-path filter, as a sender meets it who claims to be somebody else: the way
// back to the source must lead to the port it came by (strict), or anywhere (loose).
// Linux has it for IPv4; nftables' fib does the same for IPv6. Source: FF-15, RFC 3704
func TestReversePath(t *testing.T) {
	needRoot(t)
	right, elsewhere, nowhere := []string{"10.1.1.2", "fd01:1::2"}, []string{"10.2.2.99", "fd01:2::99"}, []string{"10.99.0.9", "fd99::9"}
	for _, v := range []variant{kernel, afXDP} {
		for _, c := range []struct {
			mode     string
			arriving [][]string
		}{
			{"off", [][]string{right, elsewhere, nowhere}},
			{"strict", [][]string{right}},
			{"loose", [][]string{right, elsewhere}},
		} {
			t.Run(v.name+" "+c.mode, func(t *testing.T) {
				b := newBed(t, v, topology{ports: fmt.Sprintf("reverse_path = %q\n", c.mode)})
				if v == kernel {
					b.kernelReversePath(c.mode)
				}
				dropped := uint64(0)
				for family, to := range []string{b.server.ipv4, b.server.ipv6} {
					var sources, want []string
					for _, source := range [][]string{nowhere, elsewhere, right} {
						sources = append(sources, source[family])
					}
					for _, source := range c.arriving {
						want = append(want, source[family])
					}
					dropped += uint64(len(sources) - len(want))
					got := b.arriving(t, sources, to)
					slices.Sort(want)
					if !slices.Equal(got, want) {
						t.Errorf("datagrams arrived from %v, want %v", got, want)
					}
				}
				if r := b.stop(t); r != nil && r.reason("reverse_path") != dropped {
					t.Errorf("%d dropped for reverse_path, want %d", r.reason("reverse_path"), dropped)
				}
			})
		}
	}
}

// kernelReversePath does the same to the kernel's router.
func (b *bed) kernelReversePath(mode string) {
	b.router.sysctl(map[string]string{"ipv4/conf/r0/rp_filter": map[string]string{"off": "0", "strict": "1", "loose": "2"}[mode]})
	missing := map[string]string{"strict": "fib saddr . iif oif missing drop;", "loose": "fib saddr oif missing drop;"}[mode]
	b.router.host("ip", "netns", "exec", b.router.name, "nft", "table ip6 e2e { chain reverse { type filter hook prerouting priority raw; "+
		missing+" }; }")
}

// arriving sends a datagram from each source, which becomes an address of the client's,
// and returns the sources of those that the server got, sorted. The last source is the
// client's own and must arrive: on one path nothing that was sent before comes later.
func (b *bed) arriving(t *testing.T, sources []string, to string) (got []string) {
	t.Helper()
	at := netip.AddrPortFrom(netip.MustParseAddr(to), 9099)
	var server *net.UDPConn
	b.server.do(t, func() (err error) {
		server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	})
	defer server.Close()
	for i, source := range sources {
		from := netip.MustParseAddr(source)
		if i < len(sources)-1 {
			flag := ""
			if from.Is6() {
				flag = " nodad"
			}
			b.client.ip(fmt.Sprintf("addr add %s/%d dev lo%s", from, from.BitLen(), flag))
		}
		b.client.do(t, func() error {
			c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(at))
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Write([]byte(source))
			return err
		})
	}
	server.SetReadDeadline(time.Now().Add(soon))
	for buffer := make([]byte, 100); !slices.Contains(got, sources[len(sources)-1]); {
		n, _, err := server.ReadFromUDP(buffer)
		if err != nil {
			t.Fatalf("after datagrams from %v: %v", got, err)
		}
		got = append(got, string(buffer[:n]))
	}
	slices.Sort(got)
	return got
}

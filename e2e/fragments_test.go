package e2e

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"testing"
)

// CT-5: datagrams in fragments through a firewall that knows flows and ports. AF_XDP only:
// to a packet socket the kernel gives reassembled datagrams.
func TestFragmentsOfFlows(t *testing.T) {
	runChecks(t, []variant{kernel, afXDP}, topology{policy: byPort}, []check{
		{"ping", checkFragmentedPing},
		{"udp", checkFragmentedUDP},
		{"another port", checkFragmentsToAnotherPort},
		{"nothing waits", checkNoFragmentsWait},
	})
}

// Questions are new and answers established, in up to 45 fragments each.
func checkFragmentedPing(t *testing.T, b *bed) {
	for _, address := range []string{b.server.ipv4, b.server.ipv6} {
		for _, size := range []int{4000, 9000, 30000, 65000} {
			b.client.ping(t, address, "-c", "2", "-i", "0.05", "-M", "dont", "-s", strconv.Itoa(size))
		}
	}
}

func checkFragmentedUDP(t *testing.T, b *bed) {
	b.server.echo(t)
	for _, address := range []string{b.server.ipv4, b.server.ipv6} {
		c, err := b.client.dial(t, "udp", address, soon)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{1473, 2960, 9000, 65507} {
			if netip.MustParseAddr(address).Is6() {
				size = min(size, 65487)
			}
			if err := exchange(c, make([]byte, size), soon); err != nil {
				t.Errorf("%s: datagram of %d bytes: %v", address, size, err)
			}
		}
		c.Close()
	}
}

// A rule on ports is about all fragments: none reaches the server, though only the first
// shows the port.
func checkFragmentsToAnotherPort(t *testing.T, b *bed) {
	const size, fragments = 9000, 7
	for _, address := range []string{b.server.ipv4, b.server.ipv6} {
		before := b.refused(t)
		tap := b.server.sniff(t)
		b.client.do(t, func() error {
			c, err := net.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr(address), echoPort+1).String())
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Write(make([]byte, size))
			return err
		})
		b.client.ping(t, address, "-c", "1") // comes after what was to come
		if n := tap.fragments(t); n != 0 {
			t.Errorf("%s: %d fragments came to the server", address, n)
		}
		if n := b.refused(t) - before; b.ffwd != nil && n != fragments {
			t.Errorf("%s: the rules dropped %d, want %d", address, n, fragments)
		}
	}
}

// fragments returns how many fragments have come.
func (s *tap) fragments(t *testing.T) (n int) {
	t.Helper()
	for frame := s.next(t); frame != nil; frame = s.next(t) {
		switch be := binary.BigEndian; {
		case len(frame) < 54:
		case be.Uint16(frame[12:]) == 0x0800 && be.Uint16(frame[20:])&0x3fff != 0,
			be.Uint16(frame[12:]) == 0x86dd && frame[20] == 44:
			n++
		}
	}
	return n
}

// refused is how many packets ffwd's rules dropped.
func (b *bed) refused(t *testing.T) uint64 {
	if b.ffwd == nil {
		return 0
	}
	return b.ffwd.report(t).reason("policy_in")
}

func checkNoFragmentsWait(t *testing.T, b *bed) {
	if b.ffwd == nil {
		return
	}
	r := b.ffwd.report(t).Reassembly
	if r.Held != 0 || r.Datagrams != 0 || r.Completed < 2*4*2*2 || r.Evicted+r.TimedOut != 0 {
		t.Errorf("%+v", r)
	}
}

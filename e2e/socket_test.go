package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const echoPort = 7

// endpoint is an address with the port of the echo servers.
func endpoint(address string) string {
	return netip.AddrPortFrom(netip.MustParseAddr(address), echoPort).String()
}

// echo answers TCP and UDP, for as long as the test.
func (h *host) echo(t *testing.T) {
	t.Helper()
	h.do(t, func() error {
		for _, address := range []string{h.ipv4, h.ipv6} {
			udp, err := net.ListenPacket("udp", endpoint(address))
			if err != nil {
				return err
			}
			tcp, err := net.Listen("tcp", endpoint(address))
			if err != nil {
				return errors.Join(err, udp.Close())
			}
			t.Cleanup(func() { udp.Close(); tcp.Close() })
			if err := fragmentable(udp.(*net.UDPConn)); err != nil {
				return err
			}
			go echoUDP(udp)
			go echoTCP(tcp)
		}
		return nil
	})
}

// takes lets the host take connections on a port until the test ends. What handle does not
// close stays open until then, whatever the peer does.
func (h *host) takes(t *testing.T, port int, handle func(net.Conn)) {
	t.Helper()
	var l net.Listener
	h.do(t, func() (err error) { l, err = net.Listen("tcp", fmt.Sprintf(":%d", port)); return err })
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go handle(c)
		}
	}()
}

// keep is for takes: nothing is read, said or closed.
func keep(net.Conn) {}

func echoUDP(c net.PacketConn) {
	for buf := make([]byte, 1<<16); ; {
		n, from, err := c.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil { // an ICMP error is one, too
			c.WriteTo(buf[:n], from)
		}
	}
}

func echoTCP(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.Copy(c, c)
		}()
	}
}

// fragmentable lets the socket's datagrams be fragmented on their way.
func fragmentable(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		if c.LocalAddr().(*net.UDPAddr).IP.To4() != nil {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
		}
	})
	return errors.Join(err, failed)
}

// dial connects to the echo server of another host.
func (h *host) dial(t *testing.T, network, address string, limit time.Duration) (c net.Conn, err error) {
	t.Helper()
	h.do(t, func() error {
		c, err = net.DialTimeout(network, endpoint(address), limit)
		if err == nil && network == "udp" {
			return fragmentable(c.(*net.UDPConn))
		}
		return nil
	})
	return c, err
}

// exchange sends a message and wants it back.
func exchange(c net.Conn, message []byte, limit time.Duration) error {
	c.SetDeadline(time.Now().Add(limit))
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(message)
		sent <- err
	}()
	back := make([]byte, len(message)+1) // one more: a longer datagram shows, and an empty one is read
	n, err := c.Read(back)
	if _, stream := c.(*net.TCPConn); stream && err == nil && n < len(message) {
		var more int
		more, err = io.ReadFull(c, back[n:len(message)])
		n += more
	}
	if err == nil && !bytes.Equal(back[:n], message) {
		err = fmt.Errorf("%d bytes came back, not the %d that were sent", n, len(message))
	}
	return errors.Join(err, <-sent)
}

// Datagrams of every size come back as they were.
func checkUDP(t *testing.T, b *bed) {
	b.client.echo(t)
	b.server.echo(t)
	b.ends(func(from, _ *host, address, _ string) {
		c, err := from.dial(t, "udp", address, soon)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		message := make([]byte, 1472)
		for i := range message {
			message[i] = byte(i * 7)
		}
		if netip.MustParseAddr(address).Is6() {
			message = message[:1452]
		}
		for n := range len(message) + 1 {
			if err := exchange(c, message[:n], soon); err != nil {
				t.Fatalf("%s: datagram of %d bytes: %v", address, n, err)
			}
		}
	})
}

// Many connections are open at once, and each is its own.
func checkManyConnections(t *testing.T, b *bed) {
	const connections = 300
	b.server.echo(t)
	for _, address := range []string{b.server.ipv4, b.server.ipv6} {
		var all [connections]net.Conn
		for i := range all {
			c, err := b.client.dial(t, "tcp", address, soon)
			if err != nil {
				t.Fatalf("connection %d: %v", i, err)
			}
			defer c.Close()
			all[i] = c
		}
		if b.ffwd != nil {
			if r := b.ffwd.report(t); max(r.Flows.IPv4, r.Flows.IPv6) < connections {
				t.Errorf("%d IPv4 and %d IPv6 flows, want at least %d", r.Flows.IPv4, r.Flows.IPv6, connections)
			}
		}
		var wait sync.WaitGroup
		for i, c := range all {
			wait.Go(func() {
				if err := exchange(c, fmt.Appendf(nil, "connection %d", i), soon); err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
			})
		}
		wait.Wait()
	}
}

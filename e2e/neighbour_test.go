package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Nobody is told anybody's link address: hosts and router find each other. SP-3
func TestNeighboursAreFound(t *testing.T) {
	runChecks(t, []variant{kernel, afXDP}, topology{resolve: true}, []check{
		{"first packets", checkFirstPackets},
		{"dead neighbour", checkDeadNeighbour},
		{"another link address", checkOtherMAC},
		{"address at run time", checkLateAddress},
		{"mtu of a route", checkRouteMTU},
		{"reload", checkReloadOfNeighbours},
		{"many", checkManyConnections},
	})
}

// forgetNeighbours makes the router forget all hosts.
func (b *bed) forgetNeighbours() { b.router.ip("neigh flush all") }

// checkFirstPackets: the packets that make the router look for a host are not lost.
func checkFirstPackets(t *testing.T, b *bed) {
	for range 3 {
		b.ends(func(from, to *host, address, _ string) {
			b.forgetNeighbours()
			from.ping(t, address, "-c", "5", "-i", "0.002")
			b.forgetNeighbours()
			from.ping(t, address, "-c", "1", "-s", "60000") // 41 fragments there, and 41 back
		})
	}
}

// probeTime is how long the router's kernel waits for each of the three answers that a
// neighbour on the server's side may owe it, once probeQuickly has said so.
const probeTime = 300 * time.Millisecond

func (b *bed) probeQuickly() {
	wan := "wan"
	if b.ffwd == nil {
		wan = "r1"
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		b.router.sysctl(map[string]string{family + "/neigh/" + wan + "/retrans_time_ms": strconv.Itoa(int(probeTime.Milliseconds()))})
	}
}

// checkDeadNeighbour: a host that is not there cannot be reached, and the sender is told.
func checkDeadNeighbour(t *testing.T, b *bed) {
	b.probeQuickly()
	begun := time.Now()
	b.client.pingFails(t, `From 10\.1\.1\.1 .*Destination Host Unreachable`, "10.2.2.77", "-W", "8")
	b.client.pingFails(t, `From fd01:1::1 .*Destination unreachable: Address unreachable`, "fd01:2::77", "-W", "8")
	if took := time.Since(begun); took < 2*2*probeTime {
		t.Errorf("given up after %v for two", took)
	}
}

// checkOtherMAC: a host that says it has another link address is found there.
func checkOtherMAC(t *testing.T, b *bed) {
	s := b.server
	s.sysctl(map[string]string{"ipv4/conf/" + s.iface + "/arp_notify": "1", "ipv6/conf/" + s.iface + "/ndisc_notify": "1"})
	for _, mac := range []string{"02:00:00:00:02:99", s.mac} {
		s.ip("link set " + s.iface + " address " + mac)
		for _, address := range []string{s.ipv4, s.ipv6} {
			answered := func() bool {
				_, err := b.client.try(t, "ping", "-n", "-c", "1", "-W", "1", address)
				return err == nil
			}
			await(t, fmt.Sprintf("%s is found at %s", address, mac), answered)
			b.client.ping(t, address, "-c", "20", "-i", "0.005")
		}
	}
}

// checkLateAddress: an address that the router's kernel gets at run time is the
// router's, with its subnet, until it goes.
func checkLateAddress(t *testing.T, b *bed) {
	lan := "lan"
	if b.ffwd == nil {
		lan = "r0"
	}
	b.client.ip("addr add 10.9.9.2/24 dev " + b.client.iface)
	b.router.ip("addr add 10.9.9.1/24 dev " + lan)
	await(t, "the router answers", func() bool {
		_, err := b.client.try(t, "ping", "-n", "-c", "1", "-W", "1", "10.9.9.1")
		return err == nil
	})
	b.server.ping(t, "10.9.9.2", "-c", "20", "-i", "0.005")
	b.router.ip("addr del 10.9.9.1/24 dev " + lan)
	b.server.pingFails(t, `Destination Net Unreachable`, "10.9.9.2")
	b.client.ip("addr del 10.9.9.2/24 dev " + b.client.iface)
}

// checkRouteMTU: a route's own MTU is that of its packets alone, and the sender is told
// that one. SP-2, FF-9
func checkRouteMTU(t *testing.T, b *bed) {
	const mtu = 1300
	for _, c := range []struct {
		to, via, here string
		header        int
		pattern       string
	}{
		{"10.9.9.1", b.server.ipv4, b.server.ipv4, 28, `From %s .*Frag needed and DF set \(mtu = %d\)`},
		{"fd09::1", b.server.ipv6, b.server.ipv6, 48, `From %s .*Packet too big: mtu=%d`},
	} {
		gateway := map[int]string{28: b.client.gw4, 48: b.client.gw6}[c.header]
		b.server.ip("addr add " + c.to + " dev " + b.server.iface)
		for _, lock := range []string{"", "lock "} {
			b.client.forgetPaths()
			b.router.ip(fmt.Sprintf("route add %s via %s mtu %s%d", c.to, c.via, lock, mtu))
			await(t, c.to+" is reached", func() bool {
				_, err := b.client.try(t, "ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", strconv.Itoa(mtu-c.header), c.to)
				return err == nil
			})
			b.client.pingFails(t, fmt.Sprintf(c.pattern, gateway, mtu), c.to, "-M", "do", "-s", strconv.Itoa(mtu-c.header+1))
			b.client.ping(t, c.here, "-c", "1", "-M", "do", "-s", strconv.Itoa(1500-c.header))
			b.router.ip("route del " + c.to)
		}
		b.server.ip("addr del " + c.to + " dev " + b.server.iface)
	}
	b.client.forgetPaths()
}

// checkReloadOfNeighbours: a neighbour that a reload brings wins over what the kernel says of it from
// then on, and one that a reload takes away is the kernel's again, without a word from it.
func checkReloadOfNeighbours(t *testing.T, b *bed) {
	if b.ffwd == nil {
		return
	}
	const elsewhere, marker = "02:00:00:00:02:98", "10.2.2.66"
	b.client.ping(t, b.server.ipv4, "-c", "1")
	answered := func() bool {
		_, err := b.client.try(t, "ping", "-n", "-c", "1", "-W", "1", b.server.ipv4)
		return err == nil
	}
	before := b.settings
	b.settings += fmt.Sprintf("[[neighbours]]\nport = \"wan\"\naddress = %q\nmac = %q\n", b.server.ipv4, elsewhere)
	b.config()
	b.ffwd.client(t, "reload")
	b.router.ip("neigh replace "+b.server.ipv4+" dev wan lladdr "+b.server.mac+" nud permanent",
		"neigh replace "+marker+" dev wan lladdr "+elsewhere+" nud permanent")
	await(t, "the kernel's neighbours are taken over", func() bool {
		return strings.Contains(b.ffwd.client(t, "show", "routes", "--origin", "neighbour"), marker)
	})
	if answered() {
		t.Errorf("the kernel's word on %s is believed, not the configuration's", b.server.ipv4)
	}
	b.settings = before
	b.config()
	b.ffwd.client(t, "reload")
	await(t, b.server.ipv4+" is found where the kernel says", answered)
	b.router.ip("neigh del "+b.server.ipv4+" dev wan", "neigh del "+marker+" dev wan")
	b.client.ping(t, b.server.ipv4, "-c", "1")
}

// await waits for something that happens within commandLimit.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(commandLimit); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

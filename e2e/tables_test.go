package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A hundred thousand routes of each family come, and go at once. Flows over routes that
// stay do not notice, and nothing is left of those that went. SP-2
func TestFlushOfManyRoutes(t *testing.T) {
	needRoot(t)
	for _, v := range []variant{kernel, afXDP} {
		t.Run(v.name, func(t *testing.T) {
			b := newBed(t, v, topology{resolve: true})
			checkFlush(t, b)
			b.stop(t)
		})
	}
}

// manyRoutes is how many of each family come and go.
const manyRoutes = 100_000

// flushed is the i-th prefix of a family that goes.
func flushed(i int, ipv4 bool) netip.Prefix {
	if ipv4 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(20 + i>>16), byte(i >> 8), byte(i)}), 24)
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 16), byte(i >> 8), byte(i)}), 56)
}

func checkFlush(t *testing.T, b *bed) {
	defer func() {
		if t.Failed() && b.ffwd != nil {
			t.Log(b.ffwd.client(t, "show", "mirror"))
		}
	}()
	const stays4, stays6, protocol = "10.99.0.1", "fd01:99::1", "99"
	var probes []string // in routes that go
	batch := map[bool]*strings.Builder{true: {}, false: {}}
	for i := range manyRoutes {
		for ipv4, text := range batch {
			via := b.server.ipv6
			if ipv4 {
				via = b.server.ipv4
			}
			fmt.Fprintf(text, "route add %s via %s proto %s\n", flushed(i, ipv4), via, protocol)
			if i == 0 || i == manyRoutes-1 {
				probes = append(probes, flushed(i, ipv4).Addr().Next().String())
			}
		}
	}
	for _, address := range append([]string{stays4, stays6}, probes...) {
		b.server.ip("addr add " + address + " dev lo")
	}
	b.router.ip("route add "+stays4+" via "+b.server.ipv4, "-6 route add "+stays6+" via "+b.server.ipv6)
	flows := []*steadyPing{b.client.steadily(t, stays4), b.client.steadily(t, stays6)}
	before := b.forwarded(t, protocol)

	b.bothFamilies(func(ipv4 bool) { b.router.ip(batch[ipv4].String()) })
	await(t, "all routes are there", func() bool { return b.forwarded(t, protocol) == before+2*manyRoutes })
	for _, address := range probes {
		b.client.ping(t, address, "-c", "1")
	}
	b.bothFamilies(func(ipv4 bool) {
		family := map[bool]string{true: "-4", false: "-6"}[ipv4]
		b.router.host("ip", "-n", b.router.name, family, "route", "flush", "proto", protocol)
	})
	await(t, "no route is left", func() bool { return b.forwarded(t, protocol) == before })
	for _, address := range probes {
		b.client.pingFails(t, "100% packet loss", address, "-W", "0.3")
	}
	for _, flow := range flows {
		flow.lostNothing(t)
	}
}

// bothFamilies does something for IPv4 and IPv6 at the same time.
func (b *bed) bothFamilies(do func(ipv4 bool)) {
	var running sync.WaitGroup
	for _, ipv4 := range []bool{true, false} {
		running.Go(func() { do(ipv4) })
	}
	running.Wait()
}

// forwarded counts the routes that ffwd forwards by, or those of a protocol that the
// kernel has.
func (b *bed) forwarded(t *testing.T, protocol string) int {
	t.Helper()
	if b.ffwd == nil {
		count := func(family string) int {
			return strings.Count(b.router.run(t, "ip", family, "route", "show", "proto", protocol), "\n")
		}
		return count("-4") + count("-6")
	}
	var status struct{ Routes map[string]int }
	if err := b.ffwd.get("/v1/mirror", &status); err != nil {
		t.Fatal(err)
	}
	return status.Routes["installed"]
}

// steadyPing is one that goes on, a hundred times a second.
type steadyPing struct {
	*background
	to string
}

func (h *host) steadily(t *testing.T, to string) *steadyPing {
	t.Helper()
	p := &steadyPing{h.start(t, "ping", "-n", "-i", "0.01", to), to}
	eventually(t, to+" does not answer", func() bool { return strings.Contains(p.out.String(), "icmp_seq=1 ") })
	return p
}

// lostNothing ends the ping. A request without an answer before one that has an answer
// is lost; those after the last of them may be under way.
func (p *steadyPing) lostNothing(t *testing.T) {
	t.Helper()
	const underWay = 100
	p.cmd.Process.Signal(syscall.SIGINT)
	<-p.ended
	out := p.out.String()
	var answered []int
	for _, answer := range pingAnswer.FindAllStringSubmatch(out, -1) {
		n, _ := strconv.Atoi(answer[1])
		answered = append(answered, n)
	}
	slices.Sort(answered)
	var lost []int
	for i, next := 0, 1; i < len(answered); next++ {
		switch {
		case answered[i] != next:
			lost = append(lost, next)
		default:
			i++
		}
	}
	if sent := pingsSent(t, out); len(lost) > 0 || sent > len(answered)+underWay {
		t.Errorf("ping %s: %d requests, %d answers, none to %v", p.to, sent, len(answered), lost)
	}
}

package e2e

import (
	"bufio"
	"fmt"
	"net"
	"testing"
	"time"
)

const (
	viaPort   = 8080 // what the rules send another way
	routePort = 8081
)

// viaRules send TCP to one port by a host on a third link, which has the server's
// addresses too. Both are chosen for the whole connection, ahead of the rule that most
// of its packets meet.
const viaRules = `
[[neighbours]]
port = "mirror0"
address = "10.3.3.2"
mac = "02:00:00:00:03:02"
[[neighbours]]
port = "mirror0"
address = "fd01:3::2"
mac = "02:00:00:00:03:02"
[[rules]]
action = "continue"
in_ports = ["lan"]
protocol = "tcp"
dst_ports = [8080]
hops = [{ via = "10.3.3.2", port = "mirror0" }]
[[rules]]
action = "continue"
in_ports = ["lan"]
protocol = "tcp"
dst_ports = [8080]
hops = [{ via = "fd01:3::2", port = "mirror0" }]
[[rules]]
action = "accept"
state = ["established"]
`

// What a rule sends by a next hop of its own goes there, whole connections of both families,
// and by its route while that link is down; as with rules and tables of the kernel.
// Source: FF-6
func TestRuleChoosesNextHop(t *testing.T) {
	runChecks(t, []variant{kernel, afPacket, afXDP}, topology{mirror: true, settings: viaRules}, []check{{"via", checkVia}})
}

func checkVia(t *testing.T, b *bed) {
	b.otherWay()
	b.server.says(t, "server")
	b.mirror.says(t, "other")
	ask := func(port int, want string) {
		t.Helper()
		for _, address := range []string{b.server.ipv4, b.server.ipv6} {
			eventually(t, fmt.Sprintf("%s does not answer at %s, port %d", want, address, port), func() bool {
				return b.whoAnswers(t, address, port) == want
			})
		}
	}
	ask(routePort, "server")
	ask(viaPort, "other")
	b.mirror.ip("link set m0 down")
	ask(viaPort, "server")
	b.mirror.up()
	ask(viaPort, "other")
	ask(routePort, "server")
}

// otherWay gives the third host the server's addresses and the way back, and the kernel
// the rules that ffwd has.
func (b *bed) otherWay() {
	m := b.mirror
	m.sysctl(map[string]string{"ipv6/conf/all/accept_dad": "0", "ipv6/conf/all/keep_addr_on_down": "1", "ipv6/conf/m0/keep_addr_on_down": "1"})
	m.ip(
		fmt.Sprintf("addr add %s/32 dev lo", b.server.ipv4), fmt.Sprintf("addr add %s/128 dev lo", b.server.ipv6), "link set lo up",
		"addr add 10.3.3.2/24 dev m0", "addr add fd01:3::2/64 dev m0 nodad")
	m.up()
	if b.ffwd != nil {
		return
	}
	b.router.sysctl(map[string]string{"ipv4/conf/all/ignore_routes_with_linkdown": "1", "ipv6/conf/all/ignore_routes_with_linkdown": "1",
		"ipv4/conf/r2/ignore_routes_with_linkdown": "1", "ipv6/conf/r2/ignore_routes_with_linkdown": "1"})
	b.router.ip("addr add 10.3.3.1/24 dev r2", "addr add fd01:3::1/64 dev r2 nodad")
	for family, via := range map[string]string{"-4": "10.3.3.2", "-6": "fd01:3::2"} {
		b.router.ip(
			fmt.Sprintf("%s neigh add %s dev r2 lladdr %s nud permanent", family, via, m.mac),
			fmt.Sprintf("%s route add default via %s dev r2 table 100", family, via),
			fmt.Sprintf("%s rule add iif r0 ipproto tcp dport %d lookup 100", family, viaPort))
	}
}

// up sets the third link up, with the neighbours and the way back that it loses when it
// is down.
func (h *host) up() {
	h.ip("link set m0 up",
		fmt.Sprintf("neigh replace 10.3.3.1 dev m0 lladdr %s nud permanent", h.gwMAC),
		fmt.Sprintf("neigh replace fd01:3::1 dev m0 lladdr %s nud permanent", h.gwMAC),
		"route replace 10.1.1.0/24 via 10.3.3.1 dev m0",
		"route replace fd01:1::/64 via fd01:3::1 dev m0")
}

// says makes the host tell its name for every line that it is sent on either port.
func (h *host) says(t *testing.T, name string) {
	t.Helper()
	for _, port := range []int{viaPort, routePort} {
		h.takes(t, port, func(c net.Conn) {
			defer c.Close()
			for lines := bufio.NewScanner(c); lines.Scan(); {
				fmt.Fprintln(c, name)
			}
		})
	}
}

// whoAnswers is who a connection of the client reaches, for as long as it lasts; "" if
// nobody, or not the same for all of it.
func (b *bed) whoAnswers(t *testing.T, address string, port int) (name string) {
	t.Helper()
	const questions = 3
	b.client.do(t, func() error {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(address, fmt.Sprint(port)), time.Second)
		if err != nil {
			return nil
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Second))
		answers := bufio.NewScanner(c)
		for i := range questions {
			fmt.Fprintln(c, "who is it?")
			if !answers.Scan() || i > 0 && answers.Text() != name {
				name = ""
				break
			}
			name = answers.Text()
		}
		return nil
	})
	return name
}

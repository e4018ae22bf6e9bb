package e2e

import (
	"fmt"
	"strings"
)

// config writes the configuration of ffwd in a bed and returns its path.
func (b *bed) config() string {
	b.t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, `
[eal]
huge_pages = %q
[workers]
cores = [%s]
[ct]
max_flows = %[4]d
max_flows_ipv6 = 16384
%[6]s
[metrics]
address = %[5]q
[control]
socket = "%[3]s/ffwd.sock"
queue_socket = "%[3]s/queue.sock"
`, b.hugePages, strings.Trim(strings.ReplaceAll(fmt.Sprint(b.cores), " ", ","), "[]"), b.dir, b.maxFlows, b.metrics, b.ct)
	near := "lan"
	lanAddresses := addresses(b.client)
	if b.vlan != 0 {
		near, lanAddresses = fmt.Sprintf("lan.%d", b.vlan), ""
		fmt.Fprintf(&text, "[[ports]]\nname = %q\nparent = \"lan\"\nvlan = %d\n%s", near, b.vlan, addresses(b.client))
	}
	port := func(i int, name string, h *host, mtu int, addresses string) {
		fmt.Fprintf(&text, "[[ports]]\nname = %q\ndevice = %q\nmtu = %d\nmac = %q\n%s", name,
			fmt.Sprintf(b.variant.device, i, fmt.Sprintf("r%d", i)), mtu, h.gwMAC, addresses+b.ports)
	}
	port(0, "lan", b.client, b.clientMTU, lanAddresses)
	port(1, "wan", b.server, b.serverMTU, addresses(b.server))
	for port, h := range map[string]*host{near: b.client, "wan": b.server} {
		if b.resolve {
			break
		}
		for _, address := range []string{h.ipv4, h.ipv6} {
			fmt.Fprintf(&text, "[[neighbours]]\nport = %q\naddress = %q\nmac = %q\n", port, address, h.mac)
		}
	}
	if b.policy != open {
		text.WriteString("[policy]\ndefault_in = \"drop\"\n")
	}
	if b.policy == stateful {
		fmt.Fprintf(&text, `
[[rules]]
action = "accept"
state = ["established"]
[[rules]]
action = "accept"
in_ports = [%q]
state = ["new"]
`, near)
	}
	if b.policy == byPort {
		fmt.Fprintf(&text, `
[[rules]]
action = "accept"
state = ["established"]
[[rules]]
action = "accept"
in_ports = [%[1]q]
protocol = "udp"
dst_ports = [%[2]d]
state = ["new"]
[[rules]]
action = "accept"
in_ports = [%[1]q]
protocol = "icmp"
state = ["new"]
[[rules]]
action = "accept"
in_ports = [%[1]q]
protocol = "icmpv6"
state = ["new"]
`, near, echoPort)
	}
	if b.policy == rejecting {
		text.WriteString(`
[[rules]]
action = "reject"
protocol = "tcp"
[[rules]]
action = "reject"
protocol = "icmp"
reject_with = "admin_prohibited"
[[rules]]
action = "reject"
protocol = "icmpv6"
reject_with = "admin_prohibited"
[[rules]]
action = "reject"
`)
	}
	text.WriteString(b.settings)
	return writeFile(b.t, b.dir, "ffwd.toml", []byte(text.String()))
}

// addresses are those of the port that faces a host.
func addresses(h *host) string {
	return fmt.Sprintf("addresses = [\"%s/24\", \"%s/64\"]\n", h.gw4, h.gw6)
}

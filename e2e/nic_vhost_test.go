//go:build nic

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A virtual machine's only network device is a port of the switch, over memory that the
// two share: its kernel pings and downloads through it, and the server reaches it. FF-1, SP-1
func TestNICVhost(t *testing.T) {
	needRoot(t)
	client, server := newHosts(t)
	b := &bed{t: t, dir: t.TempDir(), router: newNamespace(t, "router"), client: client, server: server, variant: afPacket,
		topology: topology{clientMTU: 1500, serverMTU: 1500, cores: []int{workerCore}, hugePages: "off", maxFlows: 65536, resolve: true}}
	quiet(server.namespace, b.router)
	b.wire(server, "r1", 1500)
	server.configure(b.topology)
	config := b.config()
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(b.dir, "vhost.sock")
	text = []byte(strings.Replace(string(text), "net_af_packet0,iface=r0", "net_vhost0,iface="+socket, 1))
	p := launch(t, b.router, writeFile(t, b.dir, filepath.Base(config), text))
	eventually(t, "ffwd made no socket", func() bool { return exists(socket) })

	// Without vectors: over those of a vhost-user device QEMU 7.2 crashes where there is no KVM.
	const megabytes = 512
	g := newGuest(t, 1, megabytes)
	g.args = append(g.args, "-object", fmt.Sprintf("memory-backend-memfd,id=shared,size=%dM,share=on", megabytes), "-machine", "memory-backend=shared",
		"-chardev", "socket,id=vhost,path="+socket, "-netdev", "vhost-user,id=port,chardev=vhost",
		"-device", "virtio-net-pci,netdev=port,addr=5.0,romfile=,vectors=0,mac="+client.mac)
	g.boot(t)
	g.sh(t, fmt.Sprintf("ip link set eth0 up && ip addr add %s/24 dev eth0 && ip addr add %s/64 dev eth0 nodad && ip route add default via %s && ip route add default via %s",
		client.ipv4, client.ipv6, client.gw4, client.gw6))
	p.ready(t)

	server.echo(t)
	server.ping(t, client.ipv4, "-c", "20", "-i", "0.02")
	server.ping(t, client.ipv6, "-c", "20", "-i", "0.02")
	out := g.sh(t, "ping -n -c 5 -i 0.2 "+server.ipv4+"; ping -n -c 3 -i 0.2 -s 4000 "+server.ipv6+"; ping -n -c 2 "+client.gw4)
	if strings.Count(out, " 0% packet loss") != 3 {
		t.Errorf("the guest's pings:\n%s", out)
	}
	// TCP both ways, segments in flight and all, must come back byte for byte.
	g.sh(t, fmt.Sprintf(`head -c 200000 %s >/run/sent && exec 3<>/dev/tcp/%s/%d && { cat /run/sent >&3 & } && head -c 200000 <&3 >/run/back; exec 3>&-; cmp /run/sent /run/back`,
		ffwd, server.ipv4, echoPort))
	r := p.stop(t)
	if r.Ports[0].RxPackets < 100 || r.Ports[0].TxPackets < 100 {
		t.Errorf("%+v", r.Ports[0])
	}
}

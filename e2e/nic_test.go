//go:build nic

package e2e

import (
	"encoding/binary"
	"math/bits"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
)

// nicRules let the client open connections, and nothing else in but what belongs to
// them: a packet that another worker than its flow's sees is dropped.
const nicRules = `
[policy]
default_in = "drop"
[[rules]]
action = "accept"
state = ["established", "related"]
[[rules]]
action = "accept"
in_ports = ["lan"]
state = ["new"]
`

// nicChecks are those of a router, lighter where a packet takes milliseconds.
var nicChecks = []check{
	{"arp", checkARP},
	{"neighbour discovery", checkDiscovery},
	{"ping", checkPing},
	{"ping the router", checkPingRouter},
	{"hop limit", checkHopLimit},
	{"iperf", checkIperfLight},
	{"fragments", checkFragmentedPing},
	{"many connections", checkManyConnections},
}

// checkIperfLight sends no faster than QEMU's devices take it in the long run.
func checkIperfLight(t *testing.T, b *bed) {
	b.server.iperfServer(t)
	for _, flags := range [][]string{{b.server.ipv4}, {b.server.ipv6, "-R"}} {
		r := b.client.iperf(t, flags[0], append(flags[1:], "-b", "20M", "-n", "4M")...)
		if r.End.Received.Bytes < 1<<20 {
			t.Errorf("%v: %d bytes arrived", flags, r.End.Received.Bytes)
		}
	}
}

// Ports of emulated PCI devices through vfio-pci and an IOMMU, on huge pages, with DPDK's
// drivers for them, between hosts that know nothing of it. FF-2, FF-16, CT-1, SP-1
func TestNICs(t *testing.T) {
	needRoot(t)
	g := newGuest(t, 3, 1024)
	g.args = append(g.args, "-device", "intel-iommu,aw-bits=48")
	beds := make([]*nicBed, len(nics))
	for i, n := range nics {
		beds[i] = g.addNIC(t, n)
	}
	g.boot(t)
	t.Run("refusals", func(t *testing.T) { checkNICRefusals(t, beds[0]) })
	for _, b := range beds {
		g.bind(t, "vfio-pci", b.address(0), b.address(1))
	}
	t.Run("permissions", func(t *testing.T) { checkNICPermissions(t, beds[0]) })
	for _, b := range beds {
		t.Run(b.model, func(t *testing.T) {
			b.write(t, topology{})
			b.start(t)
			b.run(t, nicChecks)
			t.Run("port", b.checkPort)
			t.Run("checksum", b.checkChecksum)
			t.Run("cable", b.checkCable)
			b.stop(t)
			t.Run("jumbo", b.checkJumbo)
			if b.rxQueues > 1 {
				t.Run("spread", b.checkSpread)
			}
		})
	}
	t.Run("killed", beds[0].checkKilled)
	t.Run("unlike", func(t *testing.T) { checkUnlike(t, beds[0], beds[1]) })
	t.Run("uio", func(t *testing.T) { checkUIO(t, beds[1]) })
}

func (b *nicBed) run(t *testing.T, checks []check) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.run(t, &b.bed) })
	}
}

// What is not as it must be is named before anything is touched, with what to do.
func checkNICRefusals(t *testing.T, b *nicBed) {
	g := b.guest
	b.write(t, topology{})
	wantMatch(t, g.refused(t, ""), `0000:00:05\.0 is in use by kernel driver virtio-pci: .*dpdk-devbind\.py -b vfio-pci 0000:00:05\.0`)
	b.write(t, topology{}, "0000:00:05.0", "0000:00:07.0")
	wantMatch(t, g.refused(t, ""), `0000:00:07\.0 is bound to no driver: 'dpdk-devbind\.py -b vfio-pci 0000:00:07\.0'`)
	b.write(t, topology{}, "0000:00:05.0", "0000:00:1f.2")
	wantMatch(t, g.refused(t, ""), `0000:00:1f\.2 is no network device`)
	b.write(t, topology{})
	out := g.sh(t, "dpdk-devbind.py --bind=vfio-pci "+b.address(0)+" "+b.address(1)+"; dpdk-devbind.py --status-dev net")
	wantMatch(t, out, b.address(1)+` '.*drv=vfio-pci`)
	for _, pages := range []string{"require", "auto"} {
		b.write(t, topology{hugePages: pages})
		wantMatch(t, g.refused(t, ""), `need \d+ MB of huge pages, 0 MB are free: reserve more`)
	}
	g.sh(t, "echo 200 >/proc/sys/vm/nr_hugepages")
}

// A user who may not open the device, or lock the memory that it reads, is told so.
func checkNICPermissions(t *testing.T, b *nicBed) {
	g := b.guest
	b.write(t, topology{})
	const nobody = "setpriv --reuid 65534 --clear-groups --inh-caps -all --bounding-set -all"
	wantMatch(t, g.refused(t, nobody), `Cannot open /dev/vfio/\d+: Permission denied: .*give this user`)
	g.sh(t, "chmod 666 /dev/vfio/*")
	wantMatch(t, g.refused(t, nobody), `Cannot set up DMA remapping.*ulimit -l`)
	g.sh(t, "chmod 600 /dev/vfio/[0-9]*")
}

// checkPort compares what is said of the ports with what they are.
func (b *nicBed) checkPort(t *testing.T) {
	var list struct {
		Ports []struct {
			Device    string `json:"device"`
			Driver    string `json:"driver"`
			SpeedMbit int    `json:"speed_mbit"`
			Steering  string `json:"steering"`
			RxPackets uint64 `json:"rx_packets"`
			TxPackets uint64 `json:"tx_packets"`
			RxMissed  uint64 `json:"rx_missed"`
		} `json:"ports"`
	}
	if err := b.guest.get(t, "/v1/ports", &list); err != nil {
		t.Fatal(err)
	}
	steering := map[bool]string{true: "rss", false: "software"}[b.rxQueues > 1]
	speed := map[string]int{"virtio-net-pci": 0, "e1000e": 1000, "vmxnet3": 10000}[b.model]
	for side, p := range list.Ports {
		if p.Device != b.address(side) || p.Driver != b.driver || p.Steering != steering || p.SpeedMbit != speed || p.RxPackets < 1000 || p.TxPackets < 1000 {
			t.Errorf("%+v, want %s with %s steering at %d Mbit/s", p, b.driver, steering, speed)
		}
	}
	wantMatch(t, b.guest.sh(t, "/run/ffwd show ports --socket /run/ffwd.sock"), `lan +up +`+b.driver+` +`+steering)
}

// A header whose checksum is wrong is dropped, whoever looked at it: the 82574 has,
// for others we do. Source: FF-2.
func (b *nicBed) checkChecksum(t *testing.T) {
	wire, before := b.client.sniff(t), b.report(t).reason("bad_checksum")
	frame := ipv4Frame(b.client, netip.MustParseAddr(b.server.ipv4))
	frame[14+10] ^= 0x40
	const frames = 10
	for range frames {
		if _, err := syscall.Write(wire.fd, frame); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "frames with wrong checksums are counted", func() bool { return b.report(t).reason("bad_checksum") == before+frames })
}

// ipv4Frame is a datagram of UDP to the discard port, without a checksum of its own.
func ipv4Frame(from *host, to netip.Addr) []byte {
	var frame [60]byte
	for i, address := range []string{from.gwMAC, from.mac} {
		mac, _ := net.ParseMAC(address)
		copy(frame[6*i:], mac)
	}
	be := binary.BigEndian
	be.PutUint16(frame[12:], 0x0800)
	ip := frame[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, syscall.IPPROTO_UDP
	be.PutUint16(ip[2:], 46)
	src := netip.MustParseAddr(from.ipv4).As4()
	dst := to.As4()
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(be.Uint16(ip[i:]))
	}
	be.PutUint16(ip[10:], ^uint16(sum>>16+sum))
	be.PutUint16(ip[20:], 9999)
	be.PutUint16(ip[22:], 9)
	be.PutUint16(ip[24:], 26)
	return frame[:]
}

// toeplitzSymmetric is the hash by which a device spreads, under the key that repeats
// 6d5a, bit by bit. Source: Microsoft, "RSS hashing functions".
func toeplitzSymmetric(input []byte) (hash uint32) {
	const key = 0x6d5a6d5a
	for i := range len(input) * 8 {
		if input[i/8]>>(7-i%8)&1 == 1 {
			hash ^= bits.RotateLeft32(key, i%16)
		}
	}
	return hash
}

// queueOf is the queue that a device with a table of 128 entries over two queues gives
// a flow of UDP from the client.
func queueOf(from, to string, source, destination uint16) int {
	var input []byte
	for _, address := range []string{from, to} {
		input = append(input, netip.MustParseAddr(address).AsSlice()...)
	}
	input = binary.BigEndian.AppendUint16(input, source)
	input = binary.BigEndian.AppendUint16(input, destination)
	return int(toeplitzSymmetric(input)%128) % 2
}

// The device leads a flow where its hash under our key says, in both directions, and
// no packet has to be handed over. Source: CT-1.
func (b *nicBed) checkSpread(t *testing.T) {
	b.write(t, topology{settings: nicRules})
	b.start(t)
	b.server.echo(t)
	for _, address := range []string{b.server.ipv4, b.server.ipv6} { // who has which link address is known now
		b.client.ping(t, address, "-c", "2")
	}
	b.checkQueues(t)
	b.checkErrorsReachFlows(t)
	b.checkRouterCalls(t)
	b.stop(t)
}

// checkRouterCalls opens connections from the router's own kernel, whose packets the
// worker gets that the device leads the answers to. Source: CT-1, SP-1.
func (b *nicBed) checkRouterCalls(t *testing.T) {
	b.guest.sh(t, `( for i in $(seq 20); do
exec 3<>/dev/tcp/`+b.server.ipv4+`/7 && echo called >&3 && read -t 15 -u 3 answer && [ "$answer" = called ] || exit 1
done )`)
}

// checkQueues sends flows that one queue gets, and then such as the other one gets.
func (b *nicBed) checkQueues(t *testing.T) {
	source := uint16(20000)
	for _, address := range []string{b.server.ipv4, b.server.ipv6} {
		local := map[bool]string{true: b.client.ipv4, false: b.client.ipv6}[netip.MustParseAddr(address).Is4()]
		for queue := range 2 {
			before := b.report(t)
			const flows = 20
			for n := 0; n < flows; source++ {
				if queueOf(local, address, source, echoPort) != queue {
					continue
				}
				n++
				c, err := b.client.from(t, "udp", int(source), address, echoPort, soon)
				if err != nil {
					t.Fatal(err)
				}
				if err := exchange(c, []byte("spread"), soon); err != nil {
					t.Errorf("%s from port %d: %v", address, source, err)
				}
				c.Close()
			}
			after := b.report(t)
			const others = flows / 2 // neighbour discovery, and whatever hosts say unasked
			ours := after.Workers[queue].Packets - before.Workers[queue].Packets
			theirs := after.Workers[1-queue].Packets - before.Workers[1-queue].Packets
			if ours < 2*flows || theirs > others {
				t.Errorf("%s: of %d packets of queue %d its worker received %d, the other %d", address, 2*flows, queue, ours, theirs)
			}
			for i := range after.Workers {
				if after.Workers[i].HandedOver != before.Workers[i].HandedOver {
					t.Errorf("worker %d handed over %d packets", i, after.Workers[i].HandedOver-before.Workers[i].HandedOver)
				}
			}
		}
	}
}

// What a device spreads by other words than the flow's, fragments and errors about it,
// is handed to the flow's worker. Source: CT-1, CT-4, CT-5.
func (b *nicBed) checkErrorsReachFlows(t *testing.T) {
	for _, address := range []string{b.server.ipv4, b.server.ipv6} {
		for source := 21000; source < 21032; source++ {
			c, err := b.client.from(t, "udp", source, address, echoPort, soon)
			if err == nil {
				err = exchange(c, make([]byte, 3000), soon)
			}
			if err != nil {
				t.Fatalf("%s from port %d: %v", address, source, err)
			}
			c.Close()
			if c, err = b.client.from(t, "udp", source, address, closedPort, soon); err != nil {
				t.Fatal(err)
			}
			if err := exchange(c, []byte("closed"), soon); err == nil || !strings.Contains(err.Error(), "refused") {
				t.Fatalf("%s port %d from port %d: %v, want refused", address, closedPort, source, err)
			}
			c.Close()
		}
	}
	if w := b.report(t).Workers; w[0].HandedOver == 0 || w[1].HandedOver == 0 {
		t.Errorf("nothing was handed over: %+v", w)
	}
}

// A cable that is pulled shows at once, and what would leave by it is answered; once
// it is back packets flow. Source: FF-16.
func (b *nicBed) checkCable(t *testing.T) {
	for _, address := range []string{b.server.ipv4, b.server.ipv6} {
		b.client.ping(t, address, "-c", "1")
	}
	b.guest.plug(t, b.model+"-1", false)
	b.awaitLinks(t, true, false)
	b.client.pingFails(t, `From `+b.client.gw4+` .*Unreachable`, b.server.ipv4)
	wantMatch(t, b.guest.sh(t, "cat /sys/class/net/wan/carrier"), `^0`)
	b.guest.plug(t, b.model+"-1", true)
	b.awaitLinks(t, true, true)
	for _, address := range []string{b.server.ipv4, b.server.ipv6} {
		b.client.ping(t, address, "-c", "5", "-i", "0.1")
	}
}

// Frames of 9000 bytes pass whole, in one mbuf each. Source: FF-9.
func (b *nicBed) checkJumbo(t *testing.T) {
	b.write(t, topology{clientMTU: 9000, serverMTU: 9000})
	b.start(t)
	for _, to := range []struct{ address, size string }{{b.server.ipv4, "8972"}, {b.server.ipv6, "8952"}} {
		b.client.ping(t, to.address, "-c", "1") // no more than a few frames wait until it is known who has the address
		b.client.ping(t, to.address, "-c", "10", "-i", "0.05", "-M", "do", "-s", to.size)
	}
	if r := b.stop(t); r.Fragments != 0 {
		t.Errorf("%d fragments were made", r.Fragments)
	}
}

// After kill -9 the devices and the memory are free, and the next run has both.
func (b *nicBed) checkKilled(t *testing.T) {
	b.write(t, topology{})
	b.start(t)
	b.client.ping(t, b.server.ipv4, "-c", "5", "-i", "0.05")
	if _, code := b.guest.try(t, "kill -KILL $pid; wait $pid"); code != 128+int(syscall.SIGKILL) {
		t.Errorf("exit code %d", code)
	}
	b.guest.nothingLeft(t)
	b.start(t)
	b.client.ping(t, b.server.ipv4, "-c", "5", "-i", "0.05")
	b.stop(t)
}

// One port spreads by hardware and the other cannot: then both are spread in software,
// or a flow would meet two workers. Source: CT-1.
func checkUnlike(t *testing.T, b, other *nicBed) {
	mixed := &nicBed{nic: b.nic, guest: b.guest, bed: b.bed}
	mixed.server = other.server
	mixed.write(t, topology{settings: nicRules}, b.address(1), other.address(1))
	mixed.start(t)
	mixed.run(t, []check{{"many connections", checkManyConnections}, {"fragments", checkFragmentedPing}})
	r := mixed.stop(t)
	if r.Workers[0].HandedOver == 0 || r.Workers[1].HandedOver == 0 {
		t.Errorf("nothing was handed over: %+v", r.Workers)
	}
}

// Without an IOMMU a device is given physical addresses, which only huge pages have.
func checkUIO(t *testing.T, b *nicBed) {
	b.guest.bind(t, "uio_pci_generic", b.address(0), b.address(1))
	b.write(t, topology{hugePages: "off"})
	wantMatch(t, b.guest.refused(t, ""), b.address(0)+` is bound to uio_pci_generic.* huge pages`)
	b.write(t, topology{})
	b.start(t)
	b.client.ping(t, b.server.ipv4, "-c", "5", "-i", "0.05")
	b.stop(t)
}

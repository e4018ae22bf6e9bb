package ct

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ffwd/packet"
)

// A kernelRouter is a network namespace that routes between two TUN devices with
// nf_conntrack in its way: the reference for what a tracker should say. It lives
// on a thread of its own and goes with it.
type kernelRouter struct {
	do   chan func()
	side [2]int // file descriptors; side[Original] is where clients are
}

var (
	kernelClient = netip.MustParseAddr("10.1.0.2")
	kernelServer = netip.MustParseAddr("10.2.0.2")
)

func newKernelRouter(t *testing.T) *kernelRouter {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("makes a network namespace, which needs root: run as root")
	}
	k := &kernelRouter{do: make(chan func())}
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		for f := range k.do {
			f()
		}
	}()
	var failed error
	k.run(func() { failed = k.setUp() })
	t.Cleanup(func() {
		k.run(func() { unix.Close(k.side[0]); unix.Close(k.side[1]) })
		close(k.do)
	})
	if failed != nil {
		t.Fatal(failed)
	}
	return k
}

// run runs f on the thread in the namespace.
func (k *kernelRouter) run(f func()) {
	done := make(chan struct{})
	k.do <- func() { f(); close(done) }
	<-done
}

func (k *kernelRouter) setUp() (err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	var one unix.CPUSet // packets written by one core keep their order
	if err := unix.SchedGetaffinity(0, &one); err != nil {
		return err
	}
	for core, first := 0, true; core < 1024; core++ {
		if one.IsSet(core) && !first {
			one.Clear(core)
		} else if one.IsSet(core) {
			first = false
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	for i := range k.side {
		name := fmt.Sprintf("side%d", i)
		if k.side[i], err = openTun(name); err != nil {
			return err
		}
		if _, err := command("ip", "addr", "add", fmt.Sprintf("10.%d.0.1/24", i+1), "dev", name); err != nil {
			return err
		}
		if _, err := command("ip", "link", "set", name, "up"); err != nil {
			return err
		}
	}
	if _, err := command("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.netfilter.nf_conntrack_acct=1",
		"net.netfilter.nf_conntrack_checksum=0", "net.ipv4.conf.all.rp_filter=0"); err != nil {
		return err
	}
	_, err = command("nft", "add table ip t; add chain ip t c { type filter hook forward priority 0; }; add rule ip t c ct state new accept")
	return err
}

func command(name string, args ...string) (string, error) {
	var stderr strings.Builder
	c := exec.Command(name, args...)
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}

func openTun(name string) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return 0, fmt.Errorf("TUNSETIFF: %w", err)
	}
	return fd, nil
}

// send hands the router an IPv4 packet from one side.
func (k *kernelRouter) send(t *testing.T, from int, ip []byte) {
	t.Helper()
	var err error
	k.run(func() { _, err = unix.Write(k.side[from], ip) })
	if err != nil {
		t.Fatalf("write to TUN: %v", err)
	}
	k.drain()
}

// drain takes away what the router has forwarded, and returns the last of it.
func (k *kernelRouter) drain() (last []byte) {
	var buf [65536]byte
	for _, fd := range k.side {
		for {
			n, _ := unix.Read(fd, buf[:])
			if n <= 0 {
				break
			}
			last = append(last[:0], buf[:n]...)
		}
	}
	return last
}

// settle returns when the router has seen all that it was sent: packets keep their
// order, so it waits for one more to come out.
func (k *kernelRouter) settle(t *testing.T) {
	t.Helper()
	k.drain()
	of := tuple{kernelClient, kernelServer, 9, 9, packet.ProtoUDP}
	marker := ipPacket(of, make([]byte, 8))
	k.run(func() { unix.Write(k.side[Original], marker) })
	poll := []unix.PollFd{{Fd: int32(k.side[Reply]), Events: unix.POLLIN}}
	if n, err := unix.Poll(poll, 10_000); n != 1 {
		t.Fatalf("the router forwards nothing: %v", err)
	}
}

// entry is what a listing says of a connection.
type entry struct {
	state             string
	expires           int // seconds
	packets, bytes    [2]int
	unreplied, assure bool
}

var conntrackLine = regexp.MustCompile(`^ipv4\s+2\s+\w+\s+\d+\s+(\d+)\s+([A-Z_0-9]*)\s*src=(\S+) .*?sport=(\d+) dport=(\d+) packets=(\d+) bytes=(\d+) (\[UNREPLIED\] )?src=.*?packets=(\d+) bytes=(\d+)( \[ASSURED\])?`)

// list returns the kernel's table by the client's port, which is sport or, when
// the server began, dport.
func (k *kernelRouter) list(t *testing.T, proto string) map[int]entry {
	t.Helper()
	k.settle(t)
	var out string
	var err error
	k.run(func() { out, err = command("conntrack", "-L", "-p", proto, "-o", "extended") })
	if err != nil {
		t.Fatal(err)
	}
	all := map[int]entry{}
	for line := range strings.Lines(out) {
		m := conntrackLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		n := func(i int) int { v, _ := strconv.Atoi(m[i]); return v }
		port := n(4)
		if m[3] == kernelServer.String() {
			port = n(5)
		}
		all[port] = entry{
			state: m[2], expires: n(1), packets: [2]int{n(6), n(9)}, bytes: [2]int{n(7), n(10)},
			unreplied: m[8] != "", assure: m[11] != "",
		}
	}
	return all
}

// ipPacket is an IPv4 packet with a right header checksum.
func ipPacket(of tuple, l4 []byte) []byte {
	b := append(make([]byte, packet.IPv4HeaderLen), l4...)
	b[0], b[8], b[9] = 0x45, 64, of.proto
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	src, dst := of.src.As4(), of.dst.As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	(*packet.IPv4)(b).UpdateChecksum(b[:packet.IPv4HeaderLen])
	return b
}

// ours is our table fed with the same packets.
type ours struct {
	table *Table
	start time.Time
}

// playToBoth gives a transport packet that travels in dir, with its ports filled in, to
// the kernel and to our table. of is the flow's original tuple.
func playToBoth(t *testing.T, k *kernelRouter, o *ours, of tuple, dir int, l4 []byte) packet.Packet {
	t.Helper()
	if dir == Reply {
		of = of.reversed()
	}
	binary.BigEndian.PutUint16(l4, of.sport)
	binary.BigEndian.PutUint16(l4[2:], of.dport)
	ip := ipPacket(of, l4)
	k.send(t, dir, ip)
	return o.send(of, ip)
}

func (o *ours) send(of tuple, ip []byte) packet.Packet {
	b := &packet.Burst{N: 1, NowNs: int64(time.Since(o.start))}
	p := &b.Pkts[0]
	*p = packet.Packet{Head: packet.Head{Verdict: packet.Continue, Proto: of.proto, Flags: packet.HasPorts, L4: packet.IPv4HeaderLen,
		Data: unsafe.Pointer(&ip[0]), Len: uint16(len(ip))}}
	p.PortsLE = binary.LittleEndian.Uint32(ip[20:])
	o.table.secret.Tuples(b, []uint16{0})
	o.table.Expire(b.NowNs, 1000)
	o.table.Lookup(b, DefaultTimeouts())
	if p.State == packet.CtNew && p.Flow == 0 {
		o.table.Confirm(p, b.NowNs, DefaultTimeouts())
	}
	return *p
}

// packets returns how many packets a flow has counted.
func (o *ours) packets(flow uint32) uint64 {
	f := o.table.flow(flow)
	return uint64(f.packets[0]) + uint64(f.packets[1])
}

// list returns our table as kernelRouter.list does.
func (o *ours) list() map[int]entry {
	all := map[int]entry{}
	now := int64(time.Since(o.start))
	o.table.Expire(now, 1<<20)
	o.table.Walk(0, 1<<30, func(i uint32) bool {
		f := o.table.Info(i, now)
		if f.Expires <= 0 {
			return true
		}
		port := int(f.Original.SrcPort)
		if f.Original.Src == kernelServer {
			port = int(f.Original.DstPort)
		}
		all[port] = entry{
			state: f.State.String(), expires: int(f.Expires / time.Second), unreplied: !f.Replied, assure: f.Assured,
			packets: [2]int{int(f.Packets[0]), int(f.Packets[1])}, bytes: [2]int{int(f.Bytes[0]), int(f.Bytes[1])},
		}
		return true
	})
	return all
}

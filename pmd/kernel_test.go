package pmd

import (
	"bytes"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
)

// insideVariable tells this test binary that it runs in a network namespace made for it,
// where it may make interfaces.
const insideVariable = "FFWD_PMD_INSIDE"

// Software devices on veth pairs, in a network namespace of their own. Without root that
// takes a user namespace.
func TestOnKernelInterfaces(t *testing.T) {
	if os.Getenv(insideVariable) == "" {
		runInside(t)
		return
	}
	t.Run("packet socket", insidePacketSocket)
	t.Run("link", insideLink)
	t.Run("restored", insideRestored)
	t.Run("multicast", insideMulticast)
	t.Run("claimed", insideClaimed)
	t.Run("tap", insideTap)
	t.Run("xdp", insideXDP)
	t.Run("xdp with frames too large", insideXDPRefused)
}

// runInside runs this test in a new process in a new network namespace.
func runInside(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestOnKernelInterfaces$", "-test.v")
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if uid := os.Getuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	text, err := cmd.CombinedOutput()
	if _, ran := err.(*exec.ExitError); err != nil && !ran {
		t.Skipf("needs root or user namespaces, as CI has: %v", err)
	}
	t.Logf("%s", text)
	if err != nil {
		t.Fatal(err)
	}
}

func ip(t *testing.T, words string) {
	t.Helper()
	if text, err := exec.Command("ip", strings.Fields(words)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", words, err, text)
	}
}

// veth makes a pair of interfaces without IPv6, so that nothing but the test's frames
// crosses it.
func veth(t *testing.T, a, b string) {
	t.Helper()
	for _, name := range []string{"all", "default"} {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
	ip(t, "link add "+a+" type veth peer name "+b)
	t.Cleanup(func() { ip(t, "link del "+a) })
	ip(t, "link set "+a+" up")
	ip(t, "link set "+b+" up")
}

// eventually polls until done says so; the test fails after ten seconds.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// ethernet makes a frame of n bytes from one port to another.
func ethernet(from, to *Port, n int) []byte {
	frame := append(append(to.MAC(), from.MAC()...), 0x88, 0xb5) // local experimental ethertype
	for i := len(frame); i < n; i++ {
		frame = append(frame, byte(i))
	}
	return frame
}

// exchange sends one frame from a port to another and compares what arrives.
func exchange(t *testing.T, from, to *Port, n int) {
	t.Helper()
	array, mbufs := mbufArray(t, burst)
	pool := testRuntime.Pool(0)
	want := ethernet(from, to, n)
	send := func() bool {
		if !pool.Alloc(array, 1) {
			t.Fatal("pool is empty")
		}
		m := mbufs[0]
		copy(unsafe.Slice((*byte)(m.Data()), n), want)
		m.DataLen, m.PktLen = uint16(n), uint32(n)
		if from.TxQueues()[0].Tx(array, 1) == 1 {
			return true
		}
		pool.Free(array, 1)
		return false
	}
	// A memif server can send once its client has polled, and so offered buffers.
	sent, arrived := false, false
	eventually(t, from.Name()+"'s frame arrives", func() bool {
		sent = sent || send()
		received := to.RxQueues()[0].Rx(array, burst)
		for _, m := range mbufs[:received] {
			frame := frameOf(m)
			if len(frame) < 14 || !bytes.Equal(frame[:14], want[:14]) {
				continue // the kernel's
			}
			arrived = true
			if m.NbSegs != 1 || !bytes.Equal(frame, want) {
				t.Errorf("%d bytes in %d segments, want %d bytes as sent", m.DataLen, m.NbSegs, n)
			}
		}
		pool.Free(array, received)
		return arrived
	})
}

func insidePacketSocket(t *testing.T) {
	for _, mtu := range []int{1500, 3000, 9000} {
		t.Run("mtu "+strconv.Itoa(mtu), func(t *testing.T) {
			checkPools(t)
			veth(t, "a0", "b0")
			mac := net.HardwareAddr{2, 0, 0, 0, 0, 0xa}
			a := openPort(t, PortConfig{Name: "a", Device: "net_af_packet0,iface=a0", MTUBytes: mtu, MAC: mac, Promiscuous: true, RxQueues: 2, TxQueues: 2})
			b := openPort(t, PortConfig{Name: "b", Device: "net_af_packet1,iface=b0", MTUBytes: mtu})
			exchange(t, a, b, 60)
			exchange(t, b, a, mtu+14)

			iface, err := net.InterfaceByName("a0")
			if err != nil || !bytes.Equal(iface.HardwareAddr, mac) || iface.MTU != mtu || !bytes.Equal(a.MAC(), mac) {
				t.Errorf("a0 has %s and mtu %d (%v), want %s and %d", iface.HardwareAddr, iface.MTU, err, mac, mtu)
			}
			if !a.TxQueues()[1].Shared() {
				t.Error("one packet socket for two workers is not shared")
			}
			if err := a.Stop(); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, a.Start(), errStopped, "port a: start: ")
		})
	}
}

func insideLink(t *testing.T) {
	checkPools(t)
	veth(t, "a0", "b0")
	p := openPort(t, PortConfig{Name: "a", Device: "net_af_packet0,iface=a0"})
	up := func() bool {
		link, err := p.Link()
		if err != nil {
			t.Fatal(err)
		}
		return link.Up
	}
	eventually(t, "link up", up)
	ip(t, "link set b0 down")
	eventually(t, "link down", func() bool { return !up() })
	ip(t, "link set b0 up")
	eventually(t, "link up again", up)
}

// What a port changes of a kernel interface it gives back, whether it was opened or not;
// what somebody else has changed since stays.
func insideRestored(t *testing.T) {
	checkPools(t)
	veth(t, "a0", "b0")
	mtu := func() int {
		iface, err := net.InterfaceByName("a0")
		if err != nil {
			t.Fatal(err)
		}
		return iface.MTU
	}
	mac := func() string {
		iface, err := net.InterfaceByName("a0")
		if err != nil {
			t.Fatal(err)
		}
		return iface.HardwareAddr.String()
	}
	const before, ours, theirs = 1400, 3000, 1300
	const macBefore, macOurs, macTheirs = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"
	ourMAC, _ := net.ParseMAC(macOurs)
	for i, end := range []struct {
		do      func(p *Port) error
		want    int
		wantMAC string
	}{
		{(*Port).Close, before, macBefore},
		{(*Port).RestoreInterface, before, macBefore},
		{func(p *Port) error {
			ip(t, "link set a0 mtu "+strconv.Itoa(theirs)+" address "+macTheirs)
			return p.Close()
		}, theirs, macTheirs},
	} {
		ip(t, "link set a0 mtu "+strconv.Itoa(before)+" address "+macBefore)
		p := openPort(t, PortConfig{Name: "a", Device: "net_af_packet0,iface=a0", MTUBytes: ours, MAC: ourMAC})
		if mtu() != ours || mac() != macOurs {
			t.Fatalf("the interface has an mtu of %d and %s, want %d and %s", mtu(), mac(), ours, macOurs)
		}
		if err := end.do(p); err != nil || mtu() != end.want || mac() != end.wantMAC {
			t.Errorf("case %d: %v, mtu %d, want %d; %s, want %s", i, err, mtu(), end.want, mac(), end.wantMAC)
		}
		if err := p.Close(); err != nil || mtu() != end.want || mac() != end.wantMAC {
			t.Errorf("case %d, closed again: %v, mtu %d, want %d; %s, want %s", i, err, mtu(), end.want, mac(), end.wantMAC)
		}
	}
	// The address comes after the MTU; this one the kernel refuses.
	ip(t, "link set a0 mtu "+strconv.Itoa(before))
	_, err := testRuntime.Open(PortConfig{Name: "a", Device: "net_af_packet0,iface=a0", MTUBytes: ours, RxQueues: 1, TxQueues: 1, MAC: make(net.HardwareAddr, 6)})
	if err == nil || mtu() != before {
		t.Errorf("a port that did not open: %v, mtu %d, want %d", err, mtu(), before)
	}
}

// A multicast filter would keep neighbour solicitations and routing protocols out. SP-1
func insideMulticast(t *testing.T) {
	checkPools(t)
	all := func() bool {
		link, err := netlink.LinkByName("a0")
		if err != nil {
			t.Fatal(err)
		}
		return link.Attrs().RawFlags&syscall.IFF_ALLMULTI != 0
	}
	for _, device := range []string{"net_af_packet0,iface=a0", "net_af_xdp0,iface=a0"} {
		for _, before := range []bool{false, true} {
			t.Run(device+" "+strconv.FormatBool(before), func(t *testing.T) {
				veth(t, "a0", "b0")
				ip(t, "link set a0 allmulticast "+map[bool]string{false: "off", true: "on"}[before])
				p := openPort(t, PortConfig{Name: "a", Device: device})
				if !all() {
					t.Error("the interface filters multicast")
				}
				if err := p.Close(); err != nil || all() != before {
					t.Errorf("%v, all multicast is %v afterwards, was %v", err, all(), before)
				}
			})
		}
	}
}

func insideXDP(t *testing.T) {
	checkPools(t)
	veth(t, "a0", "b0")
	a := openPort(t, PortConfig{Name: "a", Device: "net_af_xdp0,iface=a0"})
	b := openPort(t, PortConfig{Name: "b", Device: "net_af_packet1,iface=b0"})
	exchange(t, b, a, 60)
	exchange(t, a, b, 1514)
	// A kernel that binds the interface once more is welcome; one that does not is explained.
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := testRuntime.Open(PortConfig{Name: "c", Device: "net_af_xdp1,iface=a0", RxQueues: 1, TxQueues: 1})
	if err != nil {
		wantRefusal(t, err, nil, "port c: interface a0 was a port of this process already", "start another")
	} else if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// The kernel wants a page per frame at most.
func insideXDPRefused(t *testing.T) {
	checkPools(t)
	veth(t, "a0", "b0")
	_, err := testRuntime.Open(PortConfig{Name: "a", Device: "net_af_xdp0,iface=a0", MTUBytes: 9000, RxQueues: 1, TxQueues: 1})
	wantRefusal(t, err, nil, "port a: ", "page", "lower its mtu")
}

// An interface is one port's, until that is closed. A name that is another's now, of an
// interface that was made since, is free.
func insideClaimed(t *testing.T) {
	checkPools(t)
	veth(t, "a0", "b0")
	again := PortConfig{Name: "again", Device: "net_af_packet1,iface=a0", RxQueues: 1, TxQueues: 1}
	for range 2 {
		p := openPort(t, PortConfig{Name: "a", Device: "net_af_packet0,iface=a0"})
		_, err := testRuntime.Open(again)
		wantRefusal(t, err, fs.ErrExist, "port again: ", "a0", "give each port its own")
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	p := openPort(t, PortConfig{Name: "a", Device: "net_af_packet0,iface=a0"})
	ip(t, "link set a0 down")
	ip(t, "link set a0 name c0")
	ip(t, "link add a0 type veth peer name d0")
	openPort(t, again)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	ip(t, "link del c0")
}

func insideTap(t *testing.T) {
	checkPools(t)
	p := openPort(t, PortConfig{Name: "a", Device: "net_tap0,iface=tap0", RxQueues: 2, TxQueues: 1})
	if len(p.RxQueues()) != 1 {
		t.Errorf("%d rx queues, want as many as tx queues", len(p.RxQueues()))
	}
}

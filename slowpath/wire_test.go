package slowpath

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// wire is a packet socket on a twin: what its kernel sees and sends.
type wire struct {
	t  *testing.T
	fd int
}

func newWire(t *testing.T, s *SlowPath, name string) *wire {
	t.Helper()
	w := &wire{t: t}
	err := s.Netns().Do(func() error {
		device, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		const all = unix.ETH_P_ALL
		networkOrder := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, all))
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(networkOrder)); err != nil {
			return err
		}
		// Longer than anything here takes: a frame that does not come fails the test.
		if err := unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}); err != nil {
			return err
		}
		return unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: networkOrder, Ifindex: device.Index})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(w.fd) })
	return w
}

// received returns the next frame that the kernel got from us.
func (w *wire) received() []byte {
	w.t.Helper()
	buffer := make([]byte, 1<<16)
	for {
		n, from, err := unix.Recvfrom(w.fd, buffer, 0)
		if err != nil {
			w.t.Fatal(err)
		}
		if from.(*unix.SockaddrLinklayer).Pkttype != unix.PACKET_OUTGOING {
			return buffer[:n]
		}
	}
}

func (w *wire) send(frame []byte) {
	w.t.Helper()
	if err := unix.Send(w.fd, frame, 0); err != nil {
		w.t.Fatal(err)
	}
}

// experimental is an ethertype that no kernel acts on. Source: IEEE 802, local experimental 1.
const experimental = 0x88b5

// testFrame is a frame of random bytes to a twin.
func testFrame(random *rand.Rand, size int) []byte {
	f := make([]byte, size)
	for i := range f {
		f[i] = byte(random.Uint32())
	}
	copy(f, []byte{2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 2})
	binary.BigEndian.PutUint16(f[12:], experimental)
	return f
}

// up gives every twin its carrier. The kernel sends nothing by a link before it has
// taken note, a little later.
func up(t *testing.T, s *SlowPath, ns string) {
	t.Helper()
	for _, twin := range s.Twins() {
		if err := twin.SetCarrier(true); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the link is up", func() bool {
			return strings.Contains(in(t, ns, "ip", "link", "show", "dev", twin.Name()), "state UP")
		})
	}
}

// What a worker punts is what the kernel gets, byte for byte, however the writer
// slept in between. FF-13, SP-1
func TestKernelGetsWhatWasPunted(t *testing.T) {
	ns := newNetns(t)
	s, _ := start(t, ns)
	up(t, s, ns)
	wires := map[uint16]*wire{lanIface: newWire(t, s, "lan"), wanIface: newWire(t, s, "wan.100")}
	random := rand.New(rand.NewPCG(1, 1))
	sink := s.Sink(0)
	for i := range 300 {
		frame := testFrame(random, 14+random.IntN(1505))
		iface := uint16(lanIface + i%2)
		cut := random.IntN(len(frame))
		if i%3 == 0 { // find the writer asleep, and often about to be
			eventually(t, "the writer sleeps", func() bool { return s.punts.bell.asleep.Load() == 1 })
		}
		if !sink.Punt(iface, false, frame[:cut], frame[cut:]) {
			t.Fatal("no room")
		}
		if got := wires[iface].received(); !bytes.Equal(got, frame) {
			t.Fatalf("frame %d: got %x\nwant %x", i, got, frame)
		}
	}
	if got := s.Twin(lanIface).Stats(); got.ToKernel != 150 || got.Refused != 0 {
		t.Errorf("%+v", got)
	}
	if sink.Punt(999, false, testFrame(random, 60), nil); s.punts.sinks[0].ring.length() > 0 {
		eventually(t, "a frame for nobody goes away", func() bool { return s.punts.sinks[0].ring.length() == 0 })
	}
}

// What the kernel sends is what a worker gets; what no port could send is counted,
// and so is what finds the ring full. SP-1
func TestWorkerGetsWhatTheKernelSends(t *testing.T) {
	ns := newNetns(t)
	s, _ := start(t, ns)
	up(t, s, ns)
	lan, twin, source := newWire(t, s, "lan"), s.Twin(lanIface), s.Source(0)
	random := rand.New(rand.NewPCG(2, 2))
	take := func() []byte {
		for {
			var iface uint16
			var frame []byte
			eventually(t, "a frame", func() bool { iface, frame = source.Peek(); return frame != nil })
			frame = bytes.Clone(frame)
			source.Pop()
			if binary.BigEndian.Uint16(frame[12:]) == experimental { // the kernel's own come too
				if iface != lanIface {
					t.Fatalf("interface %d", iface)
				}
				return frame
			}
		}
	}
	for range 300 {
		frame := testFrame(random, 14+random.IntN(1501))
		lan.send(frame)
		if got := take(); !bytes.Equal(got, frame) {
			t.Fatalf("got %x\nwant %x", got, frame)
		}
	}
	in(t, ns, "ip", "link", "set", "lan", "mtu", "9000") // behind our back
	lan.send(testFrame(random, 14+1505))
	lan.send(testFrame(random, 9000))
	eventually(t, "two are too large", func() bool { return twin.Stats().Oversized == 2 })
	eventually(t, "the ring is full", func() bool {
		for range 200 { // fewer than the TAP's own queue takes
			lan.send(testFrame(random, 64))
		}
		return twin.Stats().Overflow >= 200
	})
	if n := source.ring.length(); n != frameSlots {
		t.Errorf("full with %d frames", n)
	}
	got := twin.Stats().FromKernel
	source.Pop()
	lan.send(testFrame(random, 64))
	eventually(t, "there is room again", func() bool { return twin.Stats().FromKernel == got+1 })
}

// A twin that somebody set down takes nothing, which is counted. SP-1
func TestTwinSetDown(t *testing.T) {
	ns := newNetns(t)
	s, _ := start(t, ns)
	up(t, s, ns)
	in(t, ns, "ip", "link", "set", "lan", "down")
	random := rand.New(rand.NewPCG(3, 3))
	s.Sink(0).Punt(lanIface, false, testFrame(random, 60), nil)
	eventually(t, "it is refused", func() bool { return s.Twin(lanIface).Stats().Refused == 1 })
	in(t, ns, "ip", "link", "set", "lan", "up")
	if got := in(t, ns, "ip", "addr", "show", "dev", "lan"); !bytes.Contains([]byte(got), []byte("fd01:1::1/64")) {
		t.Errorf("its addresses did not stay:\n%s", got)
	}
	s.Sink(0).Punt(lanIface, false, testFrame(random, 60), nil)
	eventually(t, "it is taken", func() bool { return s.Twin(lanIface).Stats().ToKernel == 1 })
}

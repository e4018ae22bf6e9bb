package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// trunk is a VLAN sub-interface of a veth: a TAP whose frames go out tagged, and
// that gets the frames that come in with the tag, and no others. The kernel's own
// (8021q) is not in every kernel.
type trunk struct {
	tap  string
	vlan int
	file *os.File // the TAP
	wire int      // a packet socket at the veth
	stop atomic.Bool
	done sync.WaitGroup
}

// newTrunk makes a sub-interface that lasts as long as the test.
func newTrunk(t *testing.T, n *namespace, iface string, vlan int, mac string) *trunk {
	t.Helper()
	k := &trunk{tap: fmt.Sprintf("%s.%d", iface, vlan), vlan: vlan, wire: -1}
	t.Cleanup(k.close)
	n.do(t, func() error {
		if err := k.openTAP(); err != nil {
			return err
		}
		return k.openWire(iface)
	})
	n.ip("link set "+k.tap+" address "+mac, "link set "+k.tap+" up")
	k.done.Go(k.outbound)
	k.done.Go(k.inbound)
	return k
}

func (k *trunk) openTAP() error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	request, err := unix.NewIfreq(k.tap)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		unix.Close(fd)
		return fmt.Errorf("make %s: %w", k.tap, err)
	}
	k.file = os.NewFile(uintptr(fd), k.tap)
	return nil
}

func (k *trunk) openWire(iface string) (err error) {
	device, err := net.InterfaceByName(iface)
	if err != nil {
		return err
	}
	if k.wire, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(k.wire, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(k.wire, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20); err != nil {
		return err
	}
	// So that inbound sees that it is to stop.
	if err := unix.SetsockoptTimeval(k.wire, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}); err != nil {
		return err
	}
	return unix.Bind(k.wire, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: device.Index})
}

func networkOrder(v uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, v))
}

func (k *trunk) close() {
	k.stop.Store(true)
	if k.file != nil {
		k.file.Close()
	}
	k.done.Wait()
	if k.wire >= 0 {
		unix.Close(k.wire)
	}
}

// outbound tags what the host sends.
func (k *trunk) outbound() {
	for frame := make([]byte, 1<<16); ; {
		n, err := k.file.Read(frame)
		if err != nil {
			return // closed
		}
		k.send(k.vlan, frame[:n])
	}
}

// send puts a frame on the wire, tagged. Losses are the wire's.
func (k *trunk) send(vlan int, frame []byte) {
	const addresses = 12
	tag := binary.BigEndian.AppendUint16([]byte{0x81, 0}, uint16(vlan)) // IEEE 802.1Q 9.6
	unix.Write(k.wire, slices.Concat(frame[:addresses], tag, frame[addresses:]))
}

// inbound gives the host what came in with our tag. The kernel has taken the tag
// out of the frame and put it beside it, as for net_af_packet.
func (k *trunk) inbound() {
	frame, beside := make([]byte, 1<<16), make([]byte, unix.CmsgSpace(int(unsafe.Sizeof(unix.TpacketAuxdata{}))))
	for !k.stop.Load() {
		n, nBeside, _, from, err := unix.Recvmsg(k.wire, frame, beside, 0)
		if err != nil || from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		messages, err := unix.ParseSocketControlMessage(beside[:nBeside])
		if err != nil || len(messages) == 0 {
			continue
		}
		aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&messages[0].Data[0]))
		if aux.Status&unix.TP_STATUS_VLAN_VALID != 0 && int(aux.Vlan_tci&0xfff) == k.vlan {
			k.file.Write(frame[:n])
		}
	}
}

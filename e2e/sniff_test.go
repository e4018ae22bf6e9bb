package e2e

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tap sees the frames that arrive at a host, before its kernel reassembles them.
type tap struct{ fd int }

// sniff listens at the host's interface until the test ends.
func (h *host) sniff(t *testing.T) *tap {
	t.Helper()
	var s tap
	h.do(t, func() error {
		all := networkOrder(unix.ETH_P_ALL)
		device, err := net.InterfaceByName(h.iface)
		if err != nil {
			return err
		}
		if s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		t.Cleanup(func() { unix.Close(s.fd) })
		const room = 8 << 20
		unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room)
		unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 10_000})
		return unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: device.Index})
	})
	return &s
}

// next returns the next frame that came in, or nil when there is none for now.
func (s *tap) next(t *testing.T) []byte {
	t.Helper()
	for buf := make([]byte, 1<<16); ; {
		n, from, err := unix.Recvfrom(s.fd, buf, 0)
		switch {
		case err == unix.EAGAIN:
			return nil
		case err == unix.EINTR:
			continue
		case err != nil:
			t.Fatal(err)
		}
		if from.(*unix.SockaddrLinklayer).Pkttype != unix.PACKET_OUTGOING {
			return buf[:n]
		}
	}
}

// datagrams wants n fragmented IPv4 datagrams of size bytes behind their header,
// in so many pieces each, and each piece as RFC 791 has it. Source: FF-9.
func (s *tap) datagrams(t *testing.T, n, size, pieces int) {
	t.Helper()
	be := binary.BigEndian
	got := map[uint16]int{}  // bytes of each datagram, in order, by identification
	seen := map[uint16]int{} // fragments
	whole := 0
	for deadline := time.Now().Add(soon); whole < n; {
		frame := s.next(t)
		if time.Now().After(deadline) {
			t.Fatalf("bytes by datagram: %v; fragments: %v; want %d of %d bytes in %d", got, seen, n, size, pieces)
		}
		if len(frame) < 34 || be.Uint16(frame[12:]) != 0x0800 {
			continue
		}
		ip := frame[14:]
		total, id, field := int(be.Uint16(ip[2:])), be.Uint16(ip[4:]), be.Uint16(ip[6:])
		more, offset := field&0x2000 != 0, int(field&0x1fff)*8
		payload := total - 20
		switch {
		case ip[0] != 0x45 || total > len(ip):
			t.Fatalf("header % x", ip[:20])
		case total > narrowMTU:
			t.Errorf("a fragment of %d bytes on a link of %d", total, narrowMTU)
		case onesComplement(ip[:20]) != 0xffff:
			t.Errorf("header checksum of % x", ip[:20])
		case field&0xc000 != 0:
			t.Errorf("flags of % x", ip[:20])
		case ip[8] != 63:
			t.Errorf("ttl %d", ip[8])
		case offset != got[id]:
			t.Errorf("datagram %d: a fragment at %d, want %d", id, offset, got[id])
		case more != (offset+payload < size):
			t.Errorf("datagram %d: at %d of %d: more fragments is %v", id, offset, size, more)
		case more && payload%8 != 0:
			t.Errorf("datagram %d: %d bytes before another fragment", id, payload)
		}
		got[id] += payload
		if seen[id]++; !more {
			whole++
		}
	}
	for id := range got {
		if got[id] != size || seen[id] != pieces {
			t.Errorf("datagram %d: %d bytes in %d fragments, want %d in %d", id, got[id], seen[id], size, pieces)
		}
	}
}

// onesComplement adds up 16-bit words: 0xffff over a header with its checksum.
// Source: RFC 1071.
func onesComplement(b []byte) uint32 {
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return sum
}

package e2e

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/pcapgo"
)

// sent is what a host put on the wire for one direction of a flow.
type sent struct {
	packets, bytes uint64 // bytes of L3
	last           time.Time
}

// wire records the headers of all that a host sends, as tcpdump sees it.
type wire struct {
	of   *host
	path string
}

func (h *host) record(t *testing.T) *wire {
	t.Helper()
	w := &wire{h, t.TempDir() + "/sent.pcap"}
	h.start(t, "tcpdump", "-n", "-i", h.iface, "-Q", "out", "-s", "80", "-B", "32768", "-Z", "root", "--immediate-mode", "-U", "-w", w.path)
	eventually(t, "tcpdump does not listen", func() bool {
		_, err := os.Stat(w.path)
		return err == nil
	})
	return w
}

// markerPort is where the last packet of a recording comes from.
const markerPort = 44000

// read returns what the host has sent so far, by direction. It sends one packet more,
// and waits for that: packets are recorded in order.
func (w *wire) read(t *testing.T, to string) map[string]sent {
	t.Helper()
	c, err := w.of.from(t, "udp", markerPort, to, closedPort, soon)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(nil)
	marker := fmt.Sprintf("%d %s %d > %s %d", syscall.IPPROTO_UDP, w.of.ipv4, markerPort, to, closedPort)
	var all map[string]sent
	eventually(t, "tcpdump does not see the last packet", func() bool {
		all = readSent(t, w.path)
		return all[marker].packets > 0
	})
	return all
}

// readSent adds up a capture. Its last packet may be written in part.
func readSent(t *testing.T, path string) map[string]sent {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]sent{}
	r, err := pcapgo.NewReader(bufio.NewReader(f))
	for err == nil {
		var frame []byte
		var info gopacket.CaptureInfo
		if frame, info, err = r.ReadPacketData(); err == nil {
			direction, bytes := wireDirection(frame)
			n := all[direction]
			all[direction] = sent{n.packets + 1, n.bytes + bytes, info.Timestamp}
		}
	}
	return all
}

// wireDirection names the direction of a flow that a frame belongs to as
// trackedFlow.directions does, and returns the frame's bytes of L3.
func wireDirection(frame []byte) (direction string, bytes uint64) {
	be := binary.BigEndian
	var src, dst netip.Addr
	var proto byte
	ip := frame[14:]
	var l4 []byte
	switch be.Uint16(frame[12:]) {
	case 0x0800:
		src, dst = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
		proto, l4, bytes = ip[9], ip[20:], uint64(be.Uint16(ip[2:]))
	case 0x86dd:
		src, dst = netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:]))
		proto, l4, bytes = ip[6], ip[40:], 40+uint64(be.Uint16(ip[4:]))
	default:
		return "", 0
	}
	switch proto {
	case syscall.IPPROTO_TCP, syscall.IPPROTO_UDP:
		return fmt.Sprintf("%d %s %d > %s %d", proto, src, be.Uint16(l4), dst, be.Uint16(l4[2:])), bytes
	}
	return fmt.Sprintf("%d %s > %s type=%d id=%d", proto, src, dst, l4[0], be.Uint16(l4[4:])), bytes
}

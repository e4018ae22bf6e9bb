package slowpath

import (
	"encoding/binary"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"ffwd/fib"
)

// Whatever a datagram says, it is read within its bounds and leaves the mirror able
// to go on. SP-2
func FuzzMirrorMessages(f *testing.F) {
	kinds := []uint16{
		unix.RTM_NEWLINK, unix.RTM_DELLINK, unix.RTM_NEWADDR, unix.RTM_DELADDR, unix.RTM_NEWROUTE, unix.RTM_DELROUTE,
		unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP, unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH,
	}
	for i := range kinds {
		f.Add(uint8(i), uint16(0), []byte{})
	}
	attribute := func(kind int, value []byte) []byte { return nl.NewRtAttr(kind, value).Serialize() }
	route := append([]byte{unix.AF_INET, 16, 0, 0, 254, 12, 0, unix.RTN_UNICAST, 0, 0, 0, 0}, attribute(unix.RTA_DST, []byte{10, 9, 0, 0})...)
	hop := append([]byte{16, 0, 0, 2, 7, 0, 0, 0}, attribute(unix.RTA_GATEWAY, []byte{10, 1, 0, 2})...)
	f.Add(uint8(4), uint16(unix.NLM_F_REPLACE), append(route, attribute(unix.RTA_MULTIPATH, hop)...))
	f.Add(uint8(6), uint16(0), append(make([]byte, sizeofNhMsg), append(attribute(unix.NHA_ID, []byte{1, 0, 0, 0}), attribute(unix.NHA_GROUP, make([]byte, 16))...)...))
	f.Fuzz(func(t *testing.T, kind uint8, flags uint16, data []byte) {
		table, err := fib.New(fib.Options{MaxRoutes4: 100, MaxRoutes6: 100, Groups4: 16, Groups6: 64, NextHops: 64, ECMPGroups: 4})
		if err != nil {
			t.Fatal(err)
		}
		defer table.Close()
		if err := table.SetInterface(fib.Interface{Index: 1, MTUBytes: 1500}); err != nil {
			t.Fatal(err)
		}
		c := &MirrorConfig{
			Tables: []*fib.Table{table}, Kernel: map[uint32]uint16{254: 0}, Twins: []MirroredTwin{{Iface: 1, Name: "lan"}},
			OnAddresses: func(uint16, []netip.Prefix) {}, Log: slog.New(slog.DiscardHandler),
		}
		routes, neighbours := newRouteMirror(c), newNeighbourMirror(c)
		lan := append([]byte{0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, attribute(unix.IFLA_IFNAME, []byte("lan\x00"))...)
		m := message{kind: kinds[int(kind)%len(kinds)], flags: flags, data: data}
		datagram := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+len(data))
		binary.NativeEndian.PutUint32(datagram, uint32(len(datagram)+len(data)))
		binary.NativeEndian.PutUint16(datagram[4:], m.kind)
		binary.NativeEndian.PutUint16(datagram[6:], flags)
		for range messages(data) { // as a datagram of its own, too
		}
		for _, view := range []follower{routes, neighbours} {
			view.event(message{kind: unix.RTM_NEWLINK, data: lan}, false)
			for read := range messages(append(datagram, data...)) {
				if len(read.data) > len(data) {
					t.Fatalf("%d bytes were read of %d", len(read.data), len(data))
				}
				view.event(read, flags&1 != 0)
			}
			view.event(m, false)
			view.settle()
			view.tend()
		}
	})
}

package bindings

import (
	"testing"
	"unsafe"

	"ffwd/packet"
)

// packet.Mbuf is the first cache line of the installed headers' rte_mbuf.
func TestMbufLayout(t *testing.T) {
	var m packet.Mbuf
	c := LayoutOfMbuf()
	tests := []struct {
		field string
		got   uintptr
		want  uintptr
	}{
		{"BufAddr", unsafe.Offsetof(m.BufAddr), c.BufAddr},
		{"BufIOVA", unsafe.Offsetof(m.BufIOVA), c.BufIOVA},
		{"DataOff", unsafe.Offsetof(m.DataOff), c.DataOff},
		{"RefCnt", unsafe.Offsetof(m.RefCnt), c.RefCnt},
		{"NbSegs", unsafe.Offsetof(m.NbSegs), c.NbSegs},
		{"Port", unsafe.Offsetof(m.Port), c.Port},
		{"OlFlags", unsafe.Offsetof(m.OlFlags), c.OlFlags},
		{"PacketType", unsafe.Offsetof(m.PacketType), c.PacketType},
		{"PktLen", unsafe.Offsetof(m.PktLen), c.PktLen},
		{"DataLen", unsafe.Offsetof(m.DataLen), c.DataLen},
		{"VlanTCI", unsafe.Offsetof(m.VlanTCI), c.VlanTCI},
		{"RSSHash", unsafe.Offsetof(m.RSSHash), c.RSSHash},
		{"VlanTCIOuter", unsafe.Offsetof(m.VlanTCIOuter), c.VlanTCIOuter},
		{"BufLen", unsafe.Offsetof(m.BufLen), c.BufLen},
		{"Pool", unsafe.Offsetof(m.Pool), c.Pool},
		{"cache line", unsafe.Sizeof(m), 64},
		{"two cache lines", 2 * unsafe.Sizeof(m), c.Size},
		{"RxVLANStripped", packet.RxVLANStripped, uintptr(c.RxVLANStripped)},
		{"RxIPCksumBad", packet.RxIPCksumBad, uintptr(c.RxIPCksumBad)},
		{"RxIPCksumGood", packet.RxIPCksumGood, uintptr(c.RxIPCksumGood)},
		{"RxIPCksumMask", packet.RxIPCksumMask, uintptr(c.RxIPCksumMask)},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: %#x in Go, %#x in C", tt.field, tt.got, tt.want)
		}
	}
}

package packet

import (
	"math/bits"
	"unsafe"
)

// Head is the part of a Packet that takes an established flow's packet from the wire to
// its flow: where the headers are, the flow's key, what was found. Plain packets of known
// flows have no more than this on their whole way, see pipeline's lane. 48 bytes.
type Head struct {
	Data unsafe.Pointer // first byte of the frame

	// Flow key, canonical for both directions; see ct.Key. Set by the Tuple stage.
	Key0, Key1 uint64
	Hash       uint64

	PortsLE uint32 // source and destination port, loaded as one little-endian number, see Ports
	Flow    uint32 // index in the worker's flow table, 0 when there is none

	Len     uint16 // bytes from Data to the end of the network packet (padding trimmed)
	L3      uint8  // offset of the network header from Data
	L4      uint8  // offset of the transport header from the network header
	Proto   uint8  // IP protocol, or the last IPv6 next header
	Flags   uint8
	Verdict Verdict
	State   CtState
}

// Is reports whether all flags in f are set.
func (p *Head) Is(f uint8) bool { return p.Flags&f == f }

// Ports returns the source and the destination port in host order.
func (p *Head) Ports() (src, dst uint16) {
	return bits.ReverseBytes16(uint16(p.PortsLE)), bits.ReverseBytes16(uint16(p.PortsLE >> 16))
}

// IPv4 returns the IPv4 header. Valid after Parse, when IsIPv6 is not set.
func (p *Head) IPv4() *IPv4 { return (*IPv4)(unsafe.Add(p.Data, uintptr(p.L3))) }

// IPv6 returns the IPv6 header. Valid after Parse, when IsIPv6 is set.
func (p *Head) IPv6() *IPv6 { return (*IPv6)(unsafe.Add(p.Data, uintptr(p.L3))) }

// L3Len returns the bytes of the network packet, header included.
func (p *Head) L3Len() int { return int(p.Len) - int(p.L3) }

// Network returns the network packet, header included, as bytes.
func (p *Head) Network() []byte {
	return unsafe.Slice((*byte)(unsafe.Add(p.Data, uintptr(p.L3))), p.L3Len())
}

// Transport returns the bytes behind the network header.
func (p *Head) Transport() []byte { return p.Network()[p.L4:] }

// Heads are heads in memory at equal distances: those of packets, or alone.
type Heads struct {
	first  *Head
	stride uintptr
	n      int
}

// HeadsOf returns the heads of packets.
func HeadsOf(pkts []Packet) Heads {
	return Heads{&unsafe.SliceData(pkts).Head, unsafe.Sizeof(Packet{}), len(pkts)}
}

// HeadsAlone returns heads that no packets are behind.
func HeadsAlone(heads []Head) Heads {
	return Heads{unsafe.SliceData(heads), unsafe.Sizeof(Head{}), len(heads)}
}

// Len returns how many there are.
func (h Heads) Len() int { return h.n }

// At returns the i-th, which is not checked to exist: i is below Len.
func (h Heads) At(i int) *Head {
	return (*Head)(unsafe.Add(unsafe.Pointer(h.first), uintptr(i)*h.stride))
}

// From returns the heads from the i-th on; i is at most Len.
func (h Heads) From(i int) Heads { return Heads{h.At(i), h.stride, h.n - i} }

// Place returns the first, and the bytes from one to the next.
func (h Heads) Place() (first *Head, stride uintptr) { return h.first, h.stride }

// Hashes returns the place of the first head's Hash, and the bytes from one to the next.
func (h Heads) Hashes() (first *uint64, stride uintptr) { return &h.first.Hash, h.stride }

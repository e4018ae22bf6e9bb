package packet

import "unsafe"

// Mbuf is the first cache line of a DPDK rte_mbuf as Go sees it. It lies in
// DPDK's memory (in tests, in ordinary Go memory); the garbage collector never
// moves or frees it. Exactly one owner may touch an Mbuf at any moment.
//
//	 0 buf_addr      8 buf_iova     16 data_off  18 refcnt  20 nb_segs  22 port
//	24 ol_flags     32 packet_type  36 pkt_len   40 data_len 42 vlan_tci
//	44 hash         52 vlan_tci_outer 54 buf_len 56 pool
//
// The layout is the same in every DPDK LTS since 17.11; a test in bindings
// proves it against the installed headers.
type Mbuf struct {
	BufAddr      unsafe.Pointer // start of the buffer, headroom included
	BufIOVA      uint64
	DataOff      uint16 // bytes from BufAddr to the first byte of the frame
	RefCnt       uint16
	NbSegs       uint16
	Port         uint16 // ingress port ID
	OlFlags      uint64 // RTE_MBUF_F_RX_* and RTE_MBUF_F_TX_*
	PacketType   uint32
	PktLen       uint32 // bytes of frame in all segments
	DataLen      uint16 // bytes of frame in this segment
	VlanTCI      uint16 // valid when OlFlags has RxVLANStripped
	RSSHash      uint32
	hashHigh     uint32
	VlanTCIOuter uint16
	BufLen       uint16 // bytes of buffer, headroom included
	Pool         unsafe.Pointer
}

// Offload flags of rte_mbuf_core.h that the switch looks at.
const (
	RxVLANStripped = 1 << 6      // RTE_MBUF_F_RX_VLAN_STRIPPED: the tag is in VlanTCI
	RxIPCksumBad   = 1 << 4      // RTE_MBUF_F_RX_IP_CKSUM_BAD
	RxIPCksumGood  = 1 << 7      // RTE_MBUF_F_RX_IP_CKSUM_GOOD
	RxIPCksumMask  = 1<<4 | 1<<7 // RTE_MBUF_F_RX_IP_CKSUM_MASK; both set: none
	RxL4CksumBad   = 1 << 3      // RTE_MBUF_F_RX_L4_CKSUM_BAD
	RxL4CksumGood  = 1 << 8      // RTE_MBUF_F_RX_L4_CKSUM_GOOD
	RxL4CksumMask  = 1<<3 | 1<<8 // RTE_MBUF_F_RX_L4_CKSUM_MASK; both set: none
)

// Data returns the address of the first byte of the frame.
func (m *Mbuf) Data() unsafe.Pointer { return unsafe.Add(m.BufAddr, int(m.DataOff)) }

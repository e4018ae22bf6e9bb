package bindings

/*
#include <stddef.h>
#include <rte_mbuf.h>

static inline int ffwd_chain(void *head, void *tail) { return rte_pktmbuf_chain(head, tail); }
static inline void ffwd_attach(void *to, void *owner) { rte_pktmbuf_attach(to, owner); }

struct ffwd_mbuf_layout {
	size_t size, buf_addr, buf_iova, data_off, refcnt, nb_segs, port, ol_flags,
		packet_type, pkt_len, data_len, vlan_tci, rss, vlan_tci_outer, buf_len, pool;
	uint64_t rx_vlan_stripped, rx_ip_cksum_bad, rx_ip_cksum_good, rx_ip_cksum_mask;
};

static inline struct ffwd_mbuf_layout ffwd_mbuf_layout(void) {
	return (struct ffwd_mbuf_layout){
		.size = sizeof(struct rte_mbuf),
		.buf_addr = offsetof(struct rte_mbuf, buf_addr),
		// A build without IOVA as PA renames buf_iova, in the same place.
		.buf_iova = offsetof(struct rte_mbuf, buf_addr) + sizeof(void *),
		.data_off = offsetof(struct rte_mbuf, data_off),
		.refcnt = offsetof(struct rte_mbuf, refcnt),
		.nb_segs = offsetof(struct rte_mbuf, nb_segs),
		.port = offsetof(struct rte_mbuf, port),
		.ol_flags = offsetof(struct rte_mbuf, ol_flags),
		.packet_type = offsetof(struct rte_mbuf, packet_type),
		.pkt_len = offsetof(struct rte_mbuf, pkt_len),
		.data_len = offsetof(struct rte_mbuf, data_len),
		.vlan_tci = offsetof(struct rte_mbuf, vlan_tci),
		.rss = offsetof(struct rte_mbuf, hash.rss),
		.vlan_tci_outer = offsetof(struct rte_mbuf, vlan_tci_outer),
		.buf_len = offsetof(struct rte_mbuf, buf_len),
		.pool = offsetof(struct rte_mbuf, pool),
		.rx_vlan_stripped = RTE_MBUF_F_RX_VLAN_STRIPPED,
		.rx_ip_cksum_bad = RTE_MBUF_F_RX_IP_CKSUM_BAD,
		.rx_ip_cksum_good = RTE_MBUF_F_RX_IP_CKSUM_GOOD,
		.rx_ip_cksum_mask = RTE_MBUF_F_RX_IP_CKSUM_MASK,
	};
}
*/
import "C"

import "unsafe"

// Chain hangs tail behind head, as a driver does with a frame longer than an mbuf. The
// two are one mbuf then, owned as head. It returns false when there are too many
// segments. For tests.
func Chain(head, tail unsafe.Pointer) bool { return C.ffwd_chain(head, tail) == 0 }

// Attach makes to, an mbuf without data, show the frame of owner, in owner's buffer. Both
// are the caller's; the buffer goes back with the last of them. For tests.
func Attach(to, owner unsafe.Pointer) { C.ffwd_attach(to, owner) }

// MbufLayout is where the installed headers put the fields that packet.Mbuf
// mirrors, and the flags it copies. It exists so that a test can compare the two.
type MbufLayout struct {
	Size uintptr

	BufAddr, BufIOVA, DataOff, RefCnt, NbSegs, Port, OlFlags, PacketType, PktLen,
	DataLen, VlanTCI, RSSHash, VlanTCIOuter, BufLen, Pool uintptr

	RxVLANStripped, RxIPCksumBad, RxIPCksumGood, RxIPCksumMask uint64
}

// LayoutOfMbuf returns the layout this package was compiled with.
func LayoutOfMbuf() MbufLayout {
	l := C.ffwd_mbuf_layout()
	return MbufLayout{
		Size:           uintptr(l.size),
		BufAddr:        uintptr(l.buf_addr),
		BufIOVA:        uintptr(l.buf_iova),
		DataOff:        uintptr(l.data_off),
		RefCnt:         uintptr(l.refcnt),
		NbSegs:         uintptr(l.nb_segs),
		Port:           uintptr(l.port),
		OlFlags:        uintptr(l.ol_flags),
		PacketType:     uintptr(l.packet_type),
		PktLen:         uintptr(l.pkt_len),
		DataLen:        uintptr(l.data_len),
		VlanTCI:        uintptr(l.vlan_tci),
		RSSHash:        uintptr(l.rss),
		VlanTCIOuter:   uintptr(l.vlan_tci_outer),
		BufLen:         uintptr(l.buf_len),
		Pool:           uintptr(l.pool),
		RxVLANStripped: uint64(l.rx_vlan_stripped),
		RxIPCksumBad:   uint64(l.rx_ip_cksum_bad),
		RxIPCksumGood:  uint64(l.rx_ip_cksum_good),
		RxIPCksumMask:  uint64(l.rx_ip_cksum_mask),
	}
}

package bindings

/*
#include "shim_ethdev.h"
*/
import "C"

import "unsafe"

// RSSIPTCPUDP are the packet types that a flow's two directions are made of: IPv4
// and IPv6, fragments and what is neither TCP nor UDP by addresses, those two by ports.
const RSSIPTCPUDP uint64 = C.RTE_ETH_RSS_IP | C.RTE_ETH_RSS_TCP | C.RTE_ETH_RSS_UDP

// RSSFlowTypes are the types without which RSSIPTCPUDP cannot keep a flow together.
const RSSFlowTypes uint64 = C.RTE_ETH_RSS_NONFRAG_IPV4_TCP | C.RTE_ETH_RSS_NONFRAG_IPV4_UDP |
	C.RTE_ETH_RSS_NONFRAG_IPV6_TCP | C.RTE_ETH_RSS_NONFRAG_IPV6_UDP

// maxRSSKeyBytes is the longest key that can be asked for. There is always room for one so
// long: drivers of some NICs (net_ixgbe) write all of theirs, whatever length they are told.
const maxRSSKeyBytes = 255

// RSS reads back the hash key, of keyBytes, and the packet types that the device uses.
func (p PortID) RSS(keyBytes int) (key []byte, types uint64, err error) {
	key = make([]byte, maxRSSKeyBytes)
	var rssHF C.uint64_t
	err = p.control("get rss", func() C.int {
		return C.ffwd_rss_read(C.uint16_t(p), (*C.uint8_t)(unsafe.Pointer(&key[0])), C.uint8_t(keyBytes), &rssHF)
	})
	return key[:keyBytes], uint64(rssHF), err
}

// SpreadRETA fills the redirection table of size entries with the queues in turn.
func (p PortID) SpreadRETA(size, queues int) error {
	return p.control("update reta", func() C.int {
		return C.ffwd_reta_spread(C.uint16_t(p), C.uint16_t(size), C.uint16_t(queues))
	})
}

// RETA reads the redirection table back: the queue of each hash remainder.
func (p PortID) RETA(size int) ([]uint16, error) {
	table := make([]uint16, max(size, 1))
	err := p.control("query reta", func() C.int {
		return C.ffwd_reta_read(C.uint16_t(p), C.uint16_t(size), (*C.uint16_t)(unsafe.Pointer(&table[0])))
	})
	return table[:size], err
}

package bindings

/*
#include <stdlib.h>
#include <rte_ethdev.h>
#include "shim_ethdev.h"
*/
import "C"

import "unsafe"

// Stats are the device's own counters since start or reset. Drivers leave what they
// do not count at 0.
type Stats struct {
	RxPackets, TxPackets uint64
	RxBytes, TxBytes     uint64
	RxMissed             uint64 // dropped by the device: no free descriptor
	RxErrors, TxErrors   uint64
	RxNoMbuf             uint64 // dropped by the driver: the pool was empty
}

// Stats reads the device's counters.
func (p PortID) Stats() (Stats, error) {
	var s C.struct_rte_eth_stats
	err := p.control("get stats", func() C.int { return C.rte_eth_stats_get(C.uint16_t(p), &s) })
	return Stats{
		RxPackets: uint64(s.ipackets),
		TxPackets: uint64(s.opackets),
		RxBytes:   uint64(s.ibytes),
		TxBytes:   uint64(s.obytes),
		RxMissed:  uint64(s.imissed),
		RxErrors:  uint64(s.ierrors),
		TxErrors:  uint64(s.oerrors),
		RxNoMbuf:  uint64(s.rx_nombuf),
	}, err
}

// XStats reads the driver's extended statistics by name.
func (p PortID) XStats() (map[string]uint64, error) {
	count := C.rte_eth_xstats_get(C.uint16_t(p), nil, 0)
	if count <= 0 {
		return nil, p.control("get xstats", func() C.int { return count })
	}
	values := (*C.struct_rte_eth_xstat)(C.calloc(C.size_t(count), C.sizeof_struct_rte_eth_xstat))
	defer C.free(unsafe.Pointer(values))
	names := (*C.struct_rte_eth_xstat_name)(C.calloc(C.size_t(count), C.sizeof_struct_rte_eth_xstat_name))
	defer C.free(unsafe.Pointer(names))
	if err := p.control("get xstats", func() C.int {
		if ret := C.rte_eth_xstats_get_names(C.uint16_t(p), names, C.uint(count)); ret < 0 {
			return ret
		}
		got := C.rte_eth_xstats_get(C.uint16_t(p), values, C.uint(count))
		count = min(got, count)
		return got
	}); err != nil {
		return nil, err
	}
	xstats := make(map[string]uint64, count)
	name := unsafe.Slice(names, count)
	for _, v := range unsafe.Slice(values, count) {
		xstats[C.GoString(&name[v.id].name[0])] = uint64(v.value)
	}
	return xstats, nil
}

// Link is the state of a port's link.
type Link struct {
	Up              bool
	SpeedMbit       uint32 // Mbit/s; 0: unknown
	FullDuplex      bool
	Autonegotiation bool
}

// Link reads the link without waiting for it.
func (p PortID) Link() (Link, error) {
	var speed C.uint32_t
	var up, fullDuplex, autoneg C.int
	err := p.control("get link", func() C.int {
		return C.ffwd_port_link(C.uint16_t(p), &speed, &up, &fullDuplex, &autoneg)
	})
	return Link{up != 0, uint32(speed), fullDuplex != 0, autoneg != 0}, err
}

package bindings

/*
#include <stdlib.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include "shim_ethdev.h"
#include "shim_intr.h"
*/
import "C"

import (
	"net"
	"unsafe"
)

// PortID is DPDK's number of a port, from 0.
type PortID uint16

// Device is DPDK's handle of what a port was probed on. It outlives the port's
// Close, and is gone with RemoveDevice.
type Device struct {
	c *C.struct_rte_device
}

// ProbeDevice makes DPDK take a device: a PCI address or a software device's name,
// with its arguments ("net_pcap0,rx_pcap=in.pcap").
func ProbeDevice(devargs string) error {
	cArgs := C.CString(devargs)
	defer C.free(unsafe.Pointer(cArgs))
	return control("probe", devargs, func() C.int { return C.rte_dev_probe(cArgs) })
}

// RemoveDevice undoes ProbeDevice. Its ports are closed.
func RemoveDevice(d Device) error {
	return control("remove", C.GoString(C.rte_dev_name(d.c)), func() C.int { return C.rte_dev_remove(d.c) })
}

// PortByName finds the port of a probed device. Without one, ok is false.
func PortByName(name string) (port PortID, ok bool) {
	cName := C.CString(name)
	defer C.free(unsafe.Pointer(cName))
	ret := C.ffwd_port_by_name(cName)
	return PortID(max(ret, 0)), ret >= 0
}

// DeviceInfo is what a port's driver says it can do.
type DeviceInfo struct {
	Device  Device
	Driver  string // "net_pcap", "net_ixgbe"
	Bus     string // "vdev", "pci"
	IfIndex int    // kernel interface under a software device, 0 if none

	MaxRxQueues, MaxTxQueues int
	RxDescMin, RxDescMax     int // descriptors per queue
	RxDescAlign              int
	TxDescMin, TxDescMax     int
	TxDescAlign              int

	MinMTU, MaxMTU     int // bytes
	MaxRxPacketBytes   int // frame with its Ethernet header
	FrameOverheadBytes int // what DPDK adds to an MTU before comparing it with MaxRxPacketBytes
	MinRxBufferBytes   int // data room, headroom excluded

	RSSKeyBytes int
	RSSTypes    uint64 // RTE_ETH_RSS_* that the device can hash
	RETASize    int    // entries; 0: no redirection table
	RxOffloads  uint64 // RTE_ETH_RX_OFFLOAD_*
}

// What the device is to check: the IPv4 header checksum, and those of UDP and TCP.
const (
	RxOffloadIPv4Cksum uint64 = C.RTE_ETH_RX_OFFLOAD_IPV4_CKSUM
	RxOffloadUDPCksum  uint64 = C.RTE_ETH_RX_OFFLOAD_UDP_CKSUM
	RxOffloadTCPCksum  uint64 = C.RTE_ETH_RX_OFFLOAD_TCP_CKSUM
)

// Info asks the port's driver.
func (p PortID) Info() (DeviceInfo, error) {
	var info C.struct_rte_eth_dev_info
	if err := p.control("get device info", func() C.int { return C.rte_eth_dev_info_get(C.uint16_t(p), &info) }); err != nil {
		return DeviceInfo{}, err
	}
	d := DeviceInfo{
		Device:           Device{info.device},
		Driver:           C.GoString(info.driver_name),
		Bus:              C.GoString(C.ffwd_bus_name(info.device)),
		IfIndex:          int(info.if_index),
		MaxRxQueues:      int(info.max_rx_queues),
		MaxTxQueues:      int(info.max_tx_queues),
		RxDescMin:        int(info.rx_desc_lim.nb_min),
		RxDescMax:        int(info.rx_desc_lim.nb_max),
		RxDescAlign:      int(info.rx_desc_lim.nb_align),
		TxDescMin:        int(info.tx_desc_lim.nb_min),
		TxDescMax:        int(info.tx_desc_lim.nb_max),
		TxDescAlign:      int(info.tx_desc_lim.nb_align),
		MinMTU:           int(info.min_mtu),
		MaxMTU:           int(info.max_mtu),
		MaxRxPacketBytes: int(info.max_rx_pktlen),
		MinRxBufferBytes: int(info.min_rx_bufsize),
		RSSKeyBytes:      int(info.hash_key_size),
		RSSTypes:         uint64(info.flow_type_rss_offloads),
		RETASize:         int(info.reta_size),
		RxOffloads:       uint64(info.rx_offload_capa),
	}
	// As eth_dev_get_overhead_len does.
	d.FrameOverheadBytes = C.RTE_ETHER_HDR_LEN + C.RTE_ETHER_CRC_LEN
	if info.max_mtu != 0xffff && info.max_rx_pktlen > C.uint32_t(info.max_mtu) {
		d.FrameOverheadBytes = int(info.max_rx_pktlen) - int(info.max_mtu)
	}
	return d, nil
}

// PortConf is what rte_eth_dev_configure takes.
type PortConf struct {
	RxQueues, TxQueues int
	MTUBytes           int
	RxOffloads         uint64 // among DeviceInfo.RxOffloads
	RSSTypes           uint64 // 0: no RSS
	RSSKey             []byte // nil: the driver's own; at most 64 bytes
}

// Configure sets a stopped port up; its queues follow.
func (p PortID) Configure(conf PortConf) error {
	c := C.struct_ffwd_port_conf{
		nb_rx:       C.uint16_t(conf.RxQueues),
		nb_tx:       C.uint16_t(conf.TxQueues),
		mtu:         C.uint32_t(conf.MTUBytes),
		rx_offloads: C.uint64_t(conf.RxOffloads),
		rss_hf:      C.uint64_t(conf.RSSTypes),
	}
	for i, b := range conf.RSSKey[:min(len(conf.RSSKey), len(c.rss_key))] {
		c.rss_key[i] = C.uint8_t(b)
		c.rss_key_len++
	}
	return p.control("configure", func() C.int { return C.ffwd_port_configure(C.uint16_t(p), &c) })
}

// AdjustDescriptors brings the wanted numbers of descriptors inside the driver's
// limits and alignment.
func (p PortID) AdjustDescriptors(rx, tx int) (rxDesc, txDesc int, err error) {
	nRx, nTx := C.uint16_t(rx), C.uint16_t(tx)
	err = p.control("adjust descriptors", func() C.int {
		return C.rte_eth_dev_adjust_nb_rx_tx_desc(C.uint16_t(p), &nRx, &nTx)
	})
	return int(nRx), int(nTx), err
}

// SetupRxQueue gives a receive queue its descriptors and the pool it fills them from.
func (p PortID) SetupRxQueue(queue, desc int, pool *Mempool) error {
	return p.control("set up rx queue", func() C.int {
		return C.rte_eth_rx_queue_setup(C.uint16_t(p), C.uint16_t(queue), C.uint16_t(desc), p.socketArg(), nil, pool.c)
	})
}

// SetupTxQueue gives a transmit queue its descriptors.
func (p PortID) SetupTxQueue(queue, desc int) error {
	return p.control("set up tx queue", func() C.int {
		return C.rte_eth_tx_queue_setup(C.uint16_t(p), C.uint16_t(queue), C.uint16_t(desc), p.socketArg(), nil)
	})
}

// socketArg is the port's socket as the queue setup calls want it.
func (p PortID) socketArg() C.uint { return C.uint(C.rte_eth_dev_socket_id(C.uint16_t(p))) }

// Socket returns the NUMA socket of the device, or AnySocket.
func (p PortID) Socket() int { return int(C.rte_eth_dev_socket_id(C.uint16_t(p))) }

// Start lets packets flow.
func (p PortID) Start() error {
	return p.control("start", func() C.int { return C.rte_eth_dev_start(C.uint16_t(p)) })
}

// Stop ends the flow. No thread may be in a burst call on the port.
func (p PortID) Stop() error {
	return p.control("stop", func() C.int { return C.rte_eth_dev_stop(C.uint16_t(p)) })
}

// Close frees the port's queues and its ID; the device stays probed.
func (p PortID) Close() error {
	return p.control("close", func() C.int { return C.rte_eth_dev_close(C.uint16_t(p)) })
}

// ReclaimTx has a transmit queue free the mbufs that the device is done with. Not all
// drivers can.
func (p PortID) ReclaimTx(queue int) {
	C.rte_eth_tx_done_cleanup(C.uint16_t(p), C.uint16_t(queue), 0)
}

// MTU returns the port's MTU in bytes.
func (p PortID) MTU() (int, error) {
	var mtu C.uint16_t
	err := p.control("get mtu", func() C.int { return C.rte_eth_dev_get_mtu(C.uint16_t(p), &mtu) })
	return int(mtu), err
}

// SetMTU sets the port's MTU in bytes. Software drivers often cannot.
func (p PortID) SetMTU(bytes int) error {
	return p.control("set mtu", func() C.int { return C.rte_eth_dev_set_mtu(C.uint16_t(p), C.uint16_t(bytes)) })
}

// MAC returns the port's Ethernet address.
func (p PortID) MAC() (net.HardwareAddr, error) {
	var addr C.struct_rte_ether_addr
	err := p.control("get mac", func() C.int { return C.rte_eth_macaddr_get(C.uint16_t(p), &addr) })
	return C.GoBytes(unsafe.Pointer(&addr), C.RTE_ETHER_ADDR_LEN), err
}

// SetMAC makes addr (6 bytes) the port's Ethernet address.
func (p PortID) SetMAC(mac net.HardwareAddr) error {
	var addr C.struct_rte_ether_addr
	copy((*[C.RTE_ETHER_ADDR_LEN]byte)(unsafe.Pointer(&addr))[:], mac)
	return p.control("set mac", func() C.int { return C.rte_eth_dev_default_mac_addr_set(C.uint16_t(p), &addr) })
}

// SetPromiscuous turns reception of frames for other addresses on or off.
func (p PortID) SetPromiscuous(on bool) error {
	return p.control("set promiscuous", func() C.int {
		if on {
			return C.rte_eth_promiscuous_enable(C.uint16_t(p))
		}
		return C.rte_eth_promiscuous_disable(C.uint16_t(p))
	})
}

// Promiscuous reports whether frames for other addresses are received.
func (p PortID) Promiscuous() bool { return C.rte_eth_promiscuous_get(C.uint16_t(p)) == 1 }

// SetAllMulticast makes the device receive every multicast frame, or those of its own
// filter.
func (p PortID) SetAllMulticast(on bool) error {
	return p.control("set all-multicast", func() C.int {
		if on {
			return C.rte_eth_allmulticast_enable(C.uint16_t(p))
		}
		return C.rte_eth_allmulticast_disable(C.uint16_t(p))
	})
}

// name is the device name for errors.
func (p PortID) name() string {
	var name [C.RTE_ETH_NAME_MAX_LEN]C.char
	if C.rte_eth_dev_get_name_by_port(C.uint16_t(p), &name[0]) != 0 {
		return ""
	}
	return C.GoString(&name[0])
}

func (p PortID) control(op string, call func() C.int) error {
	return control(op, p.name(), call)
}

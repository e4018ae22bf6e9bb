package pmd

import (
	"fmt"
	"unsafe"

	"ffwd/bindings"
)

const (
	etherHeaderBytes = 14
	etherCRCBytes    = 4
	vlanTagBytes     = 4

	// frameExtraBytes is what a frame may have beyond its MTU.
	frameExtraBytes = etherHeaderBytes + 2*vlanTagBytes + etherCRCBytes

	// rxBufferStep is the granularity in which most NICs know a buffer's size. They
	// round down, and a frame that then does not fit arrives in pieces.
	rxBufferStep = 1024

	// tpacketSlackBytes: the packet socket driver compares its whole ring frame, not
	// what can be in it, with the buffer.
	tpacketSlackBytes = 128

	// minRxBuffer is what several drivers insist on, whatever the MTU.
	minRxBuffer = 2048
)

// dataRoomFor returns the mbuf buffer, headroom included, that takes a frame of this
// MTU, with two VLAN tags and checksum, in one segment.
func dataRoomFor(mtuBytes int) int {
	frame := mtuBytes + frameExtraBytes
	return bindings.Headroom + max(minRxBuffer, roundUp(frame+tpacketSlackBytes, rxBufferStep))
}

// kernelDataRoomFor is dataRoomFor for a device into whose mbufs the kernel writes: it
// keeps a headroom of its own in front of the frame, and the mbuf must fit a page.
func kernelDataRoomFor(mtuBytes int) int {
	const xdpHeadroomBytes = 256 // XDP_PACKET_HEADROOM
	return bindings.Headroom + max(minRxBuffer, roundUp(mtuBytes+frameExtraBytes+xdpHeadroomBytes, 64))
}

func roundUp(n, step int) int { return (n + step - 1) / step * step }

// Pool is a pool of mbufs on one NUMA socket, shared by all workers there. A
// registered thread has its own cache of it.
type Pool struct {
	mempool *bindings.Mempool
	socket  int
}

// Alloc takes n fresh mbufs (headroom set, no data, no flags) into dst, an array of
// *packet.Mbuf outside Go's heap. All or none: false means that the pool has not
// enough. Workers, once per burst.
func (p *Pool) Alloc(dst unsafe.Pointer, n int) bool { return p.mempool.AllocBulk(dst, n) }

// Free gives back the n mbufs of src, an array of *packet.Mbuf outside Go's heap,
// each to the pool it came from, whichever that is. Workers, once per burst.
func (p *Pool) Free(src unsafe.Pointer, n int) { bindings.FreeBulk(src, n) }

// Name returns the pool's name in DPDK.
func (p *Pool) Name() string { return p.mempool.Name() }

// Socket returns the NUMA socket of the pool's memory, or bindings.AnySocket.
func (p *Pool) Socket() int { return p.socket }

// Size returns the number of mbufs in the pool when nobody holds one.
func (p *Pool) Size() int { return p.mempool.Size() }

// Available returns how many mbufs nobody holds; an estimate while workers run.
func (p *Pool) Available() int { return p.mempool.Available() }

// FrameBytes returns the longest frame that one mbuf takes.
func (p *Pool) FrameBytes() int { return p.mempool.DataRoomBytes() - bindings.Headroom }

// close frees the pool and says how many mbufs did not come back.
func (p *Pool) close() error {
	missing, name, size := p.Size()-p.Available(), p.Name(), p.Size()
	p.mempool.Free()
	if missing != 0 {
		return fmt.Errorf("mempool %s: %d of %d mbufs missing", name, missing, size)
	}
	return nil
}

package pmd

import "strconv"

// A packet socket shares a ring of fixed-size frames with the kernel. In each, the
// kernel puts a header in front of the packet:
//
//	tpacket2_hdr (32)  sockaddr_ll (20)  pad to 16, at least 16 for the MAC  frame
//
// A frame that does not fit is cut short by the kernel without a word, so the frame
// size must follow the MTU.
const (
	afPacketFrameDefault = 2048 // the driver's default framesz
	afPacketHeaderMax    = 32 + 20 + 16 + 16

	// afPacketFrameStep is the granularity of our frame sizes. The driver takes the
	// frames for contiguous, which they are if a block is a whole number of them, and
	// the kernel wants blocks of whole pages: four frames of a multiple of 1 KiB are both.
	afPacketFrameStep      = 1024
	afPacketFramesPerBlock = 4

	// A ring holds what arrives while the worker's thread is kept from its core. With
	// iperf3 on the same two cores, the driver's default of 512 frames of 2 KiB lost
	// 5 to 9 % of a TCP stream's segments, 1024 2 %, 2048 0.05 %, and 4096 next to none.
	afPacketRingBytes = 8 << 20
)

// tuneAFPacket sizes the rings of a packet socket, one to receive and one to send:
// frames for the MTU, and enough of them.
func tuneAFPacket(args []string, mtuBytes int) []string {
	for _, name := range []string{"framesz", "blocksz", "framecnt"} {
		if _, ok := argValue(args, name); ok {
			return args
		}
	}
	need := mtuBytes + etherHeaderBytes + 2*vlanTagBytes + afPacketHeaderMax
	frame := max(afPacketFrameDefault, roundUp(need, afPacketFrameStep))
	block := frame * afPacketFramesPerBlock
	return append(args,
		"framesz="+strconv.Itoa(frame),
		"blocksz="+strconv.Itoa(block),
		"framecnt="+strconv.Itoa(afPacketRingBytes/block*afPacketFramesPerBlock))
}

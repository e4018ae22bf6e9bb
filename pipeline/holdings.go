package pipeline

import "ffwd/packet"

// MbufsInHand returns how many mbufs a worker may have in its own hands at once, apart
// from rings, verdict queues and fragments that wait, whose sizes are configured: what
// a pool must hold on top of what lies in descriptors.
//
// ports counts the physical ones; burst is the configured burst and maxMTUBytes the
// largest MTU. Source: FF-9, SP-3.
func MbufsInHand(ports, burst, maxMTUBytes int) int {
	const leastPayload = 8 // of a piece, see maxPieces
	var (
		received = burst
		answers  = packet.MaxBurst               // ICMP errors and resets to the burst
		buffers  = (ports + 1) * packet.MaxBurst // to each port, and to the pool
		pieces   = min(maxPieces, maxMTUBytes/leastPayload+1)
	)
	return received + answers + buffers + pieces + maxHeld
}

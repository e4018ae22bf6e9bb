// Package pmd opens ports through DPDK's poll-mode drivers and hands their queues
// to the workers.
//
// A Runtime is the EAL plus one mbuf pool per NUMA socket. Its ports come from a
// device string: a PCI address or any of DPDK's software devices, with no other
// difference to the rest of the switch. What a driver needs to be told, and where it
// is odd, is in drivers.go and nowhere else.
//
// # Owner threads
//
// Runtime and Port belong to the control side and may be called from any goroutine.
// RxQueue, TxQueue and Pool belong to workers: goroutines locked to an OS thread,
// which set their affinity and then call Runtime.RegisterThread. One worker polls
// an RxQueue, and one sends on a TxQueue. A worker has left its queues before
// Port.Stop is called. Statistics may be read at any time.
//
// # Packet's path
//
// RxQueue.Rx fills an array of mbufs, each in one segment; the mbufs are the
// worker's. TxQueue.Tx takes over what it could send; Pool.Free gives back the rest.
// The arrays lie outside Go's heap (bindings.NewMbufArray or mmap). At
// Runtime.Close every mbuf must be back in its pool; one that is not is an error.
//
// # Device has fewer queues than workers
//
// A worker without an RxQueue of its own gets its packets from the others by
// handoff. For transmission every worker has a TxQueue: where the device has too
// few, several stand for one device queue behind a spinlock (TxQueue.Shared).
//
// # Extending
//
// A new kind of device needs a line in drivers.go, if any: what it needs in its
// arguments, and what it cannot do.
package pmd

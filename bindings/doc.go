// Package bindings is the switch's only door to C: a thin layer over DPDK's
// EAL, mempools, mbufs and ethdev, in DPDK's own words. It decides nothing;
// package pmd, its only importer, does.
//
// # Files
//
//	eal.go, eal_check.go    bring the EAL up and down, refuse what it would die of
//	shim_intr.c             get along with the EAL's interrupt thread
//	eal_log.go, shim_log.c  catch what DPDK logs, so that an error is one line
//	errno.go                typed errors around rte_errno
//	mempool.go, mbuf.go     packet memory, layout facts
//	ethdev*.go, shim_ethdev probing, configuration, RSS, statistics, link
//	burst.go, shim_burst.h  the hot calls
//	lcore.go                thread registration, TSC, NUMA sockets
//
// # Owner threads
//
// The functions of burst.go belong to the worker that owns the queue, on an OS
// thread that RegisterThread made known to DPDK. Everything else is for the
// control side, on any goroutine; calls on one port must not overlap.
// RegisterThread and UnregisterThread act on the calling OS thread, which the
// caller has locked. DPDK never calls back into Go: a link interrupt increments
// a counter in C memory, and that is all.
//
// # Packet's path
//
// RxQueue.Burst fills an array of *mbuf that lies outside Go's heap, the
// pipeline works on the mbufs through packet.Mbuf, TxQueue.Burst takes them back
// or FreeBulk does. Each is one C call for the whole burst, which for receiving and
// sending ccall makes, docs/decisions/0018-calls-into-c.md. The arrays are passed
// as unsafe.Pointer to memory that C or mmap allocated, because the cgo pointer
// check walks an array of Go-typed pointers element by element (about 900 ns
// for 256 of them).
//
// # Building
//
// pkg-config's flags for libdpdk (-include rte_config.h, -march=...) are on cgo's
// list of allowed flags, so that a plain "go build ./..." needs no environment
// with DPDK 22.11. Newer releases add -mrtm, which is not: set
// CGO_CFLAGS_ALLOW=-mrtm, as the Makefile does.
// DPDK 22.11 is the oldest release supported, which cgo.go checks. Calls that
// newer releases changed are not used: the same source runs all its tests on
// Debian 12 with 22.11 and on Debian 13 with 24.11.
//
// # Extending
//
// A new DPDK call is wrapped in the file of its noun. C belongs in a shim only
// where Go cannot say it: a static inline function, a bit field, a macro, a
// callback.
package bindings

// Package fib holds the routing tables: where a packet goes, and with which
// link header.
//
// Purpose. One longest-prefix lookup per packet answers everything (FF-5):
// forward, local, broadcast, blackhole, unreachable, prohibit. A Table is one
// VRF. It has a control side, the RIB with interfaces, neighbours and next hops,
// and what is compiled from it for the workers:
//
//	address --trie--> NextHopID --slot--> Adjacency (one cache line)
//	                                        Kind Group: + flow hash --bucket--> member NextHopID
//
// The trie has a first stride of 24 bits and then strides of 8, for IPv4 and
// IPv6 alike. Routes with the same type and hops share one NextHopID, so that a
// new MAC, a lost link or a lost ECMP member is a few atomic stores however many
// routes use it, and no route is painted again.
//
// Owner threads. Lookup*, Resolve*, Adjacency, Lines, Select and Member are called
// by any worker that is online in the epoch the Retirer stands for; what they
// return may be used until the worker's next quiescent state. SetCarrier may be
// called by any thread. Everything else is the control side's, serialised by a
// mutex inside the Table. The control side publishes each change by one atomic
// store and hands what it unpublished to the Retirer; a group, slot or ID is
// used anew only after the Retirer ran the callback.
//
// Counts are the exception: each worker has its own, and it alone reads and writes
// them.
//
// Packet's path. The Route stage collects the destinations of a burst, calls
// ResolveBatch4 or ResolveBatch6, and reads one of Lines per packet. Member
// follows for Kind Group. No allocation, no lock.
//
// How to extend. A new kind of destination is a Kind and, if all its routes may
// share one next hop, a fixed NextHopID beside Blackhole. What a rewriter needs
// per next hop goes into Adjacency while it stays 64 bytes and is filled in
// build. docs/decisions/0003-fib.md has the layout and the figures.
package fib

// Package slowpath is the host kernel's side of the switch: for each port and
// VLAN sub-port a TAP twin with the same MAC, MTU, addresses and link, in our own
// network namespace or another. What the fast path cannot handle goes in there,
// and what the kernel sends out of it leaves by the port: ARP, neighbour
// discovery, ping to our addresses, BGP and SSH on the router are the kernel's.
//
//	worker -> Punts (a ring per worker) -> writer -> TAP -> kernel
//	kernel -> TAP -> reader (one per twin) -> Frames (a ring per worker) -> worker
//
// Owner threads: the worker's end of its two rings belongs to its worker, which
// neither locks, allocates nor makes a system call there, but for one that wakes
// a sleeping writer. Everything else runs on ordinary goroutines that sleep in
// the kernel while there is nothing to do.
//
// Twins are not persistent: they go with the process, however it ends. A twin
// that somebody deletes is made again.
//
// Mirror keeps the kernel's routes, addresses and neighbours in the routing tables:
//
//	netlink -> feed (sockets, dumps) -> routeMirror, neighbourMirror (views) -> fib.Table
//
// and Resolver makes the kernel look for the neighbours that workers ask for, and
// probe those that are in use. docs/decisions/0012-kernel-mirror.md says why so.
//
// The package knows nothing of workers and stages: pipeline declares what it needs
// of a slow path, and control wires the two.
//
// Source: SP-1 to SP-5, FF-13.
package slowpath

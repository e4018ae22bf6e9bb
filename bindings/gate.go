package bindings

/*
#include <stdlib.h>
#include "shim_gate.h"
#include "shim_intr.h"
*/
import "C"

import "unsafe"

// Gate is what bursts pass on a port whose driver takes the memory of its rings away in
// handlers on DPDK's interrupt thread, as net_memif does when its peer goes. While the
// gate is shut, bursts have nothing to give and take nothing.
type Gate struct{ c *C.bool }

// NewGate returns a gate that is shut.
func NewGate() Gate { return Gate{(*C.bool)(C.calloc(1, C.sizeof_bool))} }

// Free gives the gate's memory back.
func (g Gate) Free() { C.free(unsafe.Pointer(g.c)) }

// StopBehind is Stop for a port with a gate, which it shuts. It is done between the
// driver's handlers, which share memory with it without a lock.
func (p PortID) StopBehind(g Gate) error {
	return p.control("stop", func() C.int { return C.ffwd_intr_stop_port(C.uint16_t(p), g.c) })
}

// StartBehind starts a port with a gate, one that runs anew, and opens the gate; if that
// fails the port is stopped and its gate shut. Bursts may go on meanwhile.
func (p PortID) StartBehind(g Gate) error {
	return p.control("start", func() C.int { return C.ffwd_intr_restart_port(C.uint16_t(p), g.c) })
}

package bindings

/*
#include <errno.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_memory.h>

static inline int ffwd_errno(void) { return rte_errno; }
static inline unsigned ffwd_lcore_id(void) { return rte_lcore_id(); }
*/
import "C"

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// LcoreAny is the lcore ID of a thread that DPDK does not know.
const LcoreAny = C.LCORE_ID_ANY

// AnySocket asks for memory of whatever NUMA socket has some.
const AnySocket = C.SOCKET_ID_ANY

func lastErrno() Errno { return Errno(C.ffwd_errno()) }

// RegisterThread gives the calling OS thread an lcore ID, and with it a cache in
// every mempool. The caller has locked the goroutine to its thread and set the
// thread's affinity, which DPDK notes down. Fails when all lcore IDs (128 in most
// builds) are taken.
func RegisterThread() error {
	if C.rte_thread_register() != 0 {
		return &Error{Op: "register thread", Errno: lastErrno()}
	}
	return nil
}

// UnregisterThread gives the calling thread's lcore ID back. What its mempool caches
// hold is out of reach until another thread has that ID, unless FlushCache came first.
func UnregisterThread() { C.rte_thread_unregister() }

// LcoreID returns the calling thread's lcore ID, or LcoreAny.
func LcoreID() uint32 { return uint32(C.ffwd_lcore_id()) }

// CoreSocket returns the NUMA socket of a CPU core, 0 on a machine without NUMA.
// It asks the kernel, so that it works before the EAL is up.
func CoreSocket(core int) int {
	nodes, _ := filepath.Glob(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/node*", core))
	for _, node := range nodes {
		var socket int
		if _, err := fmt.Sscanf(filepath.Base(node), "node%d", &socket); err == nil {
			return socket
		}
	}
	return 0
}

// CoreOnline reports whether the machine has this core and it is switched on.
func CoreOnline(core int) bool {
	if core < 0 {
		return false
	}
	dir := fmt.Sprintf("/sys/devices/system/cpu/cpu%d", core)
	if _, err := os.Stat(dir); err != nil {
		return false
	}
	state, err := os.ReadFile(dir + "/online") // cpu0 often has no such file
	return err != nil || strings.TrimSpace(string(state)) == "1"
}

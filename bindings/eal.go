package bindings

/*
#include <stdlib.h>
#include <rte_eal.h>
#include "shim_intr.h"
#include "shim_log.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// EALOptions says how DPDK's environment abstraction layer comes up.
type EALOptions struct {
	// ProgramName is argv[0] as DPDK shows it; empty means "ffwd".
	ProgramName string

	// MainCores are the CPU cores for the EAL's own threads (main lcore, interrupts),
	// which must not disturb the workers. Empty means: all that this process may use.
	MainCores []int

	// HugePages takes packet memory from huge pages, anonymously (--in-memory), so
	// that nothing stays behind in hugetlbfs or /var/run, not even after kill -9.
	// Otherwise it is ordinary memory, for any user, good for software devices only.
	HugePages bool

	// MemoryMB is the packet memory in MiB. Without huge pages it is all there will
	// ever be (0: DPDK's default of 64). With huge pages, 0 takes them as needed and
	// any other value reserves so many at start.
	MemoryMB int

	// PCI turns the PCI bus on. Devices in Allow are probed at start, so that DPDK
	// chooses its address mode to suit them; others can be probed later.
	PCI   bool
	Allow []string

	// Extra goes to the EAL word by word, after everything else.
	Extra []string
}

// noDevice is a PCI address that no machine has. An allow list with only this on it
// turns the bus on and probes nothing.
const noDevice = "ffff:ff:1f.7"

func (o EALOptions) args() []string {
	name := o.ProgramName
	if name == "" {
		name = "ffwd"
	}
	// One lcore, ID 0, free to run on every main core. Workers are not EAL lcores;
	// they register themselves.
	args := []string{name, "--lcores", "0@" + coreSet(o.MainCores), "--no-telemetry",
		"--file-prefix", name + "-" + strconv.Itoa(os.Getpid())} // no other process's files are near
	if o.HugePages {
		args = append(args, "--in-memory")
	} else {
		args = append(args, "--no-huge", "--no-shconf")
	}
	if o.MemoryMB > 0 {
		args = append(args, "-m", strconv.Itoa(o.MemoryMB))
	}
	switch {
	case !o.PCI:
		args = append(args, "--no-pci")
	case len(o.Allow) == 0:
		args = append(args, "-a", noDevice)
	}
	if o.PCI {
		for _, device := range o.Allow {
			args = append(args, "-a", device)
		}
	}
	return append(args, o.Extra...)
}

// coreSet writes a list of cores as the EAL reads it: "(0,2,3)".
func coreSet(cores []int) string {
	words := make([]string, len(cores))
	for i, core := range cores {
		words[i] = strconv.Itoa(core)
	}
	return "(" + strings.Join(words, ",") + ")"
}

// eal is the life of the one EAL of this process. Its main lcore is the OS thread of
// one goroutine, parked between init and cleanup, so that neither the affinity nor
// the lcore ID that DPDK gives that thread ever reaches another goroutine.
var eal struct {
	sync.Mutex
	started bool
	cleanup chan chan error // nil unless the EAL is up
}

// InitEAL brings the EAL up. It can be done once per process; any further call
// gives ErrOnce. Faults that DPDK would be slow or unclear about are found
// beforehand. The error is one line that says what is wrong and, where that is
// known, what to do.
func InitEAL(o EALOptions) error {
	eal.Lock()
	defer eal.Unlock()
	if eal.started {
		return fmt.Errorf("start eal: %w", ErrOnce)
	}
	if len(o.MainCores) == 0 {
		o.MainCores = allowedCores()
	}
	if err := o.check(); err != nil {
		return fmt.Errorf("start eal: %w", err)
	}
	return startEAL(o)
}

// startEAL is InitEAL without the checks.
func startEAL(o EALOptions) error {
	eal.started = true
	up := make(chan error)
	down := make(chan chan error)
	go mainLcore(o, up, down)
	if err := <-up; err != nil {
		return err
	}
	eal.cleanup = down
	return nil
}

// CleanupEAL takes the EAL down and gives its memory back. Every port, pool and
// thread has been closed, freed and unregistered before. Without a running EAL it
// does nothing.
func CleanupEAL() error {
	eal.Lock()
	defer eal.Unlock()
	if eal.cleanup == nil {
		return nil
	}
	done := make(chan error)
	eal.cleanup <- done
	eal.cleanup = nil
	return <-done
}

// mainLcore is the EAL's main thread. It never unlocks: the thread ends with it.
func mainLcore(o EALOptions, up chan<- error, down <-chan chan error) {
	runtime.LockOSThread()
	// DPDK lets its control threads run where this thread may, the main lcore excepted
	// if anything is left. Nothing is left: they share the main cores.
	var cores unix.CPUSet
	for _, core := range o.MainCores {
		cores.Set(core)
	}
	if err := unix.SchedSetaffinity(0, &cores); err != nil {
		up <- &Error{Op: "start eal", Reason: fmt.Sprintf("main cores %v are not for this process; see taskset and cgroup cpusets", o.MainCores), Errno: errnoFrom(err)}
		return
	}
	if ret := C.ffwd_log_capture(); ret < 0 {
		up <- &Error{Op: "start eal", Object: "log capture", Errno: Errno(-ret)}
		return
	}
	args := o.args()
	err := control("start eal", "", func() C.int { return ealInit(args) })
	if failed, ok := errors.AsType[*Error](err); ok {
		failed.Reason = o.explain(failed.Reason)
	}
	// The EAL makes this directory even if it has nothing to put there.
	os.Remove(C.GoString(C.rte_eal_get_runtime_dir()))
	up <- err
	if err != nil {
		return
	}
	done := <-down
	done <- cleanup()
}

// cleanup takes the EAL down. DPDK leaves its interrupt thread running, and that dies of
// the unmapped heap if a driver forgot a handler there (net_memif's listener, in one
// process of sixty): so it is put to rest first, and without that the heap stays.
func cleanup() error {
	if err := ParkInterrupts(); err != nil {
		return err
	}
	if threadRuns(vhostThread) {
		return nil
	}
	return control("clean up eal", "", func() C.int { return C.rte_eal_cleanup() })
}

// vhostThread is librte_vhost's, which nothing ends. Since DPDK 24.11 it works on the heap, so
// that has to stay; there is nothing of it outside the process.
const vhostThread = "dpdk-vhost-evt"

// threadRuns reports whether this process has a thread of that name.
func threadRuns(name string) bool {
	paths, _ := filepath.Glob("/proc/self/task/*/comm")
	return slices.ContainsFunc(paths, func(path string) bool { return sysfsLine(path) == name })
}

// ParkInterrupts puts DPDK's interrupt thread to rest for good: no link events, alarms
// or driver handlers any more. For the end of the EAL; CleanupEAL does it too.
func ParkInterrupts() error {
	return control("park", "interrupt thread", func() C.int { return C.ffwd_intr_park() })
}

// ealInit passes args on. DPDK permutes and keeps argv, so it lives in C for good.
func ealInit(args []string) C.int {
	argv := (*[1 << 16]*C.char)(C.calloc(C.size_t(len(args)+1), C.size_t(unsafe.Sizeof(uintptr(0)))))
	for i, arg := range args {
		argv[i] = C.CString(arg)
	}
	C.ffwd_guard_exit()
	defer C.ffwd_unguard_exit()
	return C.rte_eal_init(C.int(len(args)), &argv[0])
}

func errnoFrom(err error) Errno {
	if number, ok := errors.AsType[unix.Errno](err); ok {
		return Errno(number)
	}
	return 0
}

// allowedCores lists the cores that the calling thread may run on.
func allowedCores() []int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return []int{0}
	}
	cores := make([]int, 0, set.Count())
	for core := 0; len(cores) < set.Count(); core++ {
		if set.IsSet(core) {
			cores = append(cores, core)
		}
	}
	return slices.Clip(cores)
}

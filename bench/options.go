package bench

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// HugePages says what memory both sides take.
type HugePages string

const (
	HugeAuto    HugePages = "auto"    // huge pages if there are enough for every load of the run
	HugeRequire HugePages = "require" // or fail
	HugeOff     HugePages = "off"
)

// Options of a run. A zero field stands for the default named beside it.
type Options struct {
	Scenarios   []string      // names as in Scenarios(); all
	Flows       []int         // numbers of flows to keep; all
	Repetitions int           // of every measurement; 5
	Duration    time.Duration // measured time of one repetition; 2 s
	Warmup      time.Duration // not measured, before that; 1 s, in which every flow is seen many times; more for flows to be established
	Cores       []int         // CPU numbers of the workers; the last two, the last one first
	Seed        uint64        // of the captures

	HugePages        HugePages // HugeAuto
	ReserveHugePages bool      // raise the number of huge pages where there are too few, and lower it at the end; needs root

	// DataRoomBytes is the buffer of one mbuf, headroom included, that ffwd makes for
	// a port with an MTU of MTUBytes; testpmd is given the same. 2176, DPDK's default.
	DataRoomBytes int

	Ffwd    string // path of the command under test; this executable
	Testpmd string // name or path; dpdk-testpmd
	Peers   bool   // also measure l3fwd, ip_fragmentation and rte_hash, with the scenarios that have such a peer
	OVS     bool   // of the peers, also OVS-DPDK
	Source  string // of DPDK's examples; where Debian's dpdk-doc puts it
	Dir     string // for captures and configurations, some 200 MB; a temporary directory

	// Progress is told before each measurement how many of how many are done, and
	// what comes, and at the end that all are done. May be nil.
	Progress func(done, total int, next string)
}

// MTUBytes is the MTU of ffwd's ports in every scenario: enough for the captures'
// frames of 60 bytes, little enough for small mbufs.
const MTUBytes = 128

// What both sides are given alike.
const (
	burst            = 64
	poolCache        = 256
	defaultDataRoom  = 2176 // RTE_MBUF_DEFAULT_BUF_SIZE
	headroomBytes    = 128  // RTE_PKTMBUF_HEADROOM
	defaultTestpmd   = "dpdk-testpmd"
	defaultReps      = 5
	defaultDuration  = 2 * time.Second
	defaultWarmup    = time.Second
	establishing     = 2500 * time.Millisecond // after which answered UDP flows are streams: 2 s, and a round of the capture
	largestFrameSize = 60
)

// ErrNoTestpmd is wrapped by the error of Run on a machine without dpdk-testpmd.
var ErrNoTestpmd = errors.New("dpdk-testpmd is not installed: it comes with the package dpdk (apt-get install dpdk)")

func (o Options) withDefaults() (Options, error) {
	var errs []error
	if o.Repetitions == 0 {
		o.Repetitions = defaultReps
	}
	if o.Duration == 0 {
		o.Duration = defaultDuration
	}
	if o.Warmup == 0 {
		o.Warmup = defaultWarmup
	}
	if o.HugePages == "" {
		o.HugePages = HugeAuto
	}
	if o.DataRoomBytes == 0 {
		o.DataRoomBytes = defaultDataRoom
	}
	if o.Source == "" {
		o.Source = examplesDir
	}
	if o.Testpmd == "" {
		o.Testpmd = defaultTestpmd
	}
	if len(o.Cores) == 0 {
		o.Cores = lastCores(runtime.NumCPU())
	}
	errs = append(errs, checkCores(o.Cores))
	for _, name := range o.Scenarios {
		if !slices.Contains(Scenarios(), name) {
			errs = append(errs, fmt.Errorf("bench: scenario %q is none of %s", name, strings.Join(Scenarios(), ", ")))
		}
	}
	if o.Repetitions < 1 || o.Duration < 0 || o.Warmup < 0 {
		errs = append(errs, fmt.Errorf("bench: %d repetitions of %v after %v: none may be below zero", o.Repetitions, o.Duration, o.Warmup))
	}
	if o.DataRoomBytes < headroomBytes+largestFrameSize || o.DataRoomBytes > 65535 {
		errs = append(errs, fmt.Errorf("bench: data room of %d bytes: want %d to 65535", o.DataRoomBytes, headroomBytes+largestFrameSize))
	}
	if !slices.Contains([]HugePages{HugeAuto, HugeRequire, HugeOff}, o.HugePages) {
		errs = append(errs, fmt.Errorf("bench: huge pages %q: want auto, require or off", o.HugePages))
	}
	if strings.ContainsAny(o.Dir, ", \"") {
		errs = append(errs, fmt.Errorf("bench: directory %q: DPDK takes no comma, space or quote in a device's arguments", o.Dir))
	}
	return o, errors.Join(errs...)
}

// checkCores wants cores that there are for this process, each once.
func checkCores(list []int) error {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return fmt.Errorf("bench: read cpu affinity: %w", err)
	}
	for i, core := range list {
		if !allowed.IsSet(core) || slices.Contains(list[:i], core) {
			return fmt.Errorf("bench: core %d does not exist, is not for this process, or is listed twice: see taskset and nproc", core)
		}
	}
	return nil
}

// lastCores are the cores for the workers: far from core 0, where interrupts go.
func lastCores(cpus int) []int {
	if cpus < 2 {
		return []int{0}
	}
	return []int{cpus - 1, cpus - 2}
}

// findCommands resolves the two programs.
func (o *Options) findCommands() error {
	path, err := exec.LookPath(o.Testpmd)
	if err != nil {
		return fmt.Errorf("bench: %w", errors.Join(ErrNoTestpmd, err))
	}
	o.Testpmd = path
	if o.Ffwd == "" {
		if o.Ffwd, err = os.Executable(); err != nil {
			return fmt.Errorf("bench: find this executable: %w", err)
		}
	}
	return nil
}

package bench

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// testpmd measures dpdk-testpmd in a forwarding mode that does not look at packets
// (io) or only at the Ethernet header (macswap).
func (p *processes) testpmd(ctx context.Context, mode string, s *setup) (sample, error) {
	cmd, cancel := command(ctx, startLimit+s.warmup+s.duration+stopLimit, p.testpmdPath, testpmdArgs(mode, s)...)
	defer cancel()
	output, err := converse(cmd, s.warmup, s.duration)
	if ctx.Err() != nil {
		return sample{}, ctx.Err()
	}
	if err != nil {
		return sample{}, fmt.Errorf("%w: %s", err, complaint(output))
	}
	pps, err := parseTestpmd(output)
	return sample{mpps: pps / 1e6}, err
}

// testpmdArgs is the whole command line. testpmd wants a main lcore that forwards
// nothing; it gets a CPU beside the workers' where there is one, and else shares the
// last worker's, asleep in a read of standard input.
func testpmdArgs(mode string, s *setup) []string {
	lcores := "0@" + strconv.Itoa(mainCore(s.cores, runtime.NumCPU()))
	for i, core := range s.cores {
		lcores += fmt.Sprintf(",%d@%d", i+1, core)
	}
	source, sink := s.devices()
	args := []string{"--lcores", lcores, "--no-pci", "--no-telemetry"}
	if s.huge {
		args = append(args, "--in-memory")
	} else {
		args = append(args, "--no-huge", "--no-shconf", "-m", strconv.Itoa(s.ordinaryMemoryMB()))
	}
	queues := strconv.Itoa(len(s.files))
	return append(args, "--vdev", source, "--vdev", sink, "--",
		"-i", "--auto-start", "--forward-mode="+mode,
		"--burst="+strconv.Itoa(burst),
		"--rxq="+queues, "--txq="+queues, "--nb-cores="+strconv.Itoa(len(s.cores)),
		"--total-num-mbufs="+strconv.Itoa(s.mbufs()),
		"--mbuf-size="+strconv.Itoa(s.dataRoom),
		"--mbcache="+strconv.Itoa(poolCache))
}

// mainCore is a CPU that no worker has, the lowest; or the last worker's.
func mainCore(workers []int, cpus int) int {
	for cpu := range cpus {
		if !slices.Contains(workers, cpu) {
			return cpu
		}
	}
	return workers[len(workers)-1]
}

// parseTestpmd reads the rate since the first "show port stats" from the answer to
// the second. testpmd exits with 0, and counts nothing, also when its port could not
// start.
func parseTestpmd(output string) (pps float64, err error) {
	const label = "Rx-pps:"
	shown := strings.Split(output, label)[1:]
	if len(shown) < 2 {
		return 0, fmt.Errorf("dpdk-testpmd showed its counters %d times, not 2: %s", len(shown), complaint(output))
	}
	fields := strings.Fields(shown[1])
	if len(fields) == 0 {
		return 0, fmt.Errorf("dpdk-testpmd's counters break off: %s", complaint(output))
	}
	if pps, err = strconv.ParseFloat(fields[0], 64); err != nil {
		return 0, fmt.Errorf("dpdk-testpmd's rate: %w", err)
	}
	if pps == 0 {
		return 0, fmt.Errorf("dpdk-testpmd received nothing: %s", complaint(output))
	}
	return pps, nil
}

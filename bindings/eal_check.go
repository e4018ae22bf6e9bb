package bindings

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// check finds the faults that DPDK would exit over, report in ten lines or not at all.
func (o EALOptions) check() error {
	for _, core := range o.MainCores {
		if !CoreOnline(core) {
			return fmt.Errorf("core %d does not exist or is offline: choose among /sys/devices/system/cpu/online (%s)",
				core, sysfsLine("/sys/devices/system/cpu/online"))
		}
	}
	if o.MemoryMB < 0 {
		return fmt.Errorf("memory of %d MB is negative", o.MemoryMB)
	}
	for _, word := range o.Extra {
		if reservedArgument(word) {
			return fmt.Errorf("extra EAL argument %q is refused: it would end the process, or belongs to the huge pages setting", word)
		}
	}
	if !o.HugePages {
		return nil
	}
	freeMB := FreeHugePagesMB()
	need := max(o.MemoryMB, 1)
	if freeMB < need {
		return fmt.Errorf("%d MB of huge pages needed, %d MB free: reserve more with 'echo %d > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages' or run without huge pages",
			need, freeMB, max(512, (need+1)/2))
	}
	return nil
}

// reservedArgument reports whether an EAL argument prints something and exits, or takes
// the memory mode out of our hands. getopt accepts any abbreviation.
func reservedArgument(word string) bool {
	if word == "help" || strings.HasSuffix(word, "=help") { // --log-level=help, --trace=help
		return true
	}
	name, _, _ := strings.Cut(word, "=")
	const shortest = len("--xx")
	for _, reserved := range []string{"--help", "--no-huge", "--in-memory", "--huge-dir", "--huge-unlink", "--proc-type"} {
		if len(name) >= shortest && strings.HasPrefix(reserved, name) {
			return true
		}
	}
	return strings.HasPrefix(strings.TrimLeft(name, "-v"), "h") && !strings.HasPrefix(name, "--") // -h, -vh
}

// FreeHugePagesMB returns how many MiB of huge pages of all sizes and sockets can be
// had. Another process may take them at any time.
func FreeHugePagesMB() int { return freeHugePagesMB("/sys/kernel/mm/hugepages") }

// freeHugePagesMB leaves out pages that are free, but promised to somebody who has not
// touched them yet.
func freeHugePagesMB(root string) int {
	dirs, _ := filepath.Glob(filepath.Join(root, "hugepages-*kB"))
	var kb int
	for _, dir := range dirs {
		size, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(dir), "hugepages-"), "kB"))
		if err != nil {
			continue
		}
		free, err := strconv.Atoi(sysfsLine(filepath.Join(dir, "free_hugepages")))
		if err != nil {
			continue
		}
		promised, _ := strconv.Atoi(sysfsLine(filepath.Join(dir, "resv_hugepages")))
		kb += size * max(free-promised, 0)
	}
	return kb >> 10
}

// explain adds a remedy to what DPDK said about a failed start.
func (o EALOptions) explain(cause string) string {
	if cause == "" {
		cause = "DPDK gives no reason"
	}
	remedies := []struct{ symptom, remedy string }{
		{"unrecognized option", "see 'dpdk-testpmd --help' for the EAL's arguments"},
		{"init memory", o.memoryRemedy()},
		{"hugepage", fmt.Sprintf("%d MB of huge pages are free; reserve more or run without huge pages", FreeHugePagesMB())},
		{"Permission denied", "run as root or with CAP_SYS_ADMIN, CAP_IPC_LOCK and CAP_NET_ADMIN"},
		{"physical addresses", "run as root, or add --iova-mode=va"},
		{"plugin", "see that the DPDK drivers of this release are installed"},
		{"probe devices", "see 'dpdk-devbind.py --status'"},
	}
	for _, r := range remedies {
		if strings.Contains(cause, r.symptom) {
			return cause + ": " + r.remedy
		}
	}
	return cause
}

// memoryRemedy is for memory that was there when it was looked for.
func (o EALOptions) memoryRemedy() string {
	if o.HugePages {
		return fmt.Sprintf("%d MB of huge pages are needed and %d MB are free now, somebody else may have taken the others: reserve more or run without huge pages",
			o.MemoryMB, FreeHugePagesMB())
	}
	return fmt.Sprintf("%d MB are needed: lower the number of mbufs, or see ulimit and cgroup limits", o.MemoryMB)
}

// sysfsLine returns the first line of a small kernel file, or "" if it is not there.
func sysfsLine(path string) string {
	text, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}

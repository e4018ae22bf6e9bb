package e2e

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

var plainChecks = []check{
	{"ping", checkPing},
	{"ping sizes", checkPingSizes},
	{"no route", checkNoRoute}, // before others: Linux answers this kind once a second, less what it spent on other errors
	{"hop limit", checkHopLimit},
	{"udp", checkUDP},
	{"many connections", checkManyConnections},
	{"iperf", checkIperf},
	{"download", checkDownload},
}

// FF-2, FF-7, FF-8, FF-12, FF-14, SP-5
func TestEqualMTUs(t *testing.T) {
	runChecks(t, []variant{kernel, afPacket, afXDP}, topology{}, plainChecks)
}

// The same on huge pages, where there are some.
func TestHugePages(t *testing.T) {
	needRoot(t)
	free := freeHugePages(t)
	const need = 64 // of 2 MiB: a small pool and room to spare
	if free < need {
		t.Skipf("%d huge pages are free, want %d: echo %d >/proc/sys/vm/nr_hugepages", free, need, need)
	}
	runChecks(t, []variant{afPacket, afXDP}, topology{hugePages: "require"}, plainChecks[:3])
}

func freeHugePages(t *testing.T) (n int) {
	t.Helper()
	text, err := os.ReadFile("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
	if err != nil {
		return 0
	}
	n, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}

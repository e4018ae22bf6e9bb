package bindings

import (
	"os"
	"path/filepath"
	"testing"
)

// Pages that are free but promised are nobody else's to take: a start that counted on them
// would end in the middle.
func TestFreeHugePages(t *testing.T) {
	root := t.TempDir()
	for dir, counts := range map[string][2]string{
		"hugepages-2048kB":    {"200", "190"},
		"hugepages-1048576kB": {"3", "1"},
		"hugepages-64kB":      {"5", "7"}, // read one after the other
		"hugepages-32768kB":   {"x", "0"},
	} {
		at := filepath.Join(root, dir)
		if err := os.Mkdir(at, 0o755); err != nil {
			t.Fatal(err)
		}
		for i, file := range []string{"free_hugepages", "resv_hugepages"} {
			if err := os.WriteFile(filepath.Join(at, file), []byte(counts[i]+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, want := freeHugePagesMB(root), 2*10+1024*2; got != want {
		t.Errorf("%d MB, want %d", got, want)
	}
	if got := freeHugePagesMB(filepath.Join(root, "none")); got != 0 {
		t.Errorf("%d MB where there are none", got)
	}
}

// A thread is found by the name that the kernel has for it.
func TestThreadRuns(t *testing.T) {
	if own := sysfsLine("/proc/self/comm"); !threadRuns(own) || threadRuns(own+"?") {
		t.Errorf("%q runs, and %q does not", own, own+"?")
	}
}

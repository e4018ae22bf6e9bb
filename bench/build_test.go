//go:build cgo

package bench

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

// These tests compile C with DPDK's headers: not where tests do without a compiler.

// Each patch fits the source that is installed, and what comes out compiles.
func TestExamplesBuild(t *testing.T) {
	dir := t.TempDir()
	for i := range examples {
		e := &examples[i]
		path, err := e.build(context.Background(), examplesDir, dir)
		if err != nil {
			t.Errorf("%s: %v", e.name, err)
		} else if info, err := os.Stat(path); err != nil || info.Mode()&0o100 == 0 {
			t.Errorf("%s: %v, %v", e.name, info, err)
		}
	}
}

// rte_hash takes the same keys. The packages to build with DPDK are there wherever
// the tests run.
func TestHashProgram(t *testing.T) {
	dir := t.TempDir()
	program, err := buildHash(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	p := &processes{programs: map[string]string{hashProgram: program}, dir: dir, seed: 1}
	s := &setup{load: load{flows: 1000, workers: 1}, cores: []int{0}, duration: 10 * time.Millisecond}
	m, err := p.hash(context.Background(), 1000, s)
	if err != nil || m.insertNs <= 0 || m.lookupNs <= 0 || m.lookupNs > 1e5 {
		t.Errorf("%+v, %v", m, err)
	}
	if err := os.WriteFile(dir+"/2000.keys", make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.hash(context.Background(), 2000, s); err == nil || !strings.Contains(err.Error(), "does not hold 2000 keys") {
		t.Errorf("short file: %v", err)
	}
}

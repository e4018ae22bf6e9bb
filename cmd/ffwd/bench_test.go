package main

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A measurement that is broken off says so, and leaves nothing.
func TestBenchInterrupted(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, ffwd, "bench", "--only", "stateless", "--flows", "1000", "--huge-pages", "off", "--seconds", "600", "--dir", dir)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	left := func() []string {
		paths, _ := filepath.Glob(filepath.Join(dir, "*"))
		return paths
	}
	for len(left()) == 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	cmd.Process.Signal(syscall.SIGINT)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitFault || errs.String() != "bench: interrupted\n" || len(left()) != 0 {
		t.Errorf("exit code %d, left %v:\n%s", code, left(), errs.String())
	}
}

package e2e

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"testing"

	"ffwd/capture"
)

// A switch that loses an mbuf, or forgets to count a packet, says what is missing and
// exits with 3; as long as neither happens, with 0. FF-12
func TestFaultsAreTold(t *testing.T) {
	sound := ffwd
	ffwd = filepath.Join(t.TempDir(), "ffwd")
	defer func() { ffwd = sound }()
	if out, err := exec.Command("go", "build", "-tags", "ffwd_faults", "-o", ffwd, "../cmd/ffwd").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var clean, broken bytes.Buffer
	if _, err := (capture.Spec{Protocol: capture.Mix, Seed: 1, Flows: 20, Packets: 200}).Write(&clean); err != nil {
		t.Fatal(err)
	}
	if _, err := capture.Demo(&broken, 1); err != nil { // among others one packet of either kind
		t.Fatal(err)
	}
	f := &files{routes: captureRoutes, burst: 64}
	f.run(t, clean.Bytes())

	p := f.launch(t, broken.Bytes())
	p.wait(t)
	if code := p.cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	wantMatch(t, p.stderr.String(), `(?m)^mbuf leak: 1 of \d+ mbufs of pool \S+ are missing$`)
	wantMatch(t, p.stderr.String(), `(?m)^packet conservation violated: `)
	wantMatch(t, p.stdout.String(), `"received":700`)
	p.checkNothingLeft(t)
}

package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"ffwd/control"
)

// decodeReport reads the one JSON object that run printed, and checks FF-12.
func decodeReport(t *testing.T, r result) control.Report {
	t.Helper()
	if r.code != exitOK {
		t.Fatalf("exit code %d:\n%s", r.code, r.stderr)
	}
	var report control.Report
	d := json.NewDecoder(strings.NewReader(r.stdout))
	d.DisallowUnknownFields()
	if err := d.Decode(&report); err != nil {
		t.Fatalf("%v in %q", err, r.stdout)
	}
	if d.More() {
		t.Fatalf("more than one object: %q", r.stdout)
	}
	checkConservation(t, &report)
	return report
}

// FF-12
func checkConservation(t *testing.T, r *control.Report) {
	t.Helper()
	in := int64(r.Received + r.Created)
	out := int64(r.Transmitted) + r.Held
	for _, counts := range []map[string]uint64{r.Drops, r.Punts} {
		for _, n := range counts {
			out += int64(n)
		}
	}
	if in != out {
		t.Errorf("received %d + created %d is not transmitted %d + dropped %v + punted %v + held %d",
			r.Received, r.Created, r.Transmitted, r.Drops, r.Punts, r.Held)
	}
}

// packetsIn counts the packets of a pcap file.
// Source: draft-ietf-opsawg-pcap, file header of 24 and record header of 16 bytes.
func packetsIn(t *testing.T, path string) (n int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for b = b[24:]; len(b) >= 16; n++ {
		b = b[16+binary.LittleEndian.Uint32(b[8:]):]
	}
	return n
}

func TestCaptureInCaptureOut(t *testing.T) {
	b := newBed(t)
	r := call(t, "run", "-c", b.config("c.toml"), "--json", "--idle-exit", "200ms")
	report := decodeReport(t, r)
	if report.Received != bedPackets || report.Transmitted != bedPackets || report.Held != 0 {
		t.Errorf("received %d, transmitted %d, held %d, want %d of both and 0", report.Received, report.Transmitted, report.Held, bedPackets)
	}
	if n := packetsIn(t, b.path("out.pcap")); n != bedPackets {
		t.Errorf("%d packets in the output, want %d", n, bedPackets)
	}
	if report.Flows.IPv4 != bedFlows || report.Flows.Created != bedFlows {
		t.Errorf("%d flows, %d created, want %d", report.Flows.IPv4, report.Flows.Created, bedFlows)
	}
	if p := report.Ports[1]; p.Name != "out" || p.TxPackets != bedPackets {
		t.Errorf("port %s sent %d packets", p.Name, p.TxPackets)
	}
	b.leftBehind(r.pid)
}

// With two workers and one queue, packets go over handoff rings; none is lost or
// left behind.
func TestHandoffDrains(t *testing.T) {
	if len(usableCores()) < 2 {
		t.Skip("needs two cores")
	}
	b := newBed(t)
	config := b.config("c.toml", "cores = ["+usableCores()[len(usableCores())-1]+"]", "cores = [0, 1]")
	report := decodeReport(t, call(t, "run", "-c", config, "--json", "--idle-exit", "300ms"))
	handedOver := report.Workers[0].HandedOver
	if handedOver == 0 || handedOver == bedPackets || report.Workers[1].TakenOver != handedOver {
		t.Errorf("%d handed over, %d taken over, of %d", handedOver, report.Workers[1].TakenOver, bedPackets)
	}
	if report.Transmitted != bedPackets {
		t.Errorf("%d transmitted, want %d; drops %v", report.Transmitted, bedPackets, report.Drops)
	}
}

func TestWarmupIsLeftOut(t *testing.T) {
	b := newBed(t)
	// The capture is over before the warm-up is.
	report := decodeReport(t, call(t, "run", "-c", b.config("c.toml"), "--json", "--warmup", "500ms", "--duration", "200ms"))
	if report.Received != 0 || report.Flows.Created != 0 {
		t.Errorf("%d received, %d flows created after the warm-up, want none", report.Received, report.Flows.Created)
	}
	if report.Flows.IPv4 != bedFlows {
		t.Errorf("%d flows, want %d: a level, not a count", report.Flows.IPv4, bedFlows)
	}
	if report.DurationS < 0.2 || report.DurationS > 5 {
		t.Errorf("duration %v s, want 0.2 and a bit", report.DurationS)
	}
}

func TestSignalsStopWithinTwoSeconds(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		b := newBed(t)
		p := b.start(b.config("c.toml", b.endless()...), "--json")
		start := time.Now()
		p.cmd.Process.Signal(sig)
		report := decodeReport(t, p.wait())
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%v: took %v", sig, took)
		}
		if report.Received == 0 {
			t.Errorf("%v: nothing was received", sig)
		}
	}
}

// Without --json and a terminal, totals for people are all that is on stdout.
func TestPlainTotals(t *testing.T) {
	b := newBed(t)
	r := call(t, "run", "-c", b.config("c.toml"), "--idle-exit", "200ms")
	if r.code != exitOK || !strings.Contains(r.stdout, "received 1000 + created 0 = transmitted 1000") || strings.Contains(r.stdout, "\x1b") {
		t.Errorf("exit code %d, stdout:\n%s", r.code, r.stdout)
	}
}

func TestHangupReloads(t *testing.T) {
	b := newBed(t)
	p := b.start(b.config("c.toml", b.endless()...), "--json")
	b.config("c.toml", append(b.endless(), "mac = \"02:00:00:00:01:02\"", "mac = \"02:00:00:00:01:03\"")...)
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.awaitLog("changes=1")
	p.cmd.Process.Signal(syscall.SIGTERM)
	decodeReport(t, p.wait())
}

// Whoever reads the log may go, as a pipe's reader does: forwarding goes on, and the end is
// an orderly one.
func TestLogReaderMayGo(t *testing.T) {
	b := newBed(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read.Close()
	defer write.Close()
	c := exec.Command(ffwd, "run", "-c", b.config("c.toml", b.endless()...), "--duration", "100ms", "--json")
	c.Stderr = write
	out, err := c.Output()
	if err != nil || !strings.Contains(string(out), `"received":`) {
		t.Errorf("%v: %s", err, out)
	}
	b.leftBehind(c.Process.Pid)
}

// However many hangups pile up while a configuration is read that takes long, here one that nobody writes, a
// signal to end is neither lost nor has to wait for all of them.
func TestHangupsDoNotHideTheEnd(t *testing.T) {
	b := newBed(t)
	config := b.config("c.toml", b.endless()...)
	p := b.start(config, "--json")
	if err := errors.Join(os.Remove(config), syscall.Mkfifo(config, 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		p.cmd.Process.Signal(syscall.SIGHUP)
		time.Sleep(2 * time.Millisecond) // or they are one
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	for late := time.Now().Add(limit); time.Now().Before(late); {
		if f, err := os.OpenFile(config, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil { // somebody reads it
			f.Close()
		}
		select {
		case <-p.ended:
			decodeReport(t, p.wait())
			return
		case <-time.After(time.Millisecond):
		}
	}
	t.Errorf("it goes on:\n%s", p.log.String())
}

package main

import (
	"bufio"
	"io"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"ffwd/control"
)

// CT-10: what the switch tracks is listed, counted and deleted by filters.
func TestCt(t *testing.T) {
	b := newBed(t)
	config := b.config("c.toml")
	p := b.start(config)
	b.awaitReceived(bedPackets)
	run := func(want int, args ...string) string {
		t.Helper()
		r := call(t, append(append([]string{"ct"}, args...), "-c", config)...)
		if r.code != want {
			t.Errorf("ct %v: exit code %d, want %d:\n%s%s", args, r.code, want, r.stdout, r.stderr)
		}
		return r.stdout
	}
	lines := strings.Split(strings.TrimSpace(run(exitOK, "list")), "\n")
	if len(lines) != bedFlows || !strings.HasPrefix(lines[0], "ipv4     2 udp      17 ") || !strings.Contains(lines[0], " [UNREPLIED] src=") {
		t.Errorf("%d lines, the first: %s", len(lines), lines[0])
	}
	if out := run(exitOK, "list", "--limit", "3", "--json"); strings.Count(out, `"protocol": "udp"`) != 3 {
		t.Errorf("3 flows: %s", out)
	}
	if out := run(exitOK, "count"); strings.TrimSpace(out) != "100" {
		t.Errorf("count: %s", out)
	}
	if out := run(exitOK, "count", "--proto", "tcp"); strings.TrimSpace(out) != "0" {
		t.Errorf("count of TCP: %s", out)
	}
	_, rest, _ := strings.Cut(lines[0], "sport=")
	port, _, _ := strings.Cut(rest, " ")
	_, rest, _ = strings.Cut(lines[0], "src=")
	src, _, _ := strings.Cut(rest, " ")
	if out := run(exitOK, "delete", "--src", src, "--sport", port); !strings.HasPrefix(out, "1 deleted") {
		t.Errorf("delete of %s port %s: %s", src, port, out)
	}
	run(exitUsage, "delete")
	run(exitUsage, "count", "--state", "OPEN")
	events := exec.Command(p.cmd.Path, "ct", "events", "--proto", "udp", "-c", config)
	out, err := events.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	events.Env = p.cmd.Env
	if err := events.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { events.Process.Kill(); events.Wait() }()
	seen := make(chan string, 2)
	read := func(from io.Reader) {
		line, _ := bufio.NewReader(from).ReadString('\n')
		seen <- line
	}
	go read(out)
	second := exec.Command(p.cmd.Path, "ct", "events", "-c", config) // at the same time
	other, err := second.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	second.Env = p.cmd.Env
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { second.Process.Kill(); second.Wait() }()
	go read(other)
	for lines := 0; lines < 2; { // one goes at a time until both readers are there
		if out := run(exitOK, "list", "--limit", "1"); out == "" {
			t.Fatal("all flows went, and no event came")
		} else {
			_, rest, _ := strings.Cut(out, "sport=")
			port, _, _ := strings.Cut(rest, " ")
			run(exitOK, "delete", "--sport", port)
		}
		select {
		case line := <-seen:
			lines++
			if !strings.HasPrefix(line, "[DESTROY] ipv4     2 udp ") {
				t.Errorf("event: %q", line)
			}
		default:
		}
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	if r := p.wait(); r.code != exitOK {
		t.Errorf("exit code %d:\n%s", r.code, r.stderr)
	}
}

// CT-10: lines are those of conntrack -L -o extended. Source: the output of conntrack 1.4.7.
func TestFlowLine(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	for want, f := range map[string]control.FlowStatus{
		"ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1024 dport=80 packets=3 bytes=200 src=10.0.0.2 dst=10.0.0.1 sport=80 dport=1024 packets=2 bytes=100 [ASSURED] mark=7 zone=5 use=1": {
			Family: "ipv4", Protocol: "tcp", ProtocolNumber: 6, State: "ESTABLISHED", Original: control.Tuple{Src: a, Dst: b, SrcPort: 1024, DstPort: 80},
			Reply: control.Tuple{Src: b, Dst: a, SrcPort: 80, DstPort: 1024}, Packets: [2]uint64{3, 2}, Bytes: [2]uint64{200, 100},
			Mark: 7, Zone: 5, Replied: true, Assured: true, ExpiresS: 431999.5},
		"ipv4     2 icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=9 packets=1 bytes=84 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=9 packets=0 bytes=0 mark=0 use=1": {
			Family: "ipv4", Protocol: "icmp", ProtocolNumber: 1, State: "QUERY", Original: control.Tuple{Src: a, Dst: b, SrcPort: 9, DstPort: 9},
			Reply: control.Tuple{Src: b, Dst: a, SrcPort: 9, DstPort: 9}, ICMP: &control.ICMPQuery{Type: 8, ID: 9}, Packets: [2]uint64{1}, Bytes: [2]uint64{84}, ExpiresS: 29.9},
		"ipv4     2 unknown  89 599 src=10.0.0.1 dst=10.0.0.2 packets=1 bytes=20 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 packets=0 bytes=0 mark=0 use=1": {
			Family: "ipv4", Protocol: "89", ProtocolNumber: 89, State: "NONE", Original: control.Tuple{Src: a, Dst: b}, Reply: control.Tuple{Src: b, Dst: a},
			Packets: [2]uint64{1}, Bytes: [2]uint64{20}, ExpiresS: 599.9},
	} {
		if got := flowLine(&f); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

package main

import (
	"strings"
	"testing"
	"time"

	"ffwd/conf"
	"ffwd/control"
)

// Tables fit a terminal of 120 columns with the counters of a busy year in them, and
// names that are no longer than usual.
func TestTablesFitATerminal(t *testing.T) {
	const columns, much, many = 120, uint64(1e15), uint64(1e12)
	outcomes := map[string]uint64{}
	for _, o := range []string{"confirmed", "joined", "reevaluated", "stale", "dropped", "taken", "expired", "bypassed", "failed_open", "refused", "moved"} {
		outcomes[o] = many
	}
	tcp := map[string]conf.Duration{}
	for _, state := range []string{"close", "close_wait", "established", "fin_wait", "last_ack", "max_retrans", "syn_recv", "syn_sent", "unacknowledged"} {
		tcp[state] = conf.Duration(120 * time.Hour)
	}
	port := control.PortStatus{
		PortReport: control.PortReport{
			Name: "upstream0", RxPackets: many, RxBytes: much, RxMissed: many, TxPackets: many, TxBytes: much, TxDropped: many,
		},
		Driver: "net_virtio_user", Steering: "software",
		Interfaces: []control.InterfaceStatus{{Name: "upstream0", MAC: "02:00:00:00:01:02", MTU: 9000, TAP: "upstream0"}},
	}
	var out strings.Builder
	for name, print := range map[string]func() error{
		"ports": func() error { return printPorts(&out, []control.PortStatus{port}) },
		"queues": func() error {
			return printQueues(&out, []control.QueueReport{{Number: 65535, Listening: true, PID: 4194304, Packets: 1 << 20, Bytes: 1 << 30, Offered: many, Outcomes: outcomes, Stalls: 1e6}})
		},
		"timeouts": func() error {
			return printTimeouts(&out, []control.TimeoutStatus{{Name: "subscribers", Family: "ipv4", Protocol: "tcp", Timeouts: tcp, References: 1e9, Flows: 1e9, Rules: 1e4, Queued: 1e4}})
		},
	} {
		out.Reset()
		if err := print(); err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(out.String()) {
			if n := len(strings.TrimRight(line, "\n")); n > columns {
				t.Errorf("%s: %d columns:\n%s", name, n, line)
			}
		}
	}
}

// A shell completes commands, flags and files, the latter where a file is wanted.
func TestCompletion(t *testing.T) {
	for args, want := range map[string]string{
		"show p":            "ports\tPorts, their links and counters",
		"ct list --reply-s": "--reply-src\t",
		"run -c ":           ":0",
		"show ports --json": ":4",
		"show ports ":       ":4",
	} {
		if r := call(t, append([]string{"__complete"}, strings.Split(args, " ")...)...); !strings.Contains(r.stdout, want) {
			t.Errorf("%q: no %q in\n%s", args, want, r.stdout)
		}
	}
	if r := call(t, "--version"); r.code != exitOK || !strings.HasPrefix(r.stdout, "ffwd ") {
		t.Errorf("--version: exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
}

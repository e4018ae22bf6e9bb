package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"ffwd/conf"
	"ffwd/control"
)

// FF-12: scripts tell by the exit code what went wrong. Errors of Start and Stop come
// joined and wrapped; what is unaccounted for outweighs a port that would not close.
func TestExitCodes(t *testing.T) {
	fault := errors.New("port wan: close")
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{fault, 1},
		{fmt.Errorf("%w: worker 0 on core 0 did not end in time", control.ErrStuck), 1},
		{usageError{errors.New("unknown flag")}, 2},
		{fmt.Errorf("ffwd.toml: %w", conf.Faults{{Path: "ports[0].mtu", Message: "60 is below 68"}}), 2},
		{errors.Join(nil, fmt.Errorf("%w: 1 of 8191 mbufs of pool mbufs are missing", control.ErrLeak)), 3},
		{errors.Join(fault, fmt.Errorf("%w: worker 0", control.ErrConservation)), 3},
	} {
		if got := exitCode(tc.err); got != tc.want {
			t.Errorf("%v: exit code %d, want %d", tc.err, got, tc.want)
		}
	}
}

// A configuration without a socket cannot be asked by it, and the error says which key
// would make one.
func TestNoSocket(t *testing.T) {
	b := newBed(t)
	config := b.config("c.toml", "socket = \""+b.path("run/ffwd.sock")+"\"", "socket = \"\"\nqueue_socket = \"\"")
	for want, args := range map[string][]string{
		"set control.socket":       {"show", "ports", "-c", config},
		"set control.queue_socket": {"queue", "listen", "--accept", "-c", config},
	} {
		if r := call(t, args...); r.code != exitUsage || !strings.Contains(r.stderr, want) {
			t.Errorf("%v: exit code %d, want %d and %q: %s", args, r.code, exitUsage, want, r.stderr)
		}
	}
}

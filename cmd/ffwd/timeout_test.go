package main

import (
	"strings"
	"testing"
)

// TO-1, TO-2, TO-5, TO-7: policies come and go by the command line.
func TestTimeout(t *testing.T) {
	b := newBed(t)
	b.start(b.config("c.toml", b.endless()...))
	socket := b.path("run/ffwd.sock")
	for _, tc := range []struct {
		args string
		code int
		want string // on standard output, or on standard error for a code that is not 0
	}{
		{"list", exitOK, "name  family"},
		{"list x", exitUsage, "unexpected argument"},
		{"add web --family ipv4 --protocol tcp established=2h close=5s", exitOK, "close=5s close_wait=1m established=2h"},
		{"add web --family ipv4 --protocol tcp", exitFault, `timeout policy "web" exists`},
		{"replace web --family ipv4 --protocol udp", exitFault, "has another family or protocol"},
		{"replace web --family ipv4 --protocol tcp close=7s", exitOK, "close=7s close_wait=1m established=120h"},
		{"replace dns --family ipv6 --protocol udp unreplied=3s", exitOK, "replied=2m unreplied=3s"},
		{"list", exitOK, "dns    ipv6       udp   live"},
		{"list --json", exitOK, `"protocol": "tcp"`},
		{"add", exitUsage, "no policy named"},
		{"add established=2h", exitUsage, "no policy named"},
		{"add a --family ipv4 --protocol tcp established", exitUsage, "is not STATE=DURATION"},
		{"add a --family ipv4 --protocol tcp established=1", exitUsage, "established: \"1\" is not a duration"},
		{"add a --family ipv4 --protocol tcp close=1s close=2s", exitUsage, "close is given twice"},
		{"add a --family ipv4 --protocol tcp close=0s", exitUsage, "timeouts.close: 0s is below 1ms"},
		{"add a --family ipv4 --protocol udp close=1s", exitUsage, "timeouts.close: is no timeout of udp"},
		{"add a --protocol udp", exitUsage, "family: is missing"},
		{"del", exitUsage, "want the name of one policy"},
		{"del web --all", exitUsage, "want the name of one policy"},
		{"del other", exitFault, "does not exist"},
		{"del web", exitOK, "web deleted"},
		{"del --all --json", exitOK, `"dns"`},
		{"remove", exitUsage, "unknown command"},
	} {
		args := append([]string{"timeout"}, strings.Fields(tc.args)...)
		if tc.args != "remove" {
			args = append(args, "--socket", socket)
		}
		r := call(t, args...)
		out := r.stdout
		if tc.code != exitOK {
			out = r.stderr
		}
		if r.code != tc.code || !strings.Contains(out, tc.want) {
			t.Errorf("%s: exit code %d, want %d with %q in\n%s%s", tc.args, r.code, tc.code, tc.want, r.stdout, r.stderr)
		}
	}
}

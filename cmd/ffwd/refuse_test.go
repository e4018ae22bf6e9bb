package main

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
)

// usableCores lists cores that a test may name.
func usableCores() []string {
	list := make([]string, runtime.NumCPU())
	for i := range list {
		list[i] = fmt.Sprint(i)
	}
	return list
}

// A switch that cannot start says why in one line, exits with the right code and
// leaves nothing behind.
func TestRefusals(t *testing.T) {
	b := newBed(t)
	core := "cores = [" + usableCores()[runtime.NumCPU()-1] + "]"
	inUse, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inUse.Close()
	cases := []struct {
		name  string
		pairs []string
		code  int
		want  string
	}{
		{"no such core", []string{core, "cores = [1000]"}, exitFault, "core 1000 does not exist"},
		{"no such device", []string{"net_pcap1,", "net_pcpa1,"}, exitFault, "net_pcpa1"},
		{"no such capture", []string{"in.pcap", "nowhere.pcap"}, exitFault, "nowhere.pcap"},
		{"no such pci device", []string{"net_pcap1,rx_pcap=" + b.dir + "/empty.pcap,tx_pcap=" + b.dir + "/out.pcap", "ffff:1f:1f.7"}, exitFault, "ffff:1f:1f.7"},
		{"bad device argument", []string{"rx_pcap=", "rx_pacp="}, exitFault, "rx_pacp"},
		{"bad key", []string{"mbufs = 8191", "mbuffs = 8191"}, exitUsage, "mbuffs"},
		{"bad value", []string{"mbufs = 8191", "mbufs = 1"}, exitUsage, "pool.mbufs"},
		{"metrics address in use", []string{"127.0.0.1:0", inUse.Addr().String()}, exitFault, "metrics.address"},
		{"socket is a file", []string{"/run/ffwd.sock", "/in.pcap"}, exitFault, "is no socket"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			r := call(t, "run", "-c", b.config("c.toml", append(tc.pairs, "[workers]", "[log]\nlevel = \"error\"\n[workers]")...), "--duration", "100ms")
			if r.code != tc.code || !strings.Contains(r.stderr, tc.want) || strings.Count(r.stderr, "\n") != 1 || r.stdout != "" {
				t.Errorf("exit code %d, want %d and one line with %q; stderr:\n%sstdout:\n%s", r.code, tc.code, tc.want, r.stderr, r.stdout)
			}
			b.leftBehind(r.pid)
		})
	}
}

func TestUsage(t *testing.T) {
	b := newBed(t)
	faulty := b.config("faulty.toml", "mbufs = 8191", "mbuffs = 1", "prefix = \"0.0.0.0/0\"", "prefix = \"0.0.0.1/0\"")
	cases := []struct {
		args  []string
		code  int
		lines int
	}{
		{[]string{"run"}, exitUsage, 1},
		{[]string{"run", "-c", b.path("nowhere.toml")}, exitUsage, 1},
		{[]string{"run", "-c", faulty}, exitUsage, 2},
		{[]string{"check", "-c", faulty}, exitUsage, 2},
		{[]string{"run", "--no-such-flag"}, exitUsage, 1},
		{[]string{"run", "-c", faulty, "extra"}, exitUsage, 1},
		{[]string{"run", "-c", faulty, "--duration", "-1s"}, exitUsage, 1},
		{[]string{"rnu"}, exitUsage, 1},
		{[]string{"show", "nothing"}, exitUsage, 1},
		{[]string{"show", "ports", "--socket", b.path("nobody.sock")}, exitFault, 1},
		{[]string{"capture"}, exitUsage, 1},
		{[]string{"capture", "--out", b.path("x"), "--vlan", "5"}, exitUsage, 1},
		{[]string{"capture", "--out", b.path("x"), "--flows", "-1"}, exitUsage, 1},
		{[]string{"bench", "--only", "fast"}, exitFault, 1},
		{[]string{"bench", "--cores", "1023"}, exitFault, 1},
	}
	for _, tc := range cases {
		r := call(t, tc.args...)
		if r.code != tc.code || strings.Count(r.stderr, "\n") != tc.lines || r.stdout != "" {
			t.Errorf("ffwd %v: exit code %d, want %d; want %d lines, stderr:\n%s", tc.args, r.code, tc.code, tc.lines, r.stderr)
		}
	}
}

// What check prints is a configuration that check accepts, and prints again.
func TestCheckPrintsTheEffectiveConfiguration(t *testing.T) {
	b := newBed(t)
	first := call(t, "check", "-c", b.config("c.toml"))
	b.write("again.toml", []byte(first.stdout))
	again := call(t, "check", "-c", b.path("again.toml"))
	if first.code != exitOK || again.stdout != first.stdout || !strings.Contains(first.stdout, "burst = 64") {
		t.Errorf("exit code %d\n%s\n%s", first.code, first.stdout, again.stdout)
	}
}

func TestVersion(t *testing.T) {
	r := call(t, "version")
	if r.code != exitOK || !strings.Contains(r.stdout, "DPDK 2") || !strings.Contains(r.stdout, runtime.Version()) {
		t.Errorf("exit code %d: %s", r.code, r.stdout)
	}
}

// The Makefile tells the linker; without it, whatever the build recorded.
func TestModuleVersion(t *testing.T) {
	defer func(before string) { version = before }(version)
	version = "v1.2-3-gabcdef"
	if got := moduleVersion(); got != version {
		t.Errorf("%q, want %q", got, version)
	}
	if version = ""; moduleVersion() == "" {
		t.Error("no version")
	}
}

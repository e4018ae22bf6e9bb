package bench

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestOVSSettings(t *testing.T) {
	s := testSetup()
	s.files, s.cores = s.files[:1], []int{3}
	got := strings.Join(ovsSettings(s), " ")
	want := "init -- set Open_vSwitch . other_config:dpdk-init=true other_config:dpdk-lcore-mask=0x1 other_config:pmd-cpu-mask=0x8" +
		` other_config:dpdk-extra="--no-pci --in-memory --vdev net_pcap0,rx_pcap=/d/a.pcap,infinite_rx=1 --vdev net_null0,no-rx=1"`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	s.huge = false
	if _, err := (&processes{dir: t.TempDir()}).ovs(context.Background(), s); err == nil || !strings.Contains(err.Error(), "huge pages") {
		t.Errorf("without huge pages: %v", err)
	}
}

// What OVS cannot hold, and what was not asked for, is not measured.
func TestOVSWhereItCan(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		want bool
	}{
		"asked for":    {Options{Peers: true, OVS: true, Flows: []int{60_000}, Cores: []int{1}}, true},
		"not":          {Options{Peers: true, Flows: []int{60_000}, Cores: []int{1}}, false},
		"no peers":     {Options{OVS: true, Flows: []int{60_000}, Cores: []int{1}}, false},
		"too many":     {Options{Peers: true, OVS: true, Flows: []int{1_000_000}, Cores: []int{1}}, false},
		"another load": {Options{Peers: true, OVS: true, Scenarios: []string{stateless}, Cores: []int{1}}, false},
	} {
		got := false
		for _, g := range chosen(&c.o) {
			for _, of := range peersOf(g) {
				got = got || of.name == ovsCt
				if of.name == "" {
					t.Errorf("%s: a peer without a name", name)
				}
			}
		}
		if got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestOVSDaemonsEnd(t *testing.T) {
	o := &openVswitch{dir: t.TempDir(), env: os.Environ()}
	s := testSetup()
	for _, script := range []string{"exec sleep 100"} {
		if _, err := o.start(context.Background(), s, 0, program(t, script)); err != nil {
			t.Fatal(err)
		}
	}
	pid := o.children[0].Process.Pid
	if err := o.stop(); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d: %v", pid, err)
	}
	if _, err := o.start(context.Background(), s, 0, "ovsdb-server-that-is-not-there"); !errors.Is(err, ErrNoOVS) {
		t.Errorf("no program: %v", err)
	}
	if err := o.run(context.Background(), "in", program(t, "cat >&2; exit 3")); err == nil || !strings.Contains(err.Error(), "exit status 3: in") {
		t.Errorf("a command that fails: %v", err)
	}
}

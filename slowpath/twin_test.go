package slowpath

import (
	"strings"
	"testing"
)

// A twin is what its port is, though the namespace has IPv6 off by default. SP-1
func TestTwinIsLikeItsPort(t *testing.T) {
	ns := newNetns(t)
	s, _ := start(t, ns)
	for _, twin := range s.Twins() {
		if err := twin.SetCarrier(true); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string][]string{
		"lan":     {"mtu 1500", "link/ether 02:00:00:00:01:01", "inet 10.1.1.1/24 brd 10.1.1.255", "inet6 fd01:1::1/64", "inet6 fe80::ff:fe00:101/64", "LOWER_UP"},
		"wan.100": {"mtu 1400", "link/ether 02:00:00:00:02:01", "inet 10.2.2.1/24", "inet6 fd01:2::1/64", "LOWER_UP"},
	} {
		got := in(t, ns, "ip", "addr", "show", "dev", name)
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s has no %q:\n%s", name, w, got)
			}
		}
		if strings.Contains(got, "tentative") {
			t.Errorf("%s does not answer at once:\n%s", name, got)
		}
		for _, s := range twinSysctls {
			key := strings.Join([]string{"net", s.family, "conf", strings.ReplaceAll(name, ".", "/"), s.key}, ".")
			if got := strings.TrimSpace(in(t, ns, "sysctl", "-n", key)); got != s.value {
				t.Errorf("%s is %s, want %s", key, got, s.value)
			}
		}
		if offloads := in(t, ns, "ethtool", "-k", name); !strings.Contains(offloads, "tx-checksumming: off") ||
			!strings.Contains(offloads, "tcp-segmentation-offload: off") {
			t.Errorf("%s leaves work to hardware:\n%s", name, offloads)
		}
	}
	if err := s.Twin(lanIface).SetCarrier(false); err != nil {
		t.Fatal(err)
	}
	if got := in(t, ns, "ip", "link", "show", "dev", "lan"); !strings.Contains(got, "NO-CARRIER") {
		t.Errorf("the link is down and the twin's is not:\n%s", got)
	}
}

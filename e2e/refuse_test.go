package e2e

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// refuseLimit is when a switch that cannot start must have said so.
const refuseLimit = 5 * time.Second

// What cannot start says why and what to do in one line, and leaves nothing.
func TestRefusals(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name      string
		core      string
		hugePages string
		more      string // of the file
		device    string
		want      []string // what is wrong, and what to do
	}{
		{name: "no such driver", device: "net_foo0", want: []string{"net_foo0", "try one of"}},
		{name: "no such pci device", device: "ffff:1f:1f.7", want: []string{"ffff:1f:1f.7", "dpdk-devbind.py"}},
		{name: "no such veth", device: "net_af_packet0,iface=nowhere", want: []string{"nowhere", "ip link"}},
		{name: "no such veth for xdp", device: "net_af_xdp0,iface=nowhere", want: []string{"nowhere", "ip link"}},
		{name: "no interface", device: "net_af_packet0", want: []string{"iface="}},
		{name: "no such capture", device: "net_pcap0,rx_pcap=nowhere.pcap", want: []string{"nowhere.pcap"}},
		{name: "bad device argument", device: "net_af_packet0,iface=r0,framesize=4096", want: []string{"framesize", "framesz"}},
		{name: "wrong core", core: "1000", want: []string{"core 1000", "choose among"}},
		{name: "core twice", core: "0, 0", want: []string{"core 0", "twice"}},
		{name: "bad key", more: "[pool]\nmbuffs = 1\n", want: []string{"ffwd.toml:13", "mbuffs", `did you mean "mbufs"`}},
		{name: "bad value", more: "[pool]\nmbufs = -1\n", want: []string{"ffwd.toml:13", "pool.mbufs"}},
		{name: "too few huge pages", hugePages: "require", more: "[pool]\nmbufs = 64000000\n", want: []string{"huge pages", "nr_hugepages"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNamespace(t, "router")
			n.ip("link add r0 type veth peer name r1", "link set r0 up", "link set r1 up")
			dir := t.TempDir()
			device := c.device
			if device == "" {
				device = "net_af_packet0,iface=r0"
			}
			core, hugePages := c.core, c.hugePages
			if core == "" {
				core = fmt.Sprint(workerCore)
			}
			if hugePages == "" {
				hugePages = "off"
			}
			config := writeFile(t, dir, "ffwd.toml", fmt.Appendf(nil, `
[eal]
huge_pages = %q
[workers]
cores = [%s]
[slow_path]
enabled = "off"
[control]
socket = "%s/ffwd.sock"
[metrics]
address = ""
%s
[[ports]]
name = "lan"
device = %q
addresses = ["10.1.1.1/24"]
`, hugePages, core, dir, c.more, device))
			start := time.Now()
			p := launch(t, n, config)
			p.wait(t)
			if took := time.Since(start); took > refuseLimit {
				t.Errorf("took %v", took)
			}
			code, text := p.cmd.ProcessState.ExitCode(), p.stderr.String()
			if code != 1 && code != 2 || strings.Count(text, "\n") != 1 || p.stdout.String() != "" {
				t.Errorf("exit code %d, want 1 or 2 and one line on standard error alone; stdout:\n%s", code, p.stdout.String())
			}
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("want %q in %q", want, text)
				}
			}
			p.checkNothingLeft(t)
		})
	}
}

// Without the right to make a TAP the slow path is off and says so once, unless it
// was asked for. SP-5
func TestSlowPathNeedsPrivileges(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		enabled string
		code    int
		want    string
	}{
		{"auto", 0, `level=WARN msg="no slow path: .*" because="the process has not CAP_NET_ADMIN: .*"`},
		{"on", 1, `slow_path\.enabled: on, but the process has not CAP_NET_ADMIN: run it as root, or give it the capability`},
		{"off", 0, `level=INFO msg="workers started"`},
	} {
		t.Run(c.enabled, func(t *testing.T) {
			n := newNamespace(t, "router")
			dir := t.TempDir()
			core, _, _ := strings.Cut(hostCores, ",")
			config := writeFile(t, dir, "ffwd.toml", fmt.Appendf(nil, `
[eal]
huge_pages = "off"
[workers]
cores = [%s]
[slow_path]
enabled = %q
[control]
socket = "%s/ffwd.sock"
[metrics]
address = ""
[[ports]]
name = "lan"
device = "net_null0,no-rx=1"
addresses = ["10.1.1.1/24"]
`, core, c.enabled, dir))
			out, err := n.try(t, "setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin",
				ffwd, "run", "-c", config, "--duration", "100ms")
			var exit *exec.ExitError
			code := 0
			if errors.As(err, &exit) {
				code = exit.ExitCode()
			}
			if code != c.code || strings.Count(out, "CAP_NET_ADMIN") > 1 {
				t.Errorf("exit code %d, want %d, or it said so twice", code, c.code)
			}
			wantMatch(t, out, c.want)
			if c.enabled == "off" && strings.Contains(out, "no slow path") {
				t.Errorf("it was not asked for:\n%s", out)
			}
		})
	}
}

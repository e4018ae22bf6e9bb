package e2e

import (
	"bytes"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ffwd/capture"
)

// files is a switch between capture files: in.pcap comes in on port lan, and what
// leaves is in lan.pcap and wan.pcap.
type files struct {
	dir    string
	routes []fileRoute
	burst  int
	noCT   bool // stateless: fragments go their way one by one
}

// fileRoute is a network behind a port.
type fileRoute struct {
	prefix netip.Prefix
	port   string
}

const (
	fileLANMAC  = "02:70:63:61:70:00" // capture.DefaultDstMAC
	fileWANMAC  = "02:70:63:61:70:01"
	fileAddress = "172.16.1.1" // of lan
)

// fileHops are the next hops, by port: addresses and MAC.
var fileHops = map[string]struct{ ipv4, ipv6, mac string }{
	"lan":     {"172.16.1.2", "fd00:1::2", "02:00:00:00:01:02"},
	"lan.100": {"172.16.100.2", "fd00:100::2", "02:00:00:00:64:02"},
	"wan":     {"172.16.2.2", "fd00:2::2", "02:00:00:00:02:02"},
}

// run writes the capture and the configuration, and runs ffwd until it has read
// all of it.
func (f *files) run(t *testing.T, in []byte) *report {
	t.Helper()
	return f.launch(t, in).end(t)
}

func (f *files) launch(t *testing.T, in []byte) *process {
	t.Helper()
	f.dir = t.TempDir()
	writeFile(t, f.dir, "in.pcap", in)
	const fileHeader = 24
	writeFile(t, f.dir, "none.pcap", in[:fileHeader])
	return launch(t, nil, f.config(t), "--idle-exit", "300ms")
}

func (f *files) config(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, `
[eal]
huge_pages = "off"
[workers]
cores = [%d]
burst = %d
[ct]
enabled = %[4]t
max_flows = 65536
max_flows_ipv6 = 16384
[metrics]
address = ""
[slow_path]
enabled = "off"
[control]
socket = "%[3]s/ffwd.sock"
[[ports]]
name = "lan"
device = "net_pcap0,rx_pcap=%[3]s/in.pcap,tx_pcap=%[3]s/lan.pcap"
mac = "`+fileLANMAC+`"
addresses = ["`+fileAddress+`/24", "fd00:1::1/64"]
[[ports]]
name = "lan.100"
parent = "lan"
vlan = 100
addresses = ["172.16.100.1/24", "fd00:100::1/64"]
[[ports]]
name = "wan"
device = "net_pcap1,rx_pcap=%[3]s/none.pcap,tx_pcap=%[3]s/wan.pcap"
mac = "`+fileWANMAC+`"
addresses = ["172.16.2.1/24", "fd00:2::1/64"]
`, workerCore, f.burst, f.dir, !f.noCT)
	for port, hop := range fileHops {
		for _, address := range []string{hop.ipv4, hop.ipv6} {
			fmt.Fprintf(&text, "[[neighbours]]\nport = %q\naddress = %q\nmac = %q\n", port, address, hop.mac)
		}
	}
	for _, r := range f.routes {
		via := fileHops[r.port].ipv4
		if r.prefix.Addr().Is6() {
			via = fileHops[r.port].ipv6
		}
		fmt.Fprintf(&text, "[[routes]]\nprefix = %q\nvia = %q\n", r.prefix, via)
	}
	return writeFile(t, f.dir, "ffwd.toml", []byte(text.String()))
}

// port returns the port behind which an address is, and "" for none.
func (f *files) port(address string) string {
	a, err := netip.ParseAddr(address)
	best, port := -1, ""
	for _, r := range f.routes {
		if err == nil && r.prefix.Contains(a) && r.prefix.Bits() > best {
			best, port = r.prefix.Bits(), r.port
		}
	}
	return port
}

// captureRoutes leads to the networks of package capture.
var captureRoutes = []fileRoute{
	{capture.DemoClients4, "lan"}, {capture.DemoClients6, "lan"}, {capture.DemoVLANNet, "lan.100"},
	{capture.DemoServers4, "wan"}, {capture.DemoServers6, "wan"},
	{netip.MustParsePrefix("10.0.0.0/8"), "lan"}, {netip.MustParsePrefix("2001:db8::/36"), "lan"},
	{netip.MustParsePrefix("100.64.0.0/10"), "wan"}, {netip.MustParsePrefix("2001:db8:8000::/36"), "wan"},
}

// What comes out is what went in, one hop on, as tshark decodes both.
// FF-2, FF-7, FF-12
func TestCaptureInCaptureOut(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Fatal("the judge of this test is missing: apt-get install tshark")
	}
	spec := func(s capture.Spec) func(*bytes.Buffer) (capture.Summary, error) {
		s.Seed, s.Flows, s.Packets, s.Replies = 1, 200, 2000, true
		return func(b *bytes.Buffer) (capture.Summary, error) { return s.Write(b) }
	}
	for _, c := range []struct {
		name  string
		burst int
		write func(*bytes.Buffer) (capture.Summary, error)
	}{
		{"demo", 1, func(b *bytes.Buffer) (capture.Summary, error) { return capture.Demo(b, 1) }},
		{"demo in bursts", 64, func(b *bytes.Buffer) (capture.Summary, error) { return capture.Demo(b, 2) }},
		{"ipv4", 64, spec(capture.Spec{Protocol: capture.Mix})},
		{"ipv6", 64, spec(capture.Spec{Protocol: capture.Mix, IPv6: true})},
		{"vlan", 64, spec(capture.Spec{VLAN: capture.DemoVLAN, FrameBytes: 400})},
		{"full frames", 32, spec(capture.Spec{Protocol: capture.TCP, FrameBytes: 1514})},
	} {
		t.Run(c.name, func(t *testing.T) {
			var in bytes.Buffer
			sum, err := c.write(&in)
			if err != nil {
				t.Fatal(err)
			}
			f := &files{routes: captureRoutes, burst: c.burst}
			r := f.run(t, in.Bytes())
			if r.Received != uint64(sum.Packets) {
				t.Errorf("received %d of %d packets", r.Received, sum.Packets)
			}
			f.compare(t, r)
		})
	}
}

// compare compares the three files, packet by packet.
func (f *files) compare(t *testing.T, r *report) {
	t.Helper()
	want, reasons := map[string][]string{}, map[string]uint64{} // packets by port and flow, in order
	for _, p := range decode(t, filepath.Join(f.dir, "in.pcap")) {
		if reason := p.refusal(); reason != "" {
			reasons[reason]++
			continue
		}
		port := f.port(p.destination())
		key := port + " " + p.flow()
		want[key] = append(want[key], p.oneHopOn(port))
	}
	got, errors := map[string][]string{}, uint64(0)
	for _, file := range []string{"lan", "wan"} {
		for i, p := range decode(t, filepath.Join(f.dir, file+".pcap")) {
			if p["icmp.type"] == "11" {
				errors++
				p.checkTimeExceeded(t)
				continue
			}
			port := file
			if p["vlan.id"] != "" {
				port += "." + p["vlan.id"]
			}
			if bad := p.badChecksums(); bad != "" {
				t.Errorf("%s.pcap, packet %d: %s is wrong", file, i+1, bad)
			}
			key := port + " " + p.flow()
			got[key] = append(got[key], p.asIs())
		}
	}
	if r.Transmitted < r.Received/2 {
		t.Errorf("%d of %d packets left: the capture shows little", r.Transmitted, r.Received)
	}
	for key := range want {
		if len(got[key]) != len(want[key]) {
			t.Errorf("%s: %d packets left, want %d", key, len(got[key]), len(want[key]))
			continue
		}
		for i := range want[key] {
			if got[key][i] != want[key][i] {
				t.Errorf("%s, packet %d:\n got %s\nwant %s", key, i+1, got[key][i], want[key][i])
			}
		}
		delete(got, key)
	}
	for key := range got {
		t.Errorf("%s: %d packets left that nobody sent", key, len(got[key]))
	}
	if errors != reasons["ttl_expired"] || r.Created != errors {
		t.Errorf("%d time exceeded in the file, %d packets created, want %d", errors, r.Created, reasons["ttl_expired"])
	}
	for _, counts := range []map[string]uint64{reasons, r.Drops, r.Punts} {
		for reason := range counts {
			if r.reason(reason) != reasons[reason] {
				t.Errorf("%s: %d counted, want %d", reason, r.reason(reason), reasons[reason])
			}
		}
	}
}

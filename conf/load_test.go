package conf

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// onePort is the least that makes a switch.
const onePort = "[[ports]]\nname = \"lan\"\ndevice = \"net_null0\"\n"

func mustParse(t *testing.T, doc string) *Config {
	t.Helper()
	c, err := Parse("test.toml", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	c := mustParse(t, onePort)
	want := Default()
	want.Ports = []Port{{
		Name: "lan", Device: "net_null0", MTU: 1500, Options: OptionsPunt, ReversePath: ReversePathOff,
		RxDescriptors: 1024, TxDescriptors: 1024, Steering: SteeringAuto,
	}}
	if !reflect.DeepEqual(*c, want) {
		t.Errorf("got  %+v\nwant %+v", *c, want)
	}
	// nf_conntrack_tcp_timeout_established
	if got := time.Duration(c.CT.Timeouts.TCP.Established); got != 432000*time.Second {
		t.Errorf("established: %v", got)
	}
}

// A Config that only one caller holds can be changed without changing the next.
func TestDefaultsAreNotShared(t *testing.T) {
	c := Default()
	c.Workers.Cores[0] = 99
	if got := Default().Workers.Cores[0]; got != 1 {
		t.Errorf("workers.cores[0]: %d", got)
	}
}

// everyKey gives every key a value that is not its default.
const everyKey = `
[eal]
huge_pages = "off"
memory_mb = 512
args = ["--log-level=8", "a \"b\" \\ \t \u007f"]
[pool]
mbufs = 65536
cache = 0
[workers]
cores = [3, 2]
burst = 32
handoff_ring = 4096
[[ports]]
name = "lan"
device = "03:00.0,arg=1"
mtu = 9000
mac = "02-00-00-00-01-01"
addresses = ["10.1.1.1/24", "fe80::1/64", "fd01::1/64"]
rx_queues = 1
tx_queues = 2
rx_descriptors = 512
tx_descriptors = 256
promiscuous = true
redirects = true
reverse_path = "strict"
steering = "queue"
stealth = true
options = "forward"
tap = "kernel0"
vrf = 3
[[ports]]
name = "lan.100"
parent = "lan"
vlan = 100
[[routes]]
prefix = "192.0.2.0/24"
via = "10.1.1.2"
port = "lan"
vrf = 3
mtu = 1300
[[routes]]
prefix = "198.51.100.0/24"
vrf = 3
hops = [{ via = "10.1.1.2" }, { via = "10.1.1.3", port = "lan", weight = 7 }]
[[routes]]
prefix = "2001:db8::/32"
type = "prohibit"
counters = true
[[neighbours]]
port = "lan"
address = "10.1.1.2"
mac = "02:00:00:00:01:02"
[fib]
max_routes_ipv4 = 3000000
max_routes_ipv6 = 300000
max_next_hops = 1000000
[ct]
enabled = true
max_flows = 2048
max_flows_ipv6 = 4096
max_translations = 512
max_flows_per_source = 100
reserve = 1023
timeouts.icmp = "1s500ms"
timeouts.udp = { unreplied = "3s", replied = "90m" }
[[timeout_policies]]
name = "web"
family = "ipv6"
protocol = "tcp"
timeouts = { established = "2h", close = "5s" }
[policy]
default_in = "drop"
default_out = "drop"
[[rules]]
action = "dnat"
protocol = "tcp"
to = "10.9.0.1-10.9.0.7"
to_ports = "8000-8100"

[[rules]]
hook = "out"
action = "drop"
in_ports = ["lan"]
out_ports = ["lan.100", "lan"]
src = ["10.0.0.0/8"]
dst = ["0.0.0.0/0", "192.0.2.1/32"]
protocol = "udp"
src_ports = ["1024-65535", 0]
dst_ports = [53]
state = ["new", "untracked"]
mark = 16
ct_mark = "0x10/0xf0"
comment = "as \"everyone\" does"
[[rules]]
action = "reject"
protocol = 6
reject_with = "tcp_reset"
conn_max = 20
conn_max_per = "source"
[[rules]]
action = "accept"
timeout = "web"
priority = true
in_ports = ["lan"]
via = "10.1.1.2"
[[rules]]
action = "continue"
protocol = 0
set_mark = "010/0xff"
set_ct_mark = "0xffffffff"
in_ports = ["lan"]
hops = [{ via = "10.1.1.2", weight = 3 }, { via = "10.1.1.3", port = "lan" }]
[icmp]
error_rate = 0
[slow_path]
enabled = "on"
netns = "router"
mirror = [{ table = 100 }, { table = 4294967295, vrf = 3 }]
rates = { neighbour = 1, routing = 2, local = 3, multicast = 4, options = 5, extension = 6, ethertype = 7, slow_route = 8 }
[metrics]
address = ""
[control]
socket = ""
[log]
level = "debug"
format = "json"
`

// Every key is read, printed and read again.
func TestRoundTrip(t *testing.T) {
	c := mustParse(t, everyKey)
	printed := string(c.TOML())
	again, err := Parse("printed", []byte(printed))
	if err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	if !reflect.DeepEqual(c, again) {
		t.Errorf("got  %+v\nwant %+v\n%s", again, c, printed)
	}
	if p := c.Ports[1]; p.MTU != 9000 || p.RxDescriptors != 0 || p.Steering != "" {
		t.Errorf("sub-port: %+v", p)
	}
	if r := c.Rules[4]; r.SetMark != (Mark{8, 0xff}) || r.SetCTMark != (Mark{0xffffffff, 0xffffffff}) || c.Rules[1].Mark.String() != "0x10" {
		t.Errorf("marks: %v %v", r.SetMark, r.SetCTMark)
	}
	if n, ok := c.Rules[4].Protocol.Number(); n != 0 || !ok {
		t.Errorf("protocol 0: %d, %t", n, ok)
	}
	if a, b := c.Ports[0].TAPName(), c.Ports[1].TAPName(); a != "kernel0" || b != "lan.100" {
		t.Errorf("TAPs %q and %q", a, b)
	}
	hops := c.Routes[0].NextHops()
	if len(hops) != 1 || hops[0].Port != "lan" || hops[0].Via != c.Routes[0].Via || hops[0].Weight != 1 {
		t.Errorf("NextHops: %+v", hops)
	}
	if hops := c.Routes[2].NextHops(); hops != nil {
		t.Errorf("NextHops of prohibit: %+v", hops)
	}
}

func TestDurationString(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 30 * time.Second: "30s", time.Minute: "1m", 90 * time.Second: "1m30s",
		time.Hour: "1h", 10 * time.Minute: "10m", 20 * time.Hour: "20h", 61 * time.Minute: "1h1m",
		time.Hour + 30*time.Second: "1h0m30s", 1500 * time.Millisecond: "1.5s",
	} {
		if got := Duration(d).String(); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.toml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	file := filepath.Join(t.TempDir(), "ffwd.toml")
	if err := os.WriteFile(file, []byte("[[ports]]\nmtu = 60\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(file)
	var faults Faults
	if !errors.As(err, &faults) || len(faults) != 3 {
		t.Fatalf("got %v", err)
	}
	for _, f := range faults {
		if f.File != file || f.Line == 0 || !strings.HasPrefix(f.Error(), file+":") {
			t.Errorf("fault without its place: %+v", f)
		}
	}
}

// The toml package recurses for each open bracket; a file must not be able to
// exhaust the stack, which no recover can catch.
func TestDeepNesting(t *testing.T) {
	for _, open := range []string{"[", "{a="} {
		doc := "a = " + strings.Repeat(open, 1<<20)
		if _, err := Parse("deep", []byte(doc)); err == nil || !strings.Contains(err.Error(), "brackets") {
			t.Errorf("%q: %v", open, err)
		}
	}
}

// A configuration that is accepted prints to one that is equal, whatever it is;
// no document makes Parse panic; every fault of a readable one has a line.
func FuzzParse(f *testing.F) {
	f.Add([]byte(onePort))
	f.Add([]byte(everyKey))
	files, _ := filepath.Glob("samples/*.toml")
	for _, file := range files {
		if doc, err := os.ReadFile(file); err == nil {
			f.Add(doc)
		}
	}
	for _, tc := range faultCases {
		f.Add([]byte(tc.doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, err := Parse("fuzz", doc)
		if err != nil {
			var faults Faults
			if !errors.As(err, &faults) || len(faults) == 0 || err.Error() == "" {
				t.Fatalf("error without a fault: %#v", err)
			}
			return
		}
		printed := c.TOML()
		again, err := Parse("printed", printed)
		if err != nil {
			t.Fatalf("%v\n%s", err, printed)
		}
		if !reflect.DeepEqual(c, again) {
			t.Fatalf("got  %+v\nwant %+v\n%s", again, c, printed)
		}
	})
}

// A document whose reading would take time or memory by the square of its size is refused, or read in another way.
func TestDocumentsThatWouldTakeLong(t *testing.T) {
	parts := func(n int) string { return strings.Repeat("a.", n-1) + "b" }
	for _, tc := range []struct {
		name, doc string
		long      bool
	}{
		{"a key", parts(16) + " = 1\n", false},
		{"a key of a part more", parts(17) + " = 1\n", true},
		{"with spaces", strings.ReplaceAll(parts(17), ".", " . ") + " = 1\n", true},
		{"in quotes", strings.Repeat(`"a".'b'.`, 8) + "c = 1\n", true},
		{"a table", "[" + parts(17) + "]\n", true},
		{"in an inline table", "x = {" + parts(17) + " = 1}\n", true},
		{"behind others", strings.Repeat("a.b = 1\n", 20) + parts(17) + " = 1\n", true},
		{"many keys", strings.Repeat("a.b = 1\n", 20), false},
		{"addresses", `x = ["` + strings.Repeat(`10.1.1.1/24", "`, 20) + "\"]\n", false},
		{"texts", "a = \"1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18\"\nb = '''\n" + parts(40) + "\n'''\nc = \"\"\"" + parts(40) + "\"\"\"\n", false},
		{"a comment", "# " + parts(40) + " '\na = 1 # " + parts(40) + " \"\nb = 1\n", false},
		{"decimals", strings.Repeat("a = 1.5\n", 40), false},
	} {
		if got := strings.Contains(bounds([]byte(tc.doc)), "parts"); got != tc.long {
			t.Errorf("%s: too long is %v", tc.name, got)
		}
	}
	_, err := Parse("f", []byte(parts(20_000)+" = 1\n"))
	if want := "f: has a key of more than 16 parts"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	// Nothing but what faults need is remembered of a million elements.
	deep := "x = " + strings.Repeat("[", 900) + strings.Repeat("1,", 20_000) + strings.Repeat("]", 900) + "\nports = 1\n"
	_, err = Parse("f", []byte(deep))
	if err == nil || !strings.Contains(err.Error(), "f:2: ports: is an integer; want a list") || !strings.Contains(err.Error(), "f:1: x: is an unknown key") {
		t.Errorf("got %v", err)
	}
	if lines := indexLines(deep, map[string]bool{"ports": true}); len(lines) != 1 || lines["ports"] != 2 {
		t.Errorf("remembered %v", lines)
	}
	if lines := indexLines(deep, nil); len(lines) > 2*maxKeyParts {
		t.Errorf("%d lines of one list", len(lines))
	}
}

// As many faults are noted as there is room for.
func TestFaultsAreBounded(t *testing.T) {
	var faults Faults
	for n := range maxFaults + 2 {
		if faults.full() != (n >= maxFaults) {
			t.Fatalf("%d faults, full is %v", n, faults.full())
		}
		faults.add("a", "b")
	}
	if len(faults) != maxFaults {
		t.Errorf("%d faults", len(faults))
	}
}

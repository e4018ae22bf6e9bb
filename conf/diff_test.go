package conf

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

const diffBase = onePort + `
[[ports]]
name = "wan"
device = "net_null1"
addresses = ["10.2.2.1/24"]
[[routes]]
prefix = "192.0.2.0/24"
via = "10.2.2.2"
[[routes]]
prefix = "192.0.3.0/24"
hops = [{ via = "10.2.2.2" }, { via = "10.2.2.3" }]
[[neighbours]]
port = "wan"
address = "10.2.2.2"
mac = "02:00:00:00:00:02"
[[rules]]
action = "drop"
protocol = "gre"
`

func TestDiff(t *testing.T) {
	for _, tc := range []struct {
		name    string
		replace []string // pairs in diffBase
		add     string   // after it
		reload  string
		restart string
		parts   Changes // the flags
	}{
		{name: "nothing"},
		{name: "a default spelt out", add: "[log]\nlevel = \"info\"\n"},
		{
			name:   "all that can be reloaded",
			add:    "state = [\"new\"]\n[[rules]]\naction = \"drop\"\n[policy]\ndefault_out = \"drop\"\n[ct]\nchecksum = true\n[ct.tcp]\nliberal = true\n[ct.timeouts.udp]\nreplied = \"3m\"\n[icmp]\nerror_rate = 7\n[slow_path.rates]\nlocal = 9\n[log]\nlevel = \"debug\"\n",
			reload: "ct.checksum: false -> true\nct.tcp.liberal: false -> true\nct.timeouts.udp.replied: 2m -> 3m\npolicy.default_out: \"accept\" -> \"drop\"\nrules[0].state: [] -> [new]\nrules[1]: rule 1 added\nicmp.error_rate: 1000 -> 7\nslow_path.rates.local: 20000 -> 9\nlog.level: \"info\" -> \"debug\"",
			parts:  Changes{Rules: true, CTTimeouts: true, CTSettings: true, ICMPRate: true, PuntRates: true, LogLevel: true},
		},
		{
			name:    "fragments",
			add:     "[ct.fragments]\ntimeout_ipv6 = \"5s\"\nmax_packets = 2000\n",
			reload:  "ct.fragments.timeout_ipv6: 1m -> 5s",
			restart: "ct.fragments.max_packets: 1024 -> 2000",
			parts:   Changes{CTFragments: true},
		},
		{
			name:    "the slow path",
			replace: []string{"name = \"lan\"", "name = \"lan\"\ntap = \"k\""},
			add:     "[slow_path]\nenabled = \"off\"\nnetns = \"r\"\nmirror = []\n",
			restart: "ports[0].tap: \"\" -> \"k\"\nslow_path.enabled: \"auto\" -> \"off\"\nslow_path.netns: \"\" -> \"r\"\nslow_path.mirror[0]: entry 0 removed",
		},
		{
			name: "routes and neighbours",
			replace: []string{
				"prefix = \"192.0.2.0/24\"\nvia = \"10.2.2.2\"", "prefix = \"192.0.4.0/24\"\nport = \"wan\"",
				"{ via = \"10.2.2.3\" }", "{ via = \"10.2.2.3\", weight = 2 }",
				"00:00:02", "00:00:03",
			},
			reload: "routes[0]: 192.0.4.0/24 vrf 0 added\nroutes[1].hops[1].weight: 1 -> 2\nroutes[0]: 192.0.2.0/24 vrf 0 removed\nneighbours[0].mac: 02:00:00:00:00:02 -> 02:00:00:00:00:03",
			parts:  Changes{Routes: true, Neighbours: true},
		},
		{
			name:    "what needs a restart",
			replace: []string{"name = \"lan\"", "name = \"dmz\"", "[\"10.2.2.1/24\"]", "[\"10.2.2.1/24\", \"10.3.3.1/24\"]\nmac = \"02:00:00:00:00:09\""},
			add:     "[workers]\ncores = [1, 2]\n[ct]\nmax_flows = 2048\n[control]\nsocket = \"\"\n[log]\nformat = \"json\"\n",
			restart: "workers.cores: [1] -> [1 2]\nports[0]: dmz added\nports[1].mac: none -> 02:00:00:00:00:09\nports[1].addresses: [10.2.2.1/24] -> [10.2.2.1/24 10.3.3.1/24]\nports[0]: lan removed\nct.max_flows: 1048576 -> 2048\ncontrol.socket: \"/run/ffwd/ffwd.sock\" -> \"\"\nlog.format: \"text\" -> \"json\"",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			old := mustParse(t, diffBase)
			c := Diff(old, mustParse(t, strings.NewReplacer(tc.replace...).Replace(diffBase)+tc.add))
			if got := changeLines(c.Reload); got != tc.reload {
				t.Errorf("reload:\n%s\nwant:\n%s", got, tc.reload)
			}
			if got := changeLines(c.Restart); got != tc.restart {
				t.Errorf("restart:\n%s\nwant:\n%s", got, tc.restart)
			}
			if c.NeedsRestart() != (tc.restart != "") || c.Empty() != (tc.reload+tc.restart == "") {
				t.Errorf("NeedsRestart %t, Empty %t", c.NeedsRestart(), c.Empty())
			}
			c.Reload, c.Restart = nil, nil
			if !flagsEqual(c, tc.parts) {
				t.Errorf("parts: %+v, want %+v", c, tc.parts)
			}
		})
	}
}

// Ports are found by name and routes by prefix: their order means nothing.
func TestDiffIgnoresOrder(t *testing.T) {
	old, new := mustParse(t, diffBase), mustParse(t, diffBase)
	new.Ports[0], new.Ports[1] = new.Ports[1], new.Ports[0]
	new.Routes[0], new.Routes[1] = new.Routes[1], new.Routes[0]
	if c := Diff(old, new); !c.Empty() {
		t.Errorf("%+v", c)
	}
}

func changeLines(changes []Change) string {
	lines := make([]string, len(changes))
	for i, c := range changes {
		lines[i] = c.String()
	}
	return strings.Join(lines, "\n")
}

func flagsEqual(a, b Changes) bool {
	return a.Rules == b.Rules && a.Routes == b.Routes && a.Neighbours == b.Neighbours &&
		a.CTTimeouts == b.CTTimeouts && a.CTSettings == b.CTSettings && a.CTFragments == b.CTFragments && a.ICMPRate == b.ICMPRate && a.LogLevel == b.LogLevel
}

// What tells routes apart quickly tells them apart as reflection does: a field that is
// added to a route must be compared too.
func TestSameRoute(t *testing.T) {
	base := Route{Hops: []Hop{{Weight: 1}}}
	if !base.same(&Route{Hops: []Hop{{Weight: 1}}}) {
		t.Error("equal routes differ")
	}
	for i := range reflect.TypeFor[Route]().NumField() {
		other := base
		switch field := reflect.ValueOf(&other).Elem().Field(i); field.Interface().(type) {
		case netip.Prefix:
			other.Prefix = netip.MustParsePrefix("10.0.0.0/8")
		case netip.Addr:
			other.Via = netip.MustParseAddr("10.0.0.1")
		case []Hop:
			other.Hops = []Hop{{Weight: 2}}
		case int:
			field.SetInt(1)
		case bool:
			field.SetBool(true)
		default:
			field.SetString("x")
		}
		if base.same(&other) {
			t.Errorf("routes that differ in %s are the same", reflect.TypeFor[Route]().Field(i).Name)
		}
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"ffwd/conf"
	"ffwd/control"
)

// faulty is a value that its field cannot have.
type faulty struct{ field, value string }

// faultyFilters are values for a filter of flows. Those that a rule has too say which of its
// keys that is.
var faultyFilters = []struct {
	faulty
	rule string // how the value would be written in a rule; "": no rule has it
}{
	{faulty{"proto", "tpc"}, `protocol = "tpc"`},
	{faulty{"proto", "256"}, `protocol = 256`},
	{faulty{"proto", "-1"}, `protocol = -1`},
	{faulty{"proto", "6.0"}, `protocol = 6.0`},
	{faulty{"proto", ""}, `protocol = ""`},
	{faulty{"src", "10.0.0"}, `src = ["10.0.0"]`},
	{faulty{"src", "10.0.0.0/33"}, `src = ["10.0.0.0/33"]`},
	{faulty{"src", "10.0.0.1/8"}, `src = ["10.0.0.1/8"]`},
	{faulty{"src", ""}, `src = [""]`},
	{faulty{"dst", "fe80::1%lo"}, `dst = ["fe80::1%lo"]`},
	{faulty{"dst", "::/129"}, `dst = ["::/129"]`},
	{faulty{"sport", "65536"}, "protocol = \"tcp\"\nsrc_ports = [65536]"},
	{faulty{"sport", "-1"}, "protocol = \"tcp\"\nsrc_ports = [-1]"},
	{faulty{"dport", "http"}, "protocol = \"tcp\"\ndst_ports = [\"http\"]"},
	{faulty{"dport", "1e3"}, "protocol = \"tcp\"\ndst_ports = [\"1e3\"]"},
	{faulty{"zone", "70000"}, ""},
	{faulty{"zone", "-1"}, ""},
	{faulty{"zone", ""}, ""},
	{faulty{"mark", "0xffffffffff"}, `ct_mark = "0xffffffffff"`},
	{faulty{"mark", "4294967296"}, `ct_mark = 4294967296`},
	{faulty{"mark", "-1"}, `ct_mark = -1`},
	{faulty{"mark", "2/1"}, `ct_mark = "2/1"`},
	{faulty{"mark", "1/"}, `ct_mark = "1/"`},
	{faulty{"mark", "1/0x1ffffffff"}, `ct_mark = "1/0x1ffffffff"`},
	{faulty{"mark", "0/0"}, `ct_mark = "0/0"`},
	{faulty{"mark", ""}, `ct_mark = ""`},
	{faulty{"state", "OPEN"}, `state = ["OPEN"]`},
	{faulty{"state", " "}, `state = [" "]`},
	{faulty{"family", "4"}, ""},
	{faulty{"family", "ipx"}, ""},
}

// faultyPolicies are timeout policies with one fault each, in the field that is named.
var faultyPolicies = []struct {
	field                  string
	name, family, protocol string
	state, value           string
}{
	{"name", "", "ipv4", "tcp", "", ""},
	{"name", strings.Repeat("n", 32), "ipv4", "tcp", "", ""},
	{"name", "a b", "ipv4", "tcp", "", ""},
	{"name", "a/b", "ipv4", "tcp", "", ""},
	{"name", "\u00e9", "ipv4", "tcp", "", ""},
	{"family", "a", "", "tcp", "", ""},
	{"family", "a", "ipv5", "tcp", "", ""},
	{"family", "a", "IPv4", "tcp", "", ""},
	{"protocol", "a", "ipv4", "", "", ""},
	{"protocol", "a", "ipv4", "ospf", "", ""},
	{"protocol", "a", "ipv4", "6", "", ""},
	{"protocol", "a", "ipv6", "icmp", "", ""},
	{"protocol", "a", "ipv4", "icmpv6", "", ""},
	{"established", "a", "ipv4", "tcp", "established", "0s"},
	{"established", "a", "ipv4", "tcp", "established", "-1s"},
	{"established", "a", "ipv4", "tcp", "established", "576h0m1s"},
	{"established", "a", "ipv4", "tcp", "established", "99999999999h"},
	{"established", "a", "ipv4", "tcp", "established", "1500us"},
	{"established", "a", "ipv4", "tcp", "established", ""},
	{"established", "a", "ipv4", "tcp", "established", "1"},
	{"established", "a", "ipv4", "tcp", "established", "NaN"},
	{"estab", "a", "ipv4", "tcp", "estab", "1s"},
	{"replied", "a", "ipv4", "tcp", "replied", "1s"},
	{"TCP", "a", "ipv4", "tcp", "TCP", "1s"},
}

// faultyBed is a switch that runs, and whose state can be compared.
type faultyBed struct {
	*bed
	t      *testing.T
	client *client
	socket string
}

func newFaultyBed(t *testing.T) *faultyBed {
	b := newBed(t)
	b.start(b.config("c.toml", "[ct]", "[ct.timeouts.udp]\nunreplied = \"1h\"\n[ct]"))
	b.awaitReceived(bedPackets)
	f := &faultyBed{bed: b, t: t, socket: b.path("run/ffwd.sock")}
	flags := socketFlags{socket: f.socket}
	var err error
	if f.client, err = flags.client(); err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"name": "before", "family": "ipv4", "protocol": "udp", "timeouts": {"unreplied": "7s"}}`)
	if err := f.client.do(http.MethodPost, "/v1/timeouts/set", nil, body, new(control.TimeoutStatus)); err != nil {
		t.Fatal(err)
	}
	return f
}

var lives = regexp.MustCompile(`(udp +17) \d+ `)

// state is all that a request could have changed.
func (f *faultyBed) state() string {
	f.t.Helper()
	var all strings.Builder
	for _, path := range []string{"/v1/timeouts", "/v1/config", "/v1/rules", "/v1/flows/stream?format=text"} {
		path, raw, _ := strings.Cut(path, "?")
		query, _ := url.ParseQuery(raw)
		text, err := f.client.text(path, query)
		if err != nil {
			f.t.Fatal(err)
		}
		all.Write(lives.ReplaceAll(text, []byte("$1 "))) // the flows' time goes on
	}
	return all.String()
}

// names reports whether an error names a field: as a word of its own, not in the middle of
// a value.
func names(text, field string) bool {
	return regexp.MustCompile(`(^|[\s.:"])` + regexp.QuoteMeta(field) + `(: |\[|\.)`).MatchString(text)
}

// refusedAs sends a request that must be refused with one of the statuses, naming the field.
func (f *faultyBed) refusedAs(method, path string, query url.Values, body []byte, field string) {
	f.t.Helper()
	u := url.URL{Scheme: "http", Host: "ffwd", Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequest(method, u.String(), bytes.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	response, err := f.client.http.Do(request)
	if err != nil {
		f.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct{ Error string }
	err = json.NewDecoder(response.Body).Decode(&answer)
	if err != nil || response.StatusCode != http.StatusBadRequest && response.StatusCode != http.StatusUnprocessableEntity || !names(answer.Error, field) {
		f.t.Errorf("%s %s %s: %d %v %s, want a refusal that names %s", method, u.String(), body, response.StatusCode, err, answer.Error, field)
	}
}

// command runs a command in this process, which must fail by the user's fault and name the field.
func (f *faultyBed) command(field string, args ...string) {
	f.t.Helper()
	var out bytes.Buffer
	c := root()
	c.SetArgs(append(args, "--socket", f.socket))
	c.SetOut(&out)
	c.SetErr(&out)
	err := c.Execute()
	if exitCode(err) != exitUsage || !names(fmt.Sprint(err), field) || out.Len() != 0 {
		f.t.Errorf("ffwd %q: exit code %d: %v, want %d and an error that names %s; it printed %q", args, exitCode(err), err, exitUsage, field, out.String())
	}
}

// reload has the switch take over its configuration with something more, by the socket and by
// the command, both of which must be refused, naming the key.
func (f *faultyBed) reload(more, key string) {
	f.t.Helper()
	text, err := os.ReadFile(f.path("c.toml"))
	if err != nil {
		f.t.Fatal(err)
	}
	doc := append(text, more...)
	f.refusedAs(http.MethodPost, "/v1/reload", nil, doc, key)
	f.write("faulty.toml", doc)
	f.command(key, "reload", "-c", f.path("faulty.toml"))
	if _, err := conf.Load(f.path("faulty.toml")); err == nil || !names(err.Error(), key) {
		f.t.Errorf("check of %q: %v", more, err)
	}
}

// CT-10: whichever way a value comes that a filter of flows cannot have, by the API, the command
// line or in a rule, it is refused by name and changes nothing.
func TestFaultyFilters(t *testing.T) {
	f := newFaultyBed(t)
	before := f.state()
	if strings.Count(before, "\nipv4 ") < bedFlows-1 {
		t.Fatalf("no flows in the state to compare: %s", before)
	}
	for _, c := range faultyFilters {
		query := url.Values{c.field: {c.value}}
		for _, path := range []string{"/v1/flows", "/v1/flows/count", "/v1/flows/stream", "/v1/flows/events"} {
			f.refusedAs(http.MethodGet, path, query, nil, c.field)
		}
		f.refusedAs(http.MethodPost, "/v1/flows/delete", query, nil, c.field)
		f.refusedAs(http.MethodPost, "/v1/flows/delete", url.Values{c.field: {c.value}, "all": {"1"}}, nil, c.field)
		for _, command := range []string{"list", "count", "delete", "events"} {
			f.command(c.field, "ct", command, "--"+c.field+"="+c.value)
		}
		f.command(c.field, "ct", "delete", "--all", "--"+c.field+"="+c.value)
		if c.rule != "" {
			_, last, _ := strings.Cut("\n"+c.rule, "\n")
			lines := strings.Split(last, "\n")
			key, _, _ := strings.Cut(lines[len(lines)-1], " ")
			f.reload("[[rules]]\naction = \"drop\"\n"+c.rule+"\n", key)
		}
	}
	for _, zone := range []string{"-1", "70000", "4294967296", "0.5", `"a"`} { // a port's zone is its VRF
		f.reload("[[ports]]\nname = \"z\"\nparent = \"in\"\nvlan = 9\nvrf = "+zone+"\n", "vrf")
	}
	f.refusedAs(http.MethodPost, "/v1/flows/delete", url.Values{"sorce": {"10.0.0.1"}, "all": {"1"}}, nil, "sorce")
	f.refusedAs(http.MethodPost, "/v1/flows/delete", url.Values{"src": {"10.0.0.1", "10.0.0.2"}}, nil, "src")
	if after := f.state(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// TO-1: so is a timeout policy with any fault.
func TestFaultyPolicies(t *testing.T) {
	f := newFaultyBed(t)
	before := f.state()
	if !strings.Contains(before, `"name":"before"`) {
		t.Fatalf("no policy in the state to compare: %s", before)
	}
	for _, c := range faultyPolicies {
		var timeouts map[string]string
		args, key := []string{"--family=" + c.family, "--protocol=" + c.protocol, "--", c.name}, c.field
		doc := fmt.Sprintf("[[timeout_policies]]\nname = %q\nfamily = %q\nprotocol = %q\n", c.name, c.family, c.protocol)
		if c.state != "" {
			timeouts = map[string]string{c.state: c.value}
			args = append(args, c.state+"="+c.value)
			doc += fmt.Sprintf("[timeout_policies.timeouts]\n%s = %q\n", c.state, c.value)
			key = "timeouts." + c.field
		}
		body, err := json.Marshal(map[string]any{"name": c.name, "family": c.family, "protocol": c.protocol, "timeouts": timeouts})
		if err != nil {
			t.Fatal(err)
		}
		f.refusedAs(http.MethodPost, "/v1/timeouts/set", nil, body, key)
		f.refusedAs(http.MethodPost, "/v1/timeouts/set", url.Values{"replace": {"true"}}, body, key)
		f.policy("add", args, key)
		f.policy("replace", args, key)
		f.reload(doc, key)
	}
	for _, body := range []string{`{"name": 5}`, `{"family": []}`, `{"timeouts": {"established": 5}}`, `{"protocol": {}}`} {
		field, _, _ := strings.Cut(body[2:], `"`)
		f.refusedAs(http.MethodPost, "/v1/timeouts/set", nil, []byte(body), field)
	}
	if after := f.state(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// policy runs a sub-command of timeout, whose positional arguments end the flags.
func (f *faultyBed) policy(command string, args []string, key string) {
	f.t.Helper()
	c := root()
	c.SetArgs(append([]string{"timeout", command, "--socket", f.socket}, args...))
	err := c.Execute()
	var usage usageError
	if !errors.As(err, &usage) || !names(err.Error(), key) {
		f.t.Errorf("ffwd timeout %s %q: %v, want an error that names %s", command, args, err, key)
	}
}

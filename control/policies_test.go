package control

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ffwd/capture"
	"ffwd/conf"
)

const trafficFlows = 20

// traffic is a configuration of a switch that forwards UDP flows for ever, from
// 10.0.0.0/8 by way of a rule with a timeout policy.
func traffic(t *testing.T, policies, rule string) string {
	t.Helper()
	return trafficOf(t, trafficFlows, policies, rule)
}

func trafficOf(t *testing.T, flows int, policies, rule string) string {
	t.Helper()
	var in bytes.Buffer
	if _, err := (capture.Spec{Flows: flows, Packets: 10 * flows, Seed: 1}).Write(&in); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "in.pcap")
	if err := os.WriteFile(file, in.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(small+`
[[ports]]
name = "in"
device = "net_pcap0,rx_pcap=%s,infinite_rx=1"
mac = "02:70:63:61:70:00"
addresses = ["192.168.1.1/24"]
[[ports]]
name = "out"
device = "net_null1,no-rx=1"
addresses = ["192.168.2.1/24"]
[[routes]]
prefix = "0.0.0.0/0"
via = "192.168.2.2"
[[neighbours]]
port = "out"
address = "192.168.2.2"
mac = "02:00:00:00:01:02"
%s
[[rules]]
action = "accept"
%s
`, file, policies, rule)
}

const webPolicy = `
[[timeout_policies]]
name = "web"
family = "ipv4"
protocol = "udp"
timeouts = { unreplied = "1000s" }
`

// expiry is what flows have left, as the listing of flows shows it.
func expiry(t *testing.T, s *Switch) (flows []FlowStatus) {
	t.Helper()
	status, text := ask(t, s, "GET", "/v1/flows", "")
	var list FlowList
	if err := json.Unmarshal([]byte(text), &list); err != nil || status != 200 {
		t.Fatalf("%d %v %s", status, err, text)
	}
	return list.Flows
}

// awaitFlows waits until all flows have the policy and about so many seconds left.
func awaitFlows(t *testing.T, s *Switch, policy string, seconds float64) {
	t.Helper()
	await(t, fmt.Sprintf("%d flows with policy %q and %v s left", trafficFlows, policy, seconds), func() string {
		flows := expiry(t, s)
		for _, f := range flows {
			if f.Timeout != policy || f.ExpiresS > seconds+0.1 || f.ExpiresS < seconds-5 {
				return fmt.Sprintf("%+v", f)
			}
		}
		if len(flows) != trafficFlows {
			return fmt.Sprint(len(flows), " flows")
		}
		return ""
	})
}

// await asks until there is nothing left to complain of.
func await(t *testing.T, what string, ask func() (complaint string)) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		complaint := ask()
		switch {
		case complaint == "":
			return
		case time.Now().After(deadline):
			t.Fatalf("no %s: %s", what, complaint)
		}
	}
}

// awaitTimeouts waits until the policies are listed as: name state references flows
// rules queued, one word each.
func awaitTimeouts(t *testing.T, s *Switch, want ...string) {
	t.Helper()
	await(t, strings.Join(want, ", "), func() string {
		_, text := ask(t, s, "GET", "/v1/timeouts", "")
		var list TimeoutList
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range list.Policies {
			state := "live"
			if p.Draining {
				state = "draining"
			}
			got = append(got, fmt.Sprint(p.Name, " ", state, p.References, p.Flows, p.Rules, p.Queued))
		}
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			return strings.Join(got, ", ")
		}
		return ""
	})
}

// A reload that fails when its rules and policies are made already leaves none of their
// references behind. TO-4, TO-6
func TestFailedReloadLeavesNoReferences(t *testing.T) {
	s := startTest(t, twoPorts+webPolicy+"[[rules]]\naction = \"accept\"\ntimeout = \"web\"\n")
	awaitTimeouts(t, s, "web live2 0 1 0")
	next := *s.Config()
	next.Rules = slices.Concat(next.Rules, next.Rules, next.Rules)
	extra := next.TimeoutPolicies[0]
	extra.Name = "extra"
	next.TimeoutPolicies = append(slices.Clone(next.TimeoutPolicies), extra)
	next.Rules[1].Timeout = "extra"
	next.Routes = []conf.Route{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Type: conf.RouteProhibit, VRF: 9}}
	for range 3 {
		if _, err := s.Reload(&next); err == nil || !strings.Contains(err.Error(), "VRF 9") {
			t.Fatalf("%v, want a fault of VRF 9", err)
		}
		awaitTimeouts(t, s, "web live2 0 1 0")
	}
	next.Routes = nil
	if _, err := s.Reload(&next); err != nil {
		t.Fatal(err)
	}
	awaitTimeouts(t, s, "extra live2 0 1 0", "web live3 0 2 0")
}

// post expects a status and an answer.
func post(t *testing.T, s *Switch, path, body string, status int, want string) {
	t.Helper()
	if got, text := ask(t, s, "POST", path, body); got != status || !strings.Contains(text, want) {
		t.Errorf("%s %.100s: %d %s, want %d with %s", path, body, got, text, status, want)
	}
}

func webBody(seconds int) string {
	return fmt.Sprintf(`{"name":"web","family":"ipv4","protocol":"udp","timeouts":{"unreplied":"%ds"}}`, seconds)
}

// TO-2, TO-3, TO-5, TO-7, TO-8: the life of a policy with packets passing by.
func TestPolicyLifeUnderTraffic(t *testing.T) {
	s := startTest(t, traffic(t, webPolicy, `timeout = "web"`))
	awaitFlows(t, s, "web", 1000)
	awaitTimeouts(t, s, fmt.Sprint("web live", 1+trafficFlows+1, trafficFlows, 1, 0))

	post(t, s, "/v1/timeouts/set", webBody(500), 409, "exists")
	post(t, s, "/v1/timeouts/set?replace=true", strings.Replace(webBody(500), "ipv4", "ipv6", 1), 409, "another family or protocol")
	awaitFlows(t, s, "web", 1000)
	post(t, s, "/v1/timeouts/set?replace=true", webBody(500), 200, `"unreplied":"8m20s"`)
	awaitFlows(t, s, "web", 500)

	// Deleted while in use: the name is free at once, flows fall back, and the rule
	// still has the old object.
	post(t, s, "/v1/timeouts/delete?name=web", "", 200, `{"deleted":["web"]}`)
	post(t, s, "/v1/timeouts/delete?name=web", "", 404, "does not exist")
	awaitFlows(t, s, "", 30)
	awaitTimeouts(t, s, "web draining1 0 1 0")
	post(t, s, "/v1/timeouts/set", webBody(700), 200, `"draining":false`)
	awaitTimeouts(t, s, "web live1 0 0 0", "web draining1 0 1 0")

	// New flows take the object that the rule has, until a reload gives it the new one.
	flush(s)
	awaitFlows(t, s, "web", 500)
	awaitTimeouts(t, s, "web live1 0 0 0", fmt.Sprint("web draining", trafficFlows+1, trafficFlows, 1, 0))
	post(t, s, "/v1/reload", string(s.Config().TOML()), 200, `"reload":null`)
	awaitTimeouts(t, s, "web live2 0 1 0")
	awaitFlows(t, s, "", 30)
	flush(s)
	awaitFlows(t, s, "web", 1000) // the file's value

	// Neither the rule nor the policy is in the file any more.
	next := strings.ReplaceAll(string(s.Config().TOML()), `timeout = "web"`, "")
	head, _, _ := strings.Cut(next, "[[timeout_policies]]")
	_, tail, _ := strings.Cut(next, "[policy]")
	post(t, s, "/v1/reload", head+"[policy]"+tail, 200, "timeout_policies[0]")
	awaitTimeouts(t, s)
	awaitFlows(t, s, "", 30)
}

// flush forgets all flows, as if they had expired.
func flush(s *Switch) {
	for _, w := range s.workers {
		w.Do(func() { w.Table().Walk(0, 1<<20, func(i uint32) bool { w.Table().Delete(i); return true }) })
	}
}

// TO-1, TO-2: what a client cannot have is refused by name, and changes nothing.
func TestTimeoutRequests(t *testing.T) {
	s := startTest(t, twoPorts)
	for _, tc := range []struct {
		path, body string
		status     int
		want       string
	}{
		{"/v1/timeouts/set", ``, 400, "body: EOF"},
		{"/v1/timeouts/set", `{"name":"a","x":1}`, 400, `unknown field \"x\"`},
		{"/v1/timeouts/set", webBody(1) + webBody(2), 400, "more than one policy"},
		{"/v1/timeouts/set", `{"name":"` + strings.Repeat("a", maxPolicyBytes) + `"}`, 400, "too large"},
		{"/v1/timeouts/set", webBody(0), 422, `"path":"timeouts.unreplied","message":"0s is below 1ms"`},
		{"/v1/timeouts/set", strings.Replace(webBody(1), "web", "", 1), 422, `"path":"name"`},
		{"/v1/timeouts/set", strings.Replace(webBody(1), "udp", "uvp", 1), 422, `"path":"protocol"`},
		{"/v1/timeouts/set", strings.Replace(webBody(1), "unreplied", "syn_sent", 1), 422, `"path":"timeouts.syn_sent"`},
		{"/v1/timeouts/set?replace=yes", webBody(1), 400, "neither true nor false"},
		{"/v1/timeouts/delete", "", 400, "give one of them"},
		{"/v1/timeouts/delete?all=true&name=a", "", 400, "give one of them"},
		{"/v1/timeouts/delete?all=true", "", 200, `{"deleted":[]}`},
		{"/v1/timeouts/delete?name=a", "", 404, "does not exist"},
	} {
		post(t, s, tc.path, tc.body, tc.status, tc.want)
	}
	awaitTimeouts(t, s)
	post(t, s, "/v1/timeouts/set?replace=true", webBody(5), 200, `"given":["unreplied"],"from_file":false`)
	post(t, s, "/v1/timeouts/set", strings.ReplaceAll(webBody(5), "web", "a"), 200, `"replied":"2m"`)
	post(t, s, "/v1/timeouts/delete?all=true", "", 200, `{"deleted":["a","web"]}`)
	awaitTimeouts(t, s)
}

// A reload brings the file's policies to what the file says and leaves those made at
// run time alone, which its rules may name.
func TestReloadOfPolicies(t *testing.T) {
	s := startTest(t, twoPorts)
	base := string(s.Config().TOML())
	udp := strings.Replace(webPolicy, "web", "file", 1)
	rule := func(name string) string { return "[[rules]]\naction = \"accept\"\ntimeout = \"" + name + "\"\n" }

	post(t, s, "/v1/reload", base+rule("web"), 422, `"message":"there is no timeout policy \"web\""`)
	post(t, s, "/v1/timeouts/set", webBody(5), 200, "")
	post(t, s, "/v1/reload", base+udp+rule("web")+rule("file"), 200, `"new":"file"`)
	awaitTimeouts(t, s, "file live2 0 1 0", "web live2 0 1 0")

	// The default of a state that a policy leaves out follows a reload.
	post(t, s, "/v1/reload", strings.Replace(base, `replied = "2m"`, `replied = "3m"`, 1)+udp+rule("web"), 200, "ct.timeouts.udp.replied")
	awaitTimeouts(t, s, "file live1 0 0 0", "web live2 0 1 0")
	if _, index, _ := s.policies.Find("web"); s.timeoutList()[1].Timeouts["replied"].String() != "3m" || index == 0 {
		t.Errorf("%+v", s.timeoutList())
	}

	// A name of the file's that is another kind at run time is refused; of its own kind
	// it becomes the file's.
	tcp := "[[timeout_policies]]\nname = \"web\"\nfamily = \"ipv4\"\nprotocol = \"tcp\"\n"
	post(t, s, "/v1/reload", base+tcp, 422, "was made at run time for ipv4 udp")
	awaitTimeouts(t, s, "file live1 0 0 0", "web live2 0 1 0")
	post(t, s, "/v1/reload", base+webPolicy+rule("web"), 200, `"new":"web"`)
	awaitTimeouts(t, s, "web live2 0 1 0")
	// The file may change its kind: that is another object.
	post(t, s, "/v1/reload", base+tcp+rule("web"), 200, `"new":"\"tcp\""`)
	awaitTimeouts(t, s, "web live2 0 1 0")
	if list := s.timeoutList(); list[0].Protocol != "tcp" {
		t.Errorf("%+v", list)
	}

	// A reload that fails behind the policies changes none.
	bad := base + tcp + strings.Replace(udp, "file", "other", 1) + rule("other") +
		"[[routes]]\nprefix = \"198.51.100.0/24\"\ntype = \"prohibit\"\nvrf = 9\n"
	if status, text := ask(t, s, "POST", "/v1/reload", bad); status == 200 {
		t.Errorf("a VRF without interfaces was taken: %s", text)
	}
	awaitTimeouts(t, s, "web live2 0 1 0")
	// Deleted at run time, the file's comes back with the next reload.
	post(t, s, "/v1/timeouts/delete?name=web", "", 200, "web")
	awaitTimeouts(t, s, "web draining1 0 1 0")
	post(t, s, "/v1/reload", base+tcp+rule("web"), 200, `"reload":null`)
	awaitTimeouts(t, s, "web live2 0 1 0")
}

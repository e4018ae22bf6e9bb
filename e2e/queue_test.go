package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// queries leads DNS questions to a listener.
const queries = `
[[queues]]
number = 0
stall = "1s"
timeout = "5s"
[[rules]]
action = "queue"
queue = 0
protocol = "udp"
dst_ports = [53]
`

// queueReport is what /v1/report says of queues.
type queueReport struct {
	Queues []queueFigures `json:"queues"`
	Flows  struct {
		Created uint64 `json:"created"`
	} `json:"flows"`
}

type queueFigures struct {
	Listening bool              `json:"listening"`
	Packets   int               `json:"packets"`
	Offered   uint64            `json:"offered"`
	Verdicts  uint64            `json:"verdicts"`
	Outcomes  map[string]uint64 `json:"outcomes"`
	Latency   struct {
		P50 float64 `json:"p50_s"`
		P99 float64 `json:"p99_s"`
	} `json:"latency"`
}

func (b *bed) queues(t *testing.T) *queueReport {
	t.Helper()
	var r queueReport
	if err := b.ffwd.get("/v1/report", &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// listen starts a listener for queue 0 and waits until the switch knows of it.
func (b *bed) listen(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return b.listenTo(t, 0, args...)
}

// listenTo does so for the queue at a place of the configuration.
func (b *bed) listenTo(t *testing.T, queue int, args ...string) *exec.Cmd {
	t.Helper()
	var log lockedBuffer
	c := exec.Command("taskset", append([]string{"-c", hostCores}, args...)...)
	c.Stdout, c.Stderr = &log, &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { c.Wait(); close(ended) }()
	t.Cleanup(func() {
		c.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%v printed:\n%.2000s", args, log.String())
		}
	})
	eventually(t, "nobody listens", func() bool { return b.queues(t).Queues[queue].Listening })
	return c
}

func (b *bed) queueSocket() string { return filepath.Join(b.dir, "queue.sock") }

// slow is a listener that takes 5 ms for each verdict.
func (b *bed) slow(t *testing.T) *exec.Cmd {
	return b.listen(t, ffwd, "queue", "listen", "--queue-socket", b.queueSocket(), "--accept", "--delay", "5ms")
}

// resolve looks names up as programs do: glibc asks for both addresses of a name from
// one socket at the same instant. It prints how many lookups failed, or succeeded only
// when glibc had asked once more, and the longest.
const resolve = `
import json, socket, sys, time
failed, longest = 0, 0
for i in range(int(sys.argv[1])):
    start = time.monotonic()
    try:
        found = {a[4][0] for a in socket.getaddrinfo("host%d.e2e" % i, 80, type=socket.SOCK_STREAM)}
        failed += found != {"192.0.2.9", "2001:db8::9"}
        failed += time.monotonic() - start > 1.5
    except OSError:
        failed += 1
    longest = max(longest, time.monotonic() - start)
print(json.dumps({"failed": failed, "longest": longest}))
`

type resolved struct {
	Failed  int     `json:"failed"`
	Longest float64 `json:"longest"`
}

// dns starts a server and returns a function that looks so many names up.
func (b *bed) dns(t *testing.T) func(n int) resolved {
	t.Helper()
	b.server.start(t, "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--user=root", "--pid-file=",
		"--port=53", "--listen-address="+b.server.ipv4, "--bind-interfaces", "--address=/e2e/192.0.2.9", "--address=/e2e/2001:db8::9")
	conf := writeFile(t, b.dir, "resolv.conf", []byte("nameserver "+b.server.ipv4+"\noptions timeout:2 attempts:1\n"))
	// Addresses of both families must be configured for glibc to ask for both.
	script := writeFile(t, b.dir, "resolve.py", []byte(resolve))
	ask := func(n int) (r resolved) {
		// `ip netns exec` gives us a mount namespace of our own.
		out := b.client.run(t, "sh", "-c", fmt.Sprintf("mount --bind %s /etc/resolv.conf && exec python3 %s %d", conf, script, n))
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return r
	}
	eventually(t, "dnsmasq does not answer", func() bool {
		_, err := b.server.try(t, "dig", "+time=1", "+tries=1", "@"+b.server.ipv4, "ready.e2e")
		return err == nil
	})
	return ask
}

// lookups is how many names the resolver's test looks up. FFWD_DNS_LOOKUPS asks for
// another number: 100,000 take an hour with a listener that is so slow.
func lookups() int {
	if n, err := strconv.Atoi(os.Getenv("FFWD_DNS_LOOKUPS")); err == nil && n > 0 {
		return n
	}
	return 200
}

// The resolver's case: A and AAAA from one socket at once, through a queue with a slow
// listener. None is lost or held longer than the listener takes, and each socket has one
// flow. Built without joining, the same lookups fail: the test would see it.
// Source: VQ-1, VQ-3, CT-6
func TestResolverThroughAQueue(t *testing.T) {
	needRoot(t)
	t.Run("joining", func(t *testing.T) {
		b := newBed(t, afPacket, topology{settings: queries})
		ask := b.dns(t)
		b.slow(t)
		n := lookups()
		before := b.queues(t)
		r := ask(n)
		after := b.queues(t)
		q := after.Queues[0]
		t.Logf("%d lookups: %+v, outcomes %v, p50 %.1f ms, p99 %.1f ms", n, r, q.Outcomes, 1000*q.Latency.P50, 1000*q.Latency.P99)
		if r.Failed > 0 {
			t.Errorf("%d of %d lookups failed, the longest took %.2f s", r.Failed, n, r.Longest)
		}
		// A few sockets get the port of an earlier one, whose flow is still there.
		if flows := after.Flows.Created - before.Flows.Created; flows > uint64(n) || flows < uint64(n)*9/10 && n <= 1000 {
			t.Errorf("%d flows for %d sockets", flows, n)
		}
		if joined := q.Outcomes["joined"]; joined < uint64(n)/2 || joined+q.Outcomes["confirmed"] != uint64(2*n) {
			t.Errorf("of %d packets %d joined, %d confirmed", 2*n, joined, q.Outcomes["confirmed"])
		}
		b.digPairs(t)
		b.stop(t)
	})
	t.Run("without joining", func(t *testing.T) {
		other := filepath.Join(t.TempDir(), "ffwd")
		if out, err := exec.Command("go", "build", "-tags", "ffwd_nojoin", "-o", other, "../cmd/ffwd").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		saved := ffwd
		ffwd = other
		defer func() { ffwd = saved }()
		b := newBed(t, afPacket, topology{settings: queries})
		ask := b.dns(t)
		b.slow(t)
		if r := ask(5); r.Failed == 0 {
			t.Errorf("no lookup failed: %+v", r)
		}
		b.stop(t)
	})
}

// digPairs asks in pairs of processes at once.
func (b *bed) digPairs(t *testing.T) {
	t.Helper()
	for i := range 10 {
		out := b.client.run(t, "sh", "-c", fmt.Sprintf(
			`for type in A AAAA; do dig +short +time=2 +tries=1 @%s pair%d.e2e $type & done; wait`, b.server.ipv4, i))
		if !strings.Contains(out, "192.0.2.9") || !strings.Contains(out, "2001:db8::9") {
			t.Errorf("pair %d: %q", i, out)
		}
	}
}

// The example drops answers for names on its list, and no others. Source: VQ-7
func TestDNSGuard(t *testing.T) {
	needRoot(t)
	guard := filepath.Join(t.TempDir(), "dnsguard")
	if out, err := exec.Command("go", "build", "-o", guard, "../examples/dnsguard").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b := newBed(t, afPacket, topology{settings: strings.Replace(queries, "dst_ports", "src_ports", 1)})
	b.dns(t)
	b.listen(t, guard, "-socket", b.queueSocket(), writeFile(t, b.dir, "blocklist", []byte("# names\nbad.e2e\n")))
	dig := func(name string) string {
		out, _ := b.client.try(t, "dig", "+short", "+time=1", "+tries=1", "@"+b.server.ipv4, name)
		return out
	}
	for _, name := range []string{"good.e2e", "notbad.e2e"} {
		if out := dig(name); out != "192.0.2.9\n" {
			t.Errorf("%s: %s", name, out)
		}
	}
	for _, name := range []string{"bad.e2e", "www.bad.e2e"} {
		if out := dig(name); !strings.Contains(out, "timed out") {
			t.Errorf("%s: %s", name, out)
		}
	}
	if dropped := b.queues(t).Queues[0].Outcomes["dropped"]; dropped != 2 {
		t.Errorf("%d answers dropped", dropped)
	}
	b.stop(t)
}

// flood sends datagrams to an echo, at most 1,000 per second, and prints what came back, and
// how many it sent at most while nothing came: no less than so many milliseconds went by,
// and a machine that lets the script wait adds nothing.
const flood = `
import json, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE: what waited comes at once
s.connect((sys.argv[1], 7000))
s.setblocking(False)
sent, seen, last, quiet = 0, set(), 0, 0
def take():
    global last, quiet
    while True:
        try:
            seen.add(s.recv(100))
        except (BlockingIOError, ConnectionRefusedError):
            return
        quiet = max(quiet, sent - last)
        last = sent
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    s.send(b"%d" % sent)
    sent += 1
    time.sleep(0.001)
    take()
quiet = max(quiet, sent - last)
time.sleep(0.5)
take()
print(json.dumps({"sent": sent, "received": len(seen), "quiet": quiet}))
`

const echoScript = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
s.bind((sys.argv[1], 7000))
while True:
    data, peer = s.recvfrom(100)
    s.sendto(data, peer)
`

// kill -9 of the listener under load: what waits and what comes passes by the rule's
// bypass, and nothing of the listener is left. Then others listen, in other languages.
// Source: VQ-5, VQ-7
func TestListenersComeAndGo(t *testing.T) {
	needRoot(t)
	b := newBed(t, afPacket, topology{settings: `
[[queues]]
number = 0
[[timeout_policies]]
name = "brief"
family = "ipv4"
protocol = "udp"
timeouts = { unreplied = "3s", replied = "3s" }
[[rules]]
action = "queue"
queue = 0
bypass = true
protocol = "udp"
timeout = "brief"
`})
	b.server.start(t, "python3", writeFile(t, b.dir, "echo.py", []byte(echoScript)), b.server.ipv4)
	script := writeFile(t, b.dir, "flood.py", []byte(flood))
	type result struct {
		Sent, Received, Quiet int
	}
	run := func(t *testing.T, seconds int) (r result) {
		out := b.client.run(t, "python3", script, b.server.ipv4, fmt.Sprint(seconds))
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err, out)
		}
		return r
	}
	eventually(t, "the echo does not answer", func() bool {
		out, _ := b.client.try(t, "python3", script, b.server.ipv4, "0.01")
		return out != "" && !strings.Contains(out, `"received": 0`)
	})
	t.Run("kill", func(t *testing.T) {
		l := b.slowest(t)
		killed := make(chan struct{})
		time.AfterFunc(1500*time.Millisecond, func() { l.Process.Signal(syscall.SIGKILL); close(killed) })
		r := run(t, 3)
		<-killed
		if p := b.brief(t); p.Flows == 0 {
			t.Errorf("no flow has the policy: %+v", p)
		}
		q := b.queues(t).Queues[0]
		t.Logf("%+v, outcomes %v", r, q.Outcomes)
		if r.Received != r.Sent {
			t.Errorf("%d of %d datagrams came back; drops %v", r.Received, r.Sent, b.ffwd.report(t).Drops)
		}
		if r.Quiet > 100 {
			t.Errorf("nothing came for %d ms or more", r.Quiet)
		}
		if q.Listening || q.Packets != 0 || q.Outcomes["bypassed"] == 0 || q.Outcomes["confirmed"] == 0 {
			t.Errorf("%+v", q)
		}
		eventually(t, "the policy is held by flows or packets that are gone", func() bool {
			p := b.brief(t)
			return p.Queued == 0 && p.Flows == 0 && p.References == p.Rules+1
		})
	})
	for name, args := range map[string][]string{
		"go":     {ffwd, "queue", "listen", "--queue-socket", b.queueSocket(), "--accept", "--dump", "--json"},
		"python": {"python3", "../examples/queue_listener.py", b.queueSocket(), "0", "accept"},
	} {
		t.Run(name, func(t *testing.T) {
			before := b.queues(t).Queues[0].Outcomes["confirmed"]
			l := b.listen(t, args...)
			r := run(t, 1)
			l.Process.Kill()
			q := b.queues(t).Queues[0]
			t.Logf("%+v, outcomes %v", r, q.Outcomes)
			if r.Received != r.Sent || q.Outcomes["confirmed"]-before < uint64(r.Sent) {
				t.Errorf("%+v, %v", r, q.Outcomes)
			}
			eventually(t, "the listener is not gone", func() bool { return !b.queues(t).Queues[0].Listening })
		})
	}
	out := b.ffwd.client(t, "queue", "list")
	wantMatch(t, out, `(?m)^\s*0\s+none\s`)
	b.stop(t)
}

// policyUse is what refers to a timeout policy.
type policyUse struct {
	References, Flows, Rules, Queued int
}

// brief is what refers to the policy of that name, the only one.
func (b *bed) brief(t *testing.T) policyUse {
	t.Helper()
	out := b.ffwd.client(t, "timeout", "list", "--json")
	var list struct{ Policies []policyUse }
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Policies) != 1 || list.Policies[0].Rules != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	return list.Policies[0]
}

// slowest is a listener that keeps packets waiting.
func (b *bed) slowest(t *testing.T) *exec.Cmd {
	return b.listen(t, ffwd, "queue", "listen", "--queue-socket", b.queueSocket(), "--accept", "--delay", "1ms")
}

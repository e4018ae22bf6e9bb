package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// queries leads DNS questions to a listener.
const queries = `
[[queues]]
number = 0
stall = "4s"
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
		Joined  struct {
			Burst uint64 `json:"burst"`
			Queue uint64 `json:"queue"`
		} `json:"joined"`
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
		Max float64 `json:"max_s"`
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

// listenTo does so for the queue at a place of the configuration. The queue is free when the
// workers have let go of the listener before, so that one who comes too early tries again.
func (b *bed) listenTo(t *testing.T, queue int, args ...string) *exec.Cmd {
	t.Helper()
	var c *exec.Cmd
	var ended chan struct{}
	eventually(t, "nobody listens", func() bool {
		select {
		case <-ended:
			ended = nil
		default:
		}
		if ended == nil {
			c, ended = b.startListener(t, args...)
		}
		return b.queues(t).Queues[queue].Listening
	})
	return c
}

// startListener starts a listener beside the switch; it is gone when the test ends.
func (b *bed) startListener(t *testing.T, args ...string) (c *exec.Cmd, ended chan struct{}) {
	t.Helper()
	var log lockedBuffer
	c, ended = exec.Command("taskset", append([]string{"-c", hostCores}, args...)...), make(chan struct{})
	c.Stdout, c.Stderr = &log, &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.Wait(); close(ended) }()
	t.Cleanup(func() {
		c.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%v printed:\n%.2000s", args, log.String())
		}
	})
	return c, ended
}

func (b *bed) queueSocket() string { return filepath.Join(b.dir, "queue.sock") }

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
// and a machine that lets the script wait adds nothing. It waits so many seconds for the rest.
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
last = time.monotonic()
while len(seen) < sent and time.monotonic() < last + float(sys.argv[3]):
    time.sleep(0.01)
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
stall = "4s"
timeout = "5s"
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
		out := b.client.run(t, "python3", script, b.server.ipv4, fmt.Sprint(seconds), "10")
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err, out)
		}
		return r
	}
	eventually(t, "the echo does not answer", func() bool {
		out, _ := b.client.try(t, "python3", script, b.server.ipv4, "0.01", "0.5")
		return out != "" && !strings.Contains(out, `"received": 0`)
	})
	t.Run("kill", func(t *testing.T) {
		kill := func() (r result) {
			l := b.slowest(t)
			before := b.queues(t).Queues[0].Outcomes["confirmed"]
			out := b.during(t, "the listener decides nothing", func() bool { return b.queues(t).Queues[0].Outcomes["confirmed"] > before+100 }, func() error {
				if p := b.brief(t); p.Flows == 0 { // asked while they have packets: they live no longer than three seconds
					t.Errorf("no flow has the policy: %+v", p)
				}
				return l.Process.Kill()
			}, "python3", script, b.server.ipv4, "3", "10")
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatal(err, out)
			}
			q := b.queues(t).Queues[0]
			t.Logf("%+v, outcomes %v", r, q.Outcomes)
			if r.Received != r.Sent {
				t.Errorf("%d of %d datagrams came back; drops %v", r.Received, r.Sent, b.ffwd.report(t).Drops)
			}
			if q.Listening || q.Packets != 0 || q.Outcomes["bypassed"] == 0 || q.Outcomes["confirmed"] == 0 {
				t.Errorf("%+v", q)
			}
			return r
		}
		// Others may keep the switch or the echo from a processor for that long, but
		// hardly three times at the same place.
		r := kill()
		for again := 0; again < 2 && r.Quiet > 100; again++ {
			r = kill()
		}
		if r.Quiet > 100 {
			t.Errorf("nothing came for %d ms or more, three times", r.Quiet)
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

// during runs a command on the client, and does something as soon as a condition holds.
func (b *bed) during(t *testing.T, what string, condition func() bool, do func() error, args ...string) string {
	t.Helper()
	var out, log lockedBuffer
	c := b.client.command(t.Context(), args...)
	c.Stdout, c.Stderr = &out, &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, what, condition)
	if err := do(); err != nil {
		t.Error(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatalf("%v: %v: %s", args, err, log.String())
	}
	return out.String()
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

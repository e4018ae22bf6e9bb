package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
)

// spread leads everything to one of four queues. A machine so busy that a listener seems to
// stall loses nothing for it.
const spread = `
[[queues]]
number = 0
[[queues]]
number = 1
[[queues]]
number = 2
[[queues]]
number = 3
[[timeout_policies]]
name = "brief"
family = "ipv4"
protocol = "udp"
timeouts = { unreplied = "3s", replied = "3s" }
[[rules]]
action = "queue"
queue = "0-3"
bypass = true
fail_open = true
timeout = "brief"
`

// many sends datagrams to an echo from many sockets in turn, each with its own flow, until a
// time is over, and prints how many went and how many came back.
const many = `
import json, select, socket, sys, time
socks = []
for i in range(32):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, 33, 1 << 20)
    s.connect((sys.argv[1], 7000))
    s.setblocking(False)
    socks.append(s)
sent, seen = 0, set()
def take(wait):
    for s in select.select(socks, [], [], wait)[0]:
        try:
            seen.add(s.recv(100))
        except (BlockingIOError, ConnectionRefusedError):
            pass
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    for s in socks:
        s.send(b"%d" % sent)
        sent += 1
        take(0)
    time.sleep(0.008)
last = time.monotonic()
while len(seen) < sent and time.monotonic() < last + 5:
    take(0.1)
print(json.dumps({"sent": sent, "received": len(seen)}))
`

// Two workers feed four queues, each with a listener of its own, over which the flows are
// spread: real traffic passes, and each queue has its figures. kill -9 of one listener
// moves the packets of its queue alone to the rule's policy, until there is another.
// Source: VQ-1, VQ-5, VQ-7
func TestQueuesOfSeveralWorkers(t *testing.T) {
	needRoot(t)
	b := newBed(t, afPacket, topology{cores: []int{0, 1}, settings: spread, metrics: "127.0.0.1:9475"})
	b.server.start(t, "python3", writeFile(t, b.dir, "echo.py", []byte(echoScript)), b.server.ipv4)
	script := writeFile(t, b.dir, "many.py", []byte(many))
	check := func(t *testing.T, out string) {
		t.Helper()
		var r struct{ Sent, Received int }
		if err := json.Unmarshal([]byte(out), &r); err != nil || r.Received != r.Sent || r.Sent == 0 {
			t.Errorf("%v: %s; drops %v", err, out, b.ffwd.report(t).Drops)
		}
	}
	send := func(t *testing.T, seconds string) {
		t.Helper()
		check(t, b.client.run(t, "python3", script, b.server.ipv4, seconds))
	}
	eventually(t, "the echo does not answer", func() bool {
		out, _ := b.client.try(t, "python3", script, b.server.ipv4, "0.01")
		return regexp.MustCompile(`"received": [1-9]`).MatchString(out)
	})
	listen := func(queue int) *os.Process {
		return b.listenTo(t, queue, ffwd, "queue", "listen", "--queue-socket", b.queueSocket(), "--queue", fmt.Sprint(queue), "--accept").Process
	}
	var listeners [4]*os.Process
	for queue := range listeners {
		listeners[queue] = listen(queue)
	}
	before := b.queues(t).Queues
	t.Run("ping", func(t *testing.T) {
		for _, address := range []string{b.server.ipv4, b.server.ipv6} {
			b.client.ping(t, address, "-c", "50", "-i", "0.01")
		}
	})
	t.Run("iperf", func(t *testing.T) { checkIperfShort(t, b) })
	t.Run("dig", func(t *testing.T) { b.dns(t); b.digPairs(t) })
	t.Run("many", func(t *testing.T) { send(t, "1") })
	t.Run("figures", func(t *testing.T) { b.checkQueueFigures(t, before) })
	t.Run("kill", func(t *testing.T) {
		before := b.queues(t).Queues
		check(t, b.during(t, "a queue has nothing to do", func() bool {
			for i, q := range b.queues(t).Queues {
				if q.Outcomes["confirmed"] == before[i].Outcomes["confirmed"] {
					return false
				}
			}
			return true
		}, func() error { return listeners[2].Kill() }, "python3", script, b.server.ipv4, "2"))
		eventually(t, "the listener is not gone", func() bool { return !b.queues(t).Queues[2].Listening })
		for i, q := range b.queues(t).Queues {
			bypassed, confirmed := q.Outcomes["bypassed"]-before[i].Outcomes["bypassed"], q.Outcomes["confirmed"]-before[i].Outcomes["confirmed"]
			if q.Listening != (i != 2) || (bypassed > 0) != (i == 2) || confirmed == 0 || q.Packets != 0 {
				t.Errorf("queue %d: %d bypassed, %d confirmed, %+v", i, bypassed, confirmed, q)
			}
		}
		listen(2)
		before = b.queues(t).Queues
		send(t, "0.5")
		after := b.queues(t).Queues[2].Outcomes
		if after["confirmed"] == before[2].Outcomes["confirmed"] || after["bypassed"] != before[2].Outcomes["bypassed"] {
			t.Errorf("the next listener: %v, then %v", before[2].Outcomes, after)
		}
	})
	eventually(t, "the policy is held by flows or packets that are gone", func() bool {
		p := b.brief(t)
		return p.Queued == 0 && p.Flows == 0 && p.References == p.Rules+1
	})
	for _, w := range b.stop(t).Workers {
		if w.Packets == 0 && w.TakenOver == 0 {
			t.Errorf("a worker had nothing to do: %+v", w)
		}
	}
}

// checkQueueFigures looks at what the queues had to do, in the report, in the CLI, and in the
// metrics.
func (b *bed) checkQueueFigures(t *testing.T, before []queueFigures) {
	t.Helper()
	list, latencies := b.ffwd.client(t, "queue", "list"), b.ffwd.client(t, "queue", "list", "--latency")
	metrics := b.router.run(t, "curl", "-s", "http://127.0.0.1:9475/metrics")
	for i, q := range b.queues(t).Queues {
		confirmed := q.Outcomes["confirmed"]
		if confirmed == before[i].Outcomes["confirmed"] || q.Outcomes["expired"]+q.Outcomes["refused"] > 0 || q.Latency.P50 <= 0 || q.Latency.P99 < q.Latency.P50 {
			t.Errorf("queue %d: %+v", i, q)
		}
		wantMatch(t, list, fmt.Sprintf(`(?m)^\s*%d\s+pid \d+\s`, i))
		wantMatch(t, latencies, fmt.Sprintf(`(?m)^\s*%d\s+[\d.]+\S?s\s+\d+\s+100.00%%`, i))
		for name, want := range map[string]uint64{
			fmt.Sprintf(`ffwd_queue_outcomes_total{outcome="confirmed",queue="%d"}`, i): confirmed,
			fmt.Sprintf(`ffwd_queue_latency_seconds_count{queue="%d"}`, i):              q.Verdicts,
		} {
			found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(metrics)
			if found == nil {
				t.Fatalf("no metric %s", name)
			}
			if got, err := strconv.ParseFloat(found[1], 64); err != nil || uint64(got) < want/2 || uint64(got) > want {
				t.Errorf("metric %s is %s, want %d", name, found[1], want)
			}
		}
	}
}

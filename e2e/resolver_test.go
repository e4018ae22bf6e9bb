package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// resolve looks names up as programs do: glibc asks for both addresses of a name from
// one socket at the same instant. It prints how many lookups failed, or succeeded only
// when glibc had asked once more, and the longest.
const resolve = `
import json, socket, sys, time
failed, longest = 0, 0
for i in range(int(sys.argv[2])):
    start = time.monotonic()
    try:
        found = {a[4][0] for a in socket.getaddrinfo("%s-%d.e2e" % (sys.argv[1], i), 80, type=socket.SOCK_STREAM)}
        failed += found != {"192.0.2.9", "2001:db8::9"}
        failed += time.monotonic() - start > 1.5
    except OSError:
        failed += 1
    longest = max(longest, time.monotonic() - start)
print(json.dumps({"failed": failed, "longest": longest}))
`

// resolved is what became of lookups.
type resolved struct {
	Failed  int     `json:"failed"`
	Longest float64 `json:"longest"`

	lost, repeated int // of the questions, two for each name, as the server had them
	divided        int // names whose questions came from two sockets
	tuples         int // different sockets, by address of the server and port of the client
}

func (r resolved) String() string {
	return fmt.Sprintf("%d failed, the longest took %.0f ms; %d questions lost, %d repeated; %d names asked from two sockets; %d different tuples",
		r.Failed, 1000*r.Longest, r.lost, r.repeated, r.divided, r.tuples)
}

// nameServers is how many addresses the server answers at: a resolver asks one of them, so
// that a hundred thousand sockets need not share the ports of one.
const nameServers = 16

// toNameServers is the way to them. Flows end soon, so that few sockets get the port of one
// whose flow is still there.
const toNameServers = `
[ct.timeouts.udp]
unreplied = "5s"
replied = "5s"
[[routes]]
prefix = "10.9.0.0/24"
via = "10.2.2.2"
`

// dns starts a server for names that end in e2e.
func (b *bed) dns(t *testing.T) (log string) {
	t.Helper()
	log = filepath.Join(b.dir, "dnsmasq.log")
	args := []string{"dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--user=root", "--pid-file=",
		"--port=53", "--bind-interfaces", "--address=/e2e/192.0.2.9", "--address=/e2e/2001:db8::9",
		"--log-queries=extra", "--log-facility=" + log, "--listen-address=" + b.server.ipv4}
	for i := range nameServers {
		b.server.ip("addr add " + nameServer(i) + "/32 dev lo")
		args = append(args, "--listen-address="+nameServer(i))
	}
	b.server.start(t, args...)
	eventually(t, "dnsmasq does not answer", func() bool {
		_, err := b.server.try(t, "dig", "+time=1", "+tries=1", "@"+b.server.ipv4, "ready.e2e")
		return err == nil
	})
	return log
}

func nameServer(i int) string { return fmt.Sprintf("10.9.0.%d", 1+i) }

// lookUp looks n names up in so many processes at once. log is the server's.
func (b *bed) lookUp(t *testing.T, log string, processes, n int) (sum resolved) {
	t.Helper()
	b.client.sysctl(map[string]string{"ipv4/ip_local_port_range": "1024 65535"})
	// Addresses of both families must be configured for glibc to ask for both.
	script := writeFile(t, b.dir, "resolve.py", []byte(resolve))
	var wait sync.WaitGroup
	var mu sync.Mutex
	for i := range processes {
		conf := writeFile(t, b.dir, fmt.Sprintf("resolv%d.conf", i), []byte("nameserver "+nameServer(i%nameServers)+"\noptions timeout:2 attempts:1\n"))
		count := n*(i+1)/processes - n*i/processes
		// `ip netns exec` gives each a mount namespace of its own.
		c := b.client.command(t.Context(), "sh", "-c", fmt.Sprintf("mount --bind %s /etc/resolv.conf && exec python3 %s p%d %d", conf, script, i, count))
		wait.Go(func() {
			out, err := c.CombinedOutput()
			var r resolved
			mu.Lock()
			defer mu.Unlock()
			if err != nil || json.Unmarshal(out, &r) != nil {
				t.Errorf("resolver: %v: %s", err, out)
				return
			}
			sum.Failed += r.Failed
			sum.Longest = max(sum.Longest, r.Longest)
		})
	}
	wait.Wait()
	sum.arrived(t, log, processes, n)
	return sum
}

var asked = regexp.MustCompile(`(?m) \S+/(\d+) query\[(A|AAAA)\] (p(\d+)-\d+)\.e2e from`)

// arrived fills in what the server saw of the lookups, of which there were so many.
func (r *resolved) arrived(t *testing.T, log string, processes, n int) {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	type question struct{ name, kind string }
	type socket struct {
		server int
		port   string
	}
	from, sockets := map[question]string{}, map[socket]bool{}
	for _, m := range asked.FindAllStringSubmatch(string(text), -1) {
		q := question{m[3], m[2]}
		if _, again := from[q]; again {
			r.repeated++
		}
		from[q] = m[1]
		process, _ := strconv.Atoi(m[4])
		sockets[socket{process % nameServers, m[1]}] = true
	}
	r.lost, r.tuples = 2*n-len(from), len(sockets)
	for q, port := range from {
		if other, ok := from[question{q.name, "AAAA"}]; q.kind == "A" && ok && other != port {
			r.divided++
		}
	}
}

// lookups is how many names the resolver's test looks up, and in how many processes at
// once. FFWD_DNS_LOOKUPS asks for another number: 100,000 take some minutes.
func lookups() (n, processes int) {
	n = 400
	if asked, err := strconv.Atoi(os.Getenv("FFWD_DNS_LOOKUPS")); err == nil && asked > 0 {
		n = asked
	}
	return n, max(1, min(nameServers, n/100))
}

// slow is a listener to which each packet waits 5 ms.
func (b *bed) slow(t *testing.T) *exec.Cmd {
	return b.listen(t, ffwd, "queue", "listen", "--queue-socket", b.queueSocket(), "--accept", "--delay", "5ms")
}

// The resolver's case: A and AAAA from one socket at once, through a queue with a slow
// listener. Every question comes to the server, once, none is held longer than the listener
// takes, and each socket has one flow. Built without joining, the same lookups fail: the
// test would see it. Source: VQ-1, VQ-3, CT-6
func TestResolverThroughAQueue(t *testing.T) {
	needRoot(t)
	t.Run("joining", func(t *testing.T) {
		b := newBed(t, afPacket, topology{settings: queries + toNameServers})
		log := b.dns(t)
		b.slow(t)
		n, processes := lookups()
		before := b.queues(t)
		r := b.lookUp(t, log, processes, n)
		after := b.queues(t)
		flows, q := after.Flows.Created-before.Flows.Created, after.Queues[0]
		t.Logf("%d lookups in %d processes: %v; %d flows; outcomes %v; in the queue p50 %.1f ms, p99 %.1f ms, at most %.1f ms",
			n, processes, r, flows, q.Outcomes, 1000*q.Latency.P50, 1000*q.Latency.P99, 1000*q.Latency.Max)
		r.check(t)
		// A few sockets get the port of an earlier one, whose flow is still there.
		if flows > uint64(n) || flows < uint64(r.tuples) {
			t.Errorf("%d flows for %d sockets, %d of them with tuples of their own", flows, n, r.tuples)
		}
		if joined := q.Outcomes["joined"]; joined < uint64(r.tuples)/2 || joined > flows || joined+q.Outcomes["confirmed"] != uint64(2*n) {
			t.Errorf("of %d packets %d joined, %d confirmed", 2*n, joined, q.Outcomes["confirmed"])
		}
		b.digPairs(t)
		b.stop(t)
	})
	t.Run("without a queue", func(t *testing.T) {
		b := newBed(t, afPacket, topology{settings: toNameServers})
		log := b.dns(t)
		n, processes := lookups()
		before := b.queues(t)
		r := b.lookUp(t, log, processes, n)
		after := b.queues(t)
		flows := after.Flows.Created - before.Flows.Created
		t.Logf("%d lookups: %v; %d flows; %d joined in one burst; drops %v", n, r, flows, after.Flows.Joined.Burst, b.ffwd.report(t).Drops)
		r.check(t)
		if flows > uint64(n) || flows < uint64(r.tuples) {
			t.Errorf("%d flows for %d sockets, %d of them with tuples of their own", flows, n, r.tuples)
		}
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
		b := newBed(t, afPacket, topology{settings: queries + toNameServers})
		log := b.dns(t)
		b.slow(t)
		// Each in a process of its own: glibc asks one after the other when it has found
		// that one of two questions is lost.
		const n = 5
		r := b.lookUp(t, log, n, n)
		stale := b.queues(t).Queues[0].Outcomes["stale"]
		t.Logf("%d lookups: %v; %d stale", n, r, stale)
		if r.Failed <= n/2 || r.lost+r.repeated <= n/2 || stale <= n/2 {
			t.Errorf("of %d lookups %v; %d packets were stale", n, r, stale)
		}
		b.stop(t)
	})
}

// check wants all answers, and nothing asked for twice.
func (r resolved) check(t *testing.T) {
	t.Helper()
	if r.Failed+r.lost+r.repeated+r.divided > 0 {
		t.Error(r)
	}
}

// digPairs asks in pairs of processes at once.
func (b *bed) digPairs(t *testing.T) {
	t.Helper()
	n, _ := lookups()
	pairs := max(10, n/1000)
	out := b.client.run(t, "sh", "-c", fmt.Sprintf(`seq %d | xargs -P 8 -I{} sh -c '
		dig +short +time=2 +tries=1 @%s pair{}.e2e A & dig +short +time=2 +tries=1 @%[2]s pair{}.e2e AAAA & wait'`, pairs, b.server.ipv4))
	for _, want := range []string{"192.0.2.9\n", "2001:db8::9\n"} {
		if got := strings.Count(out, want); got != pairs {
			t.Errorf("%d of %d pairs were told %q in %.500s", got, pairs, want, out)
		}
	}
}

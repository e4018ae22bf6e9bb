package e2e

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// trackedFlow is one line of `conntrack -L -o extended`, and of `ffwd ct list`, which
// prints the same.
type trackedFlow struct {
	state              string
	expiresS           int
	unreplied, assured bool
	directions         [2]string // original and reply, as wireDirection names them
	packets, bytes     [2]uint64
	seen               time.Time // when it was listed
}

var (
	flowPattern = regexp.MustCompile(`^ipv[46] +(?:2|10) +\w+ +(\d+) (\d+) ([A-Z_0-9]+ )?` + halfPattern + `(\[UNREPLIED\] )?` + halfPattern +
		`(\[ASSURED\] )?mark=0 use=\d+$`)
	ephemeralPort = regexp.MustCompile(` (5\d{4})\b`)
)

const (
	halfPattern = `src=(\S+) dst=(\S+) ((?:\w+=\d+ )+)packets=(\d+) bytes=(\d+) `
	// Source ports that nobody chose; those that the test chose are below.
	ephemeralPorts = "50000 59999"
)

// parseFlow reads a line.
func parseFlow(t *testing.T, line string, seen time.Time) *trackedFlow {
	t.Helper()
	m := flowPattern.FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("not a flow: %q", line)
	}
	number := func(i int) uint64 { n, _ := strconv.ParseUint(m[i], 10, 64); return n }
	half := func(i int) string {
		var a, b int
		if _, err := fmt.Sscanf(m[i+2], "sport=%d dport=%d", &a, &b); err == nil {
			return fmt.Sprintf("%s %s %d > %s %d", m[1], m[i], a, m[i+1], b)
		}
		var code int
		if _, err := fmt.Sscanf(m[i+2], "type=%d code=%d id=%d", &a, &code, &b); err != nil || code != 0 {
			t.Fatalf("not a tuple: %q", line)
		}
		return fmt.Sprintf("%s %s > %s type=%d id=%d", m[1], m[i], m[i+1], a, b)
	}
	return &trackedFlow{state: strings.TrimSpace(m[3]), expiresS: int(number(2)), unreplied: m[9] != "", assured: m[15] != "",
		directions: [2]string{half(4), half(10)}, packets: [2]uint64{number(7), number(13)}, bytes: [2]uint64{number(8), number(14)}, seen: seen}
}

// forgetFlows empties the router's table.
func (b *bed) forgetFlows(t *testing.T) {
	t.Helper()
	if b.ffwd == nil {
		b.router.run(t, "conntrack", "-F")
		return
	}
	b.ffwd.client(t, "ct", "delete", "--all")
}

// flows lists the router's table. A source port that the kernel chose is named "*".
func (b *bed) flows(t *testing.T) map[string]*trackedFlow {
	t.Helper()
	var text string
	seen := time.Now()
	if b.ffwd == nil {
		for _, family := range []string{"ipv4", "ipv6"} {
			text += b.router.run(t, "sh", "-c", "conntrack -L -o extended -f "+family+" 2>/dev/null")
		}
	} else {
		text = b.ffwd.client(t, "ct", "list")
	}
	all := map[string]*trackedFlow{}
	for line := range strings.Lines(text) {
		f := parseFlow(t, strings.TrimSpace(line), seen)
		key := ephemeralPort.ReplaceAllString(strings.Join(f.directions[:], ", "), " *")
		if all[key] != nil {
			t.Fatalf("%s is there twice:\n%s", key, text)
		}
		all[key] = f
	}
	return all
}

// What two tables may differ by: time passes between two readings of a clock, and
// listings print whole seconds.
const lifetimeSlackS = 2

// observation is what a router had in its table behind the traffic, and what the
// hosts had sent.
type observation struct {
	flows map[string]*trackedFlow
	wire  map[string]sent
}

// lifetimeS is how long the flow lives without a packet: what is left and what has
// passed since the latest packet.
func (o *observation) lifetimeS(f *trackedFlow) float64 {
	last := o.wire[f.directions[0]].last
	if reply := o.wire[f.directions[1]].last; reply.After(last) {
		last = reply
	}
	return float64(f.expiresS) + f.seen.Sub(last).Seconds()
}

// miscounted lists the flows whose counters are not what the hosts sent.
func (o *observation) miscounted() (list []string) {
	for key, f := range o.flows {
		for i, direction := range f.directions {
			if w := o.wire[direction]; f.packets[i] != w.packets || f.bytes[i] != w.bytes {
				list = append(list, fmt.Sprintf("%s: %s has %d packets, %d bytes; sent were %d and %d", key, direction, f.packets[i], f.bytes[i], w.packets, w.bytes))
			}
		}
	}
	return list
}

// The same traffic of the tools that everybody has, through a router of the Linux
// kernel and through ours. Then `conntrack -L -o extended` and `ffwd ct list` show the
// same flows, in the same states, with the same marks and the same time left since
// their last packet; and what each counted is what tcpdump saw the hosts send.
// Source: CT-2, CT-3, CT-4, CT-10; differences are explained in docs/behaviour.md.
func TestFlowsAsTheKernelHasThem(t *testing.T) {
	needRoot(t)
	observe := func(t *testing.T, v variant) *observation {
		b := newBed(t, v, topology{settings: "[ct.timeouts.tcp]\nclose = \"100s\"\n[[rules]]\naction = \"drop\"\nstate = [\"invalid\"]\n"})
		if b.ffwd == nil {
			// A ruleset that mentions conntrack makes the kernel track. What is closed
			// lives so long that no machine is too slow for this test.
			b.setPolicy(t, open)
			b.router.sysctl(map[string]string{"netfilter/nf_conntrack_acct": "1", "netfilter/nf_conntrack_tcp_timeout_close": "100"})
		}
		o := b.observe(t)
		for _, f := range o.miscounted() {
			t.Errorf("%s", f)
		}
		b.stop(t)
		return o
	}
	var reference *observation
	t.Run(kernel.name, func(t *testing.T) { reference = observe(t, kernel) })
	if reference == nil || len(reference.flows) < 40 {
		t.Fatalf("the kernel has nothing to compare with: %v", reference)
	}
	for _, v := range []variant{afPacket, afXDP} {
		t.Run(v.name, func(t *testing.T) { observe(t, v).compare(t, reference) })
	}
}

// compare reports every difference between two tables.
func (o *observation) compare(t *testing.T, with *observation) {
	t.Helper()
	for key, want := range with.flows {
		got := o.flows[key]
		if got == nil {
			t.Errorf("missing: %s, %+v", key, want)
			continue
		}
		if strings.Contains(key, iperfData) { // it ends by FIN or by RST, as chance has it
			continue
		}
		if got.state != want.state || got.unreplied != want.unreplied || got.assured != want.assured {
			t.Errorf("%s:\n got %+v\nwant %+v", key, got, want)
		}
		if a, b := o.lifetimeS(got), with.lifetimeS(want); max(a-b, b-a) > lifetimeSlackS {
			t.Errorf("%s: lives %.1f s, in the kernel %.1f s", key, a, b)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(o.flows)) {
		if with.flows[key] == nil {
			t.Errorf("not in the kernel: %s, %+v", key, o.flows[key])
		}
	}
}

package slowpath

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ffwd/fib"
)

// command draws a line for ip -batch. Many fail, as many do for a user: the
// kernel says what is there afterwards.
// told leaves out what the kernel changes more by than it tells.
func command(t *rapid.T, told bool) string {
	pick := func(of ...string) string { return rapid.SampledFrom(of).Draw(t, "pick") }
	dev := pick("lan", "wan", "mgmt")
	v6 := rapid.Bool().Draw(t, "v6")
	gateways, dst := []string{"10.1.0.2", "10.1.0.3", "10.2.0.2", "10.3.0.2"}, pick("10.9.0.0/16", "10.9.0.0/16", "0.0.0.0/0", "10.1.0.0/24")
	if v6 {
		gateways, dst = []string{"fd01::2", "fd01::3", "fd02::2", "fe80::2 dev lan", "fe80::2 dev wan"}, pick("2001:db8::/32", "2001:db8::/32", "::/0", "fd01::/64")
	}
	verb := pick("add", "replace", "append", "prepend", "del", "del")
	metric := pick(" metric 10", " metric 10", " metric 20")
	protocol := pick("", "", " proto bird")
	if v6 {
		protocol = "" // each hop of a route has its own
	} else {
		protocol += pick("", "", "", " src 10.1.0.1", " src 10.2.0.1", " mtu 1300", " mtu 1400")
	}
	from, plain := 0, metric // plain is for IPv6 routes without a gateway
	if told {
		from = 3
		if v6 { // mixed with others of their metric their order is not told
			plain = " metric " + rapid.StringMatching("[0-9]{6}").Draw(t, "metric")
		}
	}
	switch rapid.IntRange(from, 24).Draw(t, "what") {
	case 0: // one on two interfaces would be whose it was first
		return "addr " + pick("add", "del") + " " + pick("10.1.0.1/24 dev lan", "10.2.0.1/24 dev wan", "10.3.0.1/24 dev mgmt",
			"fd01::1/64 dev lan", "fd02::1/64 dev wan", "10.1.0.77/24 dev lan", "10.1.0.1/32 dev lan", "fd01::9/128 dev lan noprefixroute")
	case 1:
		return "link set " + dev + " " + pick("down", "up", "up", "up")
	case 2:
		return "nexthop del id " + pick("1", "2", "3")
	case 3:
		return "neigh " + pick("replace", "replace", "del") + " " + pick("10.1.0.2", "fd01::2", "fe80::2") + " dev " + dev + " lladdr 02:00:00:00:00:0" + pick("1", "2") + " nud " + pick("reachable", "stale", "permanent", "failed")
	case 4:
		gateway, _, _ := strings.Cut(pick(gateways...), " dev ")
		return "nexthop " + pick("add", "replace") + " id " + pick("1", "2") + " via " + gateway + pick("", " dev lan", " dev wan")
	case 5:
		return "nexthop " + pick("add", "replace") + " id 3 group " + pick("1", "2", "1/2", "1,3/2,2")
	case 6:
		return fmt.Sprintf("route %s %s nhid %s%s", verb, dst, pick("1", "2", "3"), plain)
	case 7:
		return fmt.Sprintf("route %s %s %s%s", verb, pick("blackhole", "unreachable", "prohibit"), dst, plain)
	case 8:
		return fmt.Sprintf("route %s %s%s%s nexthop via %s weight %s nexthop via %s", verb, dst, metric, protocol, pick(gateways...), pick("1", "5"), pick(gateways...))
	case 9, 10:
		return fmt.Sprintf("route %s %s dev %s%s", verb, dst, dev, plain)
	}
	return fmt.Sprintf("route %s %s via %s%s%s", verb, dst, pick(gateways...), metric, protocol)
}

// Whatever is done to routes, addresses, links, nexthop objects and neighbours,
// the tables that followed the notifications are those that a dump makes. SP-2.
func TestMirrorAgreesWithAFreshDump(t *testing.T) {
	for _, told := range []bool{false, true} {
		t.Run(fmt.Sprintf("told=%v", told), func(t *testing.T) {
			b := newMirrorBed(t, func(c *MirrorConfig) {
				c.resyncInterval = 5 * time.Millisecond
				if told {
					c.auditInterval = 50 * time.Millisecond
				}
			})
			rapid.Check(t, func(rt *rapid.T) { b.followed(rt, told) })
		})
	}
}

// run makes ip do the lines of a script, and go on after those that fail. Whoever
// asks it for a neighbour that cannot be ends it.
func (b *mirrorBed) run(script []string) {
	for len(script) > 0 {
		n := 1 + slices.IndexFunc(script, func(line string) bool { return strings.HasPrefix(line, "neigh ") })
		if n == 0 {
			n = len(script)
		}
		_, _ = b.try(strings.Join(script[:n], "\n"))
		script = script[n:]
	}
}

// reset gives the namespace the addresses and nexthop objects that scripts begin with.
func (b *mirrorBed) reset() (script []string) {
	in(b.t, b.ns, "ip", "nexthop", "flush") // first: the kernel does not delete a route by what it shows of its nexthop object
	in(b.t, b.ns, "ip", "-6", "route", "flush", "proto", "boot")
	script = []string{"route flush table main", "link set lan up", "link set wan up", "link set mgmt up"}
	for _, dev := range []string{"lan", "wan", "mgmt"} {
		script = append(script, "addr flush dev "+dev+" scope global", "neigh flush dev "+dev+" nud all")
	}
	script = append(script, "addr add 10.1.0.1/24 dev lan", "addr add 10.2.0.1/24 dev wan", "addr add 10.3.0.1/24 dev mgmt",
		"addr add fd01::1/64 dev lan", "addr add fd02::1/64 dev wan", "nexthop add id 1 via 10.1.0.2 dev lan", "nexthop add id 2 via 10.2.0.2 dev wan")
	b.run(script)
	return script
}

// followed runs a random script. If the kernel tells all that it does, there must
// be no dump to make up for what was misunderstood.
func (b *mirrorBed) followed(rt *rapid.T, told bool) {
	script := b.reset()
	var commands []string
	for range rapid.IntRange(1, 40).Draw(rt, "steps") {
		commands = append(commands, command(rt, told))
	}
	b.synced()
	f := b.mirror.feeds[0]
	eventually(b.t, "no dump is due", func() bool { return !f.status().ResyncDue })
	before := f.status().Resyncs
	b.run(commands)
	b.agree(rt, append(script, commands...))
	if now := f.status(); told && (now.Resyncs != before || now.Corrected != 0) {
		rt.Fatalf("a dump was made, or found something, after\n%s", strings.Join(commands, "\n"))
	}
}

// agree waits until the mirror's tables are those of a mirror that starts now.
func (b *mirrorBed) agree(rt rapid.TB, script []string) {
	fresh := &mirrorBed{t: b.t, ns: b.ns}
	fresh.tables = fresh.newTables()
	c := fresh.config()
	oracle, err := OpenMirror(b.t.Context(), c)
	if err != nil {
		rt.Fatal(err)
	}
	defer oracle.Close()
	differ := ""
	patience := 10 * time.Second
	if b.differed { // while the script is shrunk
		patience = time.Second
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if differ = b.difference(fresh); differ == "" {
			return
		}
	}
	b.differed = true
	rt.Fatalf("%s\nafter\n%s\nthe kernel has\n%s%s", differ, strings.Join(script, "\n"),
		in(b.t, b.ns, "ip", "-4", "route", "show", "table", "all"), in(b.t, b.ns, "ip", "-6", "route", "show", "table", "main"))
}

func (b *mirrorBed) difference(fresh *mirrorBed) string {
	for vrf := range b.tables {
		got, want := everything(b.tables[vrf]), everything(fresh.tables[vrf])
		if !slices.Equal(got, want) {
			return fmt.Sprintf("vrf %d has\n%s\nwant\n%s", vrf, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	return ""
}

// everything is a table as text, with its neighbours.
func everything(table *fib.Table) []string {
	lines := listing(table)
	for _, n := range table.Neighbours() {
		lines = append(lines, fmt.Sprint(n))
	}
	return lines
}

package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	pingSummary = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received, `) // else: duplicates or errors
	pingAnswer  = regexp.MustCompile(`icmp_seq=(\d+) ttl=`)
)

// ping pings from a host and fails the test unless the first requests, as many as the
// flag -c says, are all answered, each once. Without a deadline ping waits for the last
// answers no longer than two round trips, a fraction of a millisecond here, and a machine
// that stalls for longer would look like loss. With one it goes on sending until it has as
// many answers as it was told to send requests, so that a late answer makes it send
// more, and a lost one shows as a gap.
func (h *host) ping(t *testing.T, to string, flags ...string) (out string) {
	t.Helper()
	out, _ = h.try(t, append(append([]string{"ping", "-n", "-w", strconv.Itoa(int(soon.Seconds()))}, flags...), to)...)
	answered := map[string]bool{}
	for _, answer := range pingAnswer.FindAllStringSubmatch(out, -1) {
		answered[answer[1]] = true
	}
	want, err := strconv.Atoi(flags[slices.Index(flags, "-c")+1])
	complete := err == nil && pingSummary.MatchString(out)
	for i := range want {
		complete = complete && answered[strconv.Itoa(1+i)]
	}
	if !complete {
		t.Errorf("ping %s %v: want no loss:\n%s", to, flags, out)
	}
	return out
}

// pingsSent returns how many requests a ping sent.
func pingsSent(t *testing.T, out string) int {
	t.Helper()
	m := pingSummary.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("what ping printed has no summary:\n%s", out)
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// pingFails is a ping that must be refused by what the pattern describes.
func (h *host) pingFails(t *testing.T, pattern, to string, flags ...string) {
	t.Helper()
	out, err := h.try(t, append(append([]string{"ping", "-n", "-c", "1", "-W", "3"}, flags...), to)...)
	if err == nil {
		t.Errorf("ping %s %v was answered:\n%s", to, flags, out)
	}
	wantMatch(t, out, pattern)
}

// ends calls f for both directions and both families.
func (b *bed) ends(f func(from, to *host, address, gateway string)) {
	for _, pair := range [][2]*host{{b.client, b.server}, {b.server, b.client}} {
		from, to := pair[0], pair[1]
		f(from, to, to.ipv4, from.gw4)
		f(from, to, to.ipv6, from.gw6)
	}
}

func checkPing(t *testing.T, b *bed) {
	b.ends(func(from, _ *host, address, _ string) {
		out := from.ping(t, address, "-c", "100", "-i", "0.002")
		// FF-7: one hop. Hosts send 64.
		if n := strings.Count(out, " ttl=63 "); n != len(pingAnswer.FindAllString(out, -1)) {
			t.Errorf("%d answers have ttl=63:\n%s", n, out)
		}
	})
}

// Sizes around powers of two, around what a minimal frame pads, and the largest.
func checkPingSizes(t *testing.T, b *bed) {
	for _, size := range []int{0, 1, 7, 8, 17, 18, 19, 63, 64, 255, 511, 1023, 1024, 1451, 1452} {
		for _, address := range []string{b.server.ipv4, b.server.ipv6} {
			b.client.ping(t, address, "-c", "1", "-p", "a5", "-s", strconv.Itoa(size))
		}
	}
	b.client.ping(t, b.server.ipv4, "-c", "1", "-M", "do", "-s", "1472")
	b.server.ping(t, b.client.ipv4, "-c", "1", "-M", "do", "-s", "1472")
}

// FF-7, FF-10: the answer comes from the port where the packet came in.
func checkHopLimit(t *testing.T, b *bed) {
	b.ends(func(from, _ *host, address, gateway string) {
		from.pingFails(t, fmt.Sprintf("From %s .*([Tt]ime to live exceeded|Hop limit)", gateway), address, "-t", "1")
		out := from.ping(t, address, "-c", "1", "-t", "2")
		wantMatch(t, out, `1 received`)
	})
}

// FF-8
func checkNoRoute(t *testing.T, b *bed) {
	b.client.pingFails(t, fmt.Sprintf("From %s .*Net Unreachable", b.client.gw4), "100.64.9.9")
	b.client.pingFails(t, fmt.Sprintf("From %s .*No route", b.client.gw6), "2001:db8:ffff::1")
}

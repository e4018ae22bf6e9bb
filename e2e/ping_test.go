package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
)

var pingSummary = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received(.*), 0% packet loss`)

// pingTries is how often a ping may be repeated whose last answers alone are missing.
// Once it has had an answer, ping waits for the last ones no longer than two round
// trips, a fraction of a millisecond here: a machine that stalls for longer looks like
// loss. A gap before an answer is loss.
const pingTries = 3

var pingAnswer = regexp.MustCompile(`icmp_seq=(\d+) ttl=`)

// ping pings from a host and fails the test unless every packet is answered once.
func (h *host) ping(t *testing.T, to string, flags ...string) (out string) {
	t.Helper()
	for range pingTries {
		out, _ = h.try(t, append(append([]string{"ping", "-n", "-W", "3"}, flags...), to)...)
		if m := pingSummary.FindStringSubmatch(out); m != nil && m[3] == "" {
			return out
		}
		answers := pingAnswer.FindAllStringSubmatch(out, -1)
		if n := len(answers); n == 0 || answers[n-1][1] != strconv.Itoa(n) {
			break
		}
	}
	t.Errorf("ping %s %v: want no loss:\n%s", to, flags, out)
	return out
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
		if n := len(regexp.MustCompile(`(?m) ttl=63 `).FindAllString(out, -1)); n != 100 {
			t.Errorf("%d of 100 answers have ttl=63:\n%s", n, out)
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

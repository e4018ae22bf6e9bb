package ct

import (
	"slices"
	"testing"
	"time"
)

// TO-1, CT-4: every protocol has its timeouts under the names operators know, and
// every state of a flow has a name and an idle time.
func TestTimeoutsOfProtocols(t *testing.T) {
	for protocol, want := range map[string][]string{
		"tcp": {"syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close",
			"syn_sent2", "unacknowledged", "max_retrans"},
		"udp": {"unreplied", "replied"}, "gre": {"unreplied", "replied"},
		"icmp": {"timeout"}, "icmpv6": {"timeout"}, "generic": {"timeout"},
		"sctp": {"closed", "cookie_wait", "cookie_echoed", "established", "shutdown_sent", "shutdown_recd",
			"shutdown_ack_sent", "heartbeat_sent"},
		"ospf": nil,
	} {
		var got []string
		for _, s := range Timeouted(protocol) {
			got = append(got, s.TimeoutName())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", protocol, got, want)
		}
	}
	for s := range NumStates {
		if (s.String() == "") != (s == TCPUnacknowledged || s == TCPMaxRetrans) || states[s].idle < time.Second {
			t.Errorf("state %d: %+v", s, states[s])
		}
	}
}

// A UDP flow that was answered once lives as long as one that was not, whatever
// that is, until it has lasted two seconds.
func TestAnsweredLivesAsUnreplied(t *testing.T) {
	set := NewTimeouts(map[State]time.Duration{UDPUnreplied: 7 * time.Second})
	if set[UDPAnswered] != Tick(7*second) || set[UDPReplied] != Tick(120*second) || set[TCPClose] != Tick(10*second) {
		t.Errorf("answered %d, stream %d, close %d ticks", set[UDPAnswered], set[UDPReplied], set[TCPClose])
	}
}

package ct

import "time"

// State is a flow's state in its protocol's tracker; it selects the timeout. Two
// values are timeouts only: no flow has them as its state.
type State uint8

// States of all trackers. docs/trackers.md tells what each means.
const (
	Generic State = iota

	UDPUnreplied
	UDPAnswered // both ways, but not for two seconds yet: lives as long as unreplied
	UDPReplied  // a stream

	ICMPQuery
	ICMPv6Query

	GREUnreplied
	GREReplied

	TCPSynSent
	TCPSynRecv
	TCPEstablished
	TCPFinWait
	TCPCloseWait
	TCPLastAck
	TCPTimeWait
	TCPClose
	TCPSynSent2       // SYN from both sides
	TCPUnacknowledged // timeout only: data is out that nobody acknowledged
	TCPMaxRetrans     // timeout only: the same segment came again and again

	SCTPClosed
	SCTPCookieWait
	SCTPCookieEchoed
	SCTPEstablished
	SCTPShutdownSent
	SCTPShutdownRecd
	SCTPShutdownAckSent
	SCTPHeartbeatSent

	NumStates
)

// states describes the states: the protocol as TO-1 names it; the timeout as the
// kernel's sysctls and libnetfilter_cttimeout name it (which says retrans for
// max_retrans); the state, for TCP and SCTP as conntrack listings print it, which
// print none for the others; and the idle time after which Linux forgets a flow
// in it.
var states = [NumStates]struct {
	protocol, timeout, name string
	idle                    time.Duration
}{
	Generic: {"generic", "timeout", "NONE", 600 * time.Second},

	UDPUnreplied: {"udp", "unreplied", "UNREPLIED", 30 * time.Second},
	UDPAnswered:  {"udp", "", "REPLIED", 30 * time.Second},
	UDPReplied:   {"udp", "replied", "STREAM", 120 * time.Second},

	ICMPQuery:   {"icmp", "timeout", "QUERY", 30 * time.Second},
	ICMPv6Query: {"icmpv6", "timeout", "QUERY", 30 * time.Second},

	GREUnreplied: {"gre", "unreplied", "UNREPLIED", 30 * time.Second},
	GREReplied:   {"gre", "replied", "REPLIED", 180 * time.Second},

	TCPSynSent:        {"tcp", "syn_sent", "SYN_SENT", 120 * time.Second},
	TCPSynRecv:        {"tcp", "syn_recv", "SYN_RECV", 60 * time.Second},
	TCPEstablished:    {"tcp", "established", "ESTABLISHED", 5 * 24 * time.Hour},
	TCPFinWait:        {"tcp", "fin_wait", "FIN_WAIT", 120 * time.Second},
	TCPCloseWait:      {"tcp", "close_wait", "CLOSE_WAIT", 60 * time.Second},
	TCPLastAck:        {"tcp", "last_ack", "LAST_ACK", 30 * time.Second},
	TCPTimeWait:       {"tcp", "time_wait", "TIME_WAIT", 120 * time.Second},
	TCPClose:          {"tcp", "close", "CLOSE", 10 * time.Second},
	TCPSynSent2:       {"tcp", "syn_sent2", "SYN_SENT2", 120 * time.Second},
	TCPUnacknowledged: {"tcp", "unacknowledged", "", 300 * time.Second},
	TCPMaxRetrans:     {"tcp", "max_retrans", "", 300 * time.Second},

	SCTPClosed:          {"sctp", "closed", "CLOSED", 10 * time.Second},
	SCTPCookieWait:      {"sctp", "cookie_wait", "COOKIE_WAIT", 3 * time.Second},
	SCTPCookieEchoed:    {"sctp", "cookie_echoed", "COOKIE_ECHOED", 3 * time.Second},
	SCTPEstablished:     {"sctp", "established", "ESTABLISHED", 210 * time.Second},
	SCTPShutdownSent:    {"sctp", "shutdown_sent", "SHUTDOWN_SENT", 3 * time.Second},
	SCTPShutdownRecd:    {"sctp", "shutdown_recd", "SHUTDOWN_RECD", 3 * time.Second},
	SCTPShutdownAckSent: {"sctp", "shutdown_ack_sent", "SHUTDOWN_ACK_SENT", 3 * time.Second},
	SCTPHeartbeatSent:   {"sctp", "heartbeat_sent", "HEARTBEAT_SENT", 30 * time.Second},
}

// String returns the state's one word.
func (s State) String() string { return states[s].name }

// Protocol returns the name of the protocol whose tracker has the state.
func (s State) Protocol() string { return states[s].protocol }

// TimeoutName returns the name of the state's timeout, or "" for a state that
// lives by another one's.
func (s State) TimeoutName() string { return states[s].timeout }

// Timeouted returns the timeouts of a protocol, as the states they belong to;
// nil for a protocol that has no tracker. Source: TO-1.
func Timeouted(protocol string) (list []State) {
	for s := range NumStates {
		if states[s].protocol == protocol && states[s].timeout != "" {
			list = append(list, s)
		}
	}
	return list
}

package ct

// State is a flow's state in its protocol's tracker; it selects the timeout.
type State uint8

// States of all trackers. Names are those that conntrack listings use.
const (
	None State = iota
	UDPUnreplied
	UDPReplied
	ICMPQuery
	ICMPv6Query
	TCPSynSent
	TCPSynRecv
	TCPEstablished
	TCPFinWait
	TCPCloseWait
	TCPLastAck
	TCPTimeWait
	TCPClose
	NumStates
)

var stateNames = [NumStates]string{
	None:           "NONE",
	UDPUnreplied:   "UNREPLIED",
	UDPReplied:     "REPLIED",
	ICMPQuery:      "QUERY",
	ICMPv6Query:    "QUERY",
	TCPSynSent:     "SYN_SENT",
	TCPSynRecv:     "SYN_RECV",
	TCPEstablished: "ESTABLISHED",
	TCPFinWait:     "FIN_WAIT",
	TCPCloseWait:   "CLOSE_WAIT",
	TCPLastAck:     "LAST_ACK",
	TCPTimeWait:    "TIME_WAIT",
	TCPClose:       "CLOSE",
}

// String returns the state as conntrack listings print it.
func (s State) String() string { return stateNames[s] }

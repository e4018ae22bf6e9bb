package packet

// A Reason says why a packet was dropped, rejected or punted. Its name is also
// its metric label and its text in the command line.
type Reason uint8

// Reasons to drop. The zero reason is what a stage that forgot leaves behind.
const (
	Unfinished Reason = iota

	// Entry checks. Source: FF-2, FF-4.
	FrameTooShort
	NotOurMAC
	UnknownVLAN
	BadVersion
	BadHeaderLength
	BadTotalLength
	BadChecksum
	Martian
	TinyFragment
	BadOptions
	ReversePath // FF-15
	RxOversized

	// Fragments, while their datagram is not whole. Source: CT-5.
	FragmentMalformed // empty, beyond the largest datagram, or leaving a gap that nothing fits
	FragmentOverlap   // of a datagram whose fragments overlap, or disagree about its length
	FragmentDuplicate
	FragmentPieces  // of a datagram in too many pieces
	FragmentSource  // gave way to others of the same source
	FragmentFull    // gave way to others
	FragmentTimeout // the first fragment did not come in time

	// Conntrack and policy.
	CtTableFull
	CtSourceLimit
	CtRuleLimit
	PolicyIn
	PolicyOut

	// Address translation. Source: FF-6.
	NATNoFlow    // a rule translates, but the packet has no flow whose answers could come back
	NATNoAddress // the interface whose address it would take has none of the family
	NATNoPort    // no free port, or none whose answers would come to this worker
	NATFull      // ct.max_translations are in use

	// Forwarding. Source: FF-7 to FF-9.
	TTLExpired
	NoRoute
	Unreachable
	Prohibited
	Blackhole
	NoNeighbour
	CannotFragment
	NoBuffers

	// Output.
	TxFull
	HandoffFull
	ErrorSuppressed // an ICMP error that could not be built or routed

	// Verdict queues. Source: VQ-1, VQ-5.
	QueueVerdict // its listener said so
	QueueRefused // nobody listens, or the queue is full
	QueueExpired // nobody decided in time, or its listener went

	// Between the workers and the slow path. Source: SP-4.
	PuntLimited // above what its punt reason may have
	PuntFull    // the ring to the slow path was full
	TxOversized // from the slow path, larger than a buffer

	// Reasons to punt.
	PuntLocal
	PuntOptions
	PuntMulticast
	PuntARP
	PuntEtherType
	PuntExtension
	PuntRoute     // a way that only the slow path has
	PuntDiscovery // neighbour discovery from this link
	PuntTaken     // not the slow path's: a listener of a verdict queue keeps it

	NumReasons
)

// FirstPunt is the first of the reasons to punt; those below it are reasons to drop.
const FirstPunt = PuntLocal

var reasonNames = [NumReasons]string{
	Unfinished:        "unfinished",
	FrameTooShort:     "frame_too_short",
	NotOurMAC:         "not_our_mac",
	UnknownVLAN:       "unknown_vlan",
	BadVersion:        "bad_version",
	BadHeaderLength:   "bad_header_length",
	BadTotalLength:    "bad_total_length",
	BadChecksum:       "bad_checksum",
	Martian:           "martian",
	TinyFragment:      "tiny_fragment",
	BadOptions:        "bad_options",
	ReversePath:       "reverse_path",
	RxOversized:       "rx_oversized",
	FragmentMalformed: "fragment_malformed",
	FragmentOverlap:   "fragment_overlap",
	FragmentDuplicate: "fragment_duplicate",
	FragmentPieces:    "fragment_pieces",
	FragmentSource:    "fragment_source_limit",
	FragmentFull:      "fragment_full",
	FragmentTimeout:   "fragment_timeout",
	CtTableFull:       "ct_table_full",
	CtSourceLimit:     "ct_source_limit",
	CtRuleLimit:       "ct_rule_limit",
	PolicyIn:          "policy_in",
	PolicyOut:         "policy_out",
	NATNoFlow:         "nat_no_flow",
	NATNoAddress:      "nat_no_address",
	NATNoPort:         "nat_no_port",
	NATFull:           "nat_full",
	TTLExpired:        "ttl_expired",
	NoRoute:           "no_route",
	Unreachable:       "unreachable",
	Prohibited:        "prohibited",
	Blackhole:         "blackhole",
	NoNeighbour:       "no_neighbour",
	CannotFragment:    "cannot_fragment",
	NoBuffers:         "no_buffers",
	TxFull:            "tx_full",
	HandoffFull:       "handoff_full",
	ErrorSuppressed:   "error_suppressed",
	PuntLimited:       "punt_limited",
	PuntFull:          "punt_full",
	TxOversized:       "tx_oversized",
	PuntLocal:         "local",
	PuntOptions:       "options",
	PuntMulticast:     "multicast",
	PuntARP:           "arp",
	PuntEtherType:     "ethertype",
	PuntExtension:     "extension",
	PuntRoute:         "slow_route",
	PuntDiscovery:     "discovery",
	PuntTaken:         "listener",
	QueueVerdict:      "queue_verdict",
	QueueRefused:      "queue_refused",
	QueueExpired:      "queue_expired",
}

// String returns the reason's one word.
func (r Reason) String() string {
	if r < NumReasons {
		return reasonNames[r]
	}
	return "unknown"
}

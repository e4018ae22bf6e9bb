package conf

import (
	"fmt"
	"slices"
	"strings"
)

// The words that a key can take; every other is a fault.
type (
	HugePages   string // how memory is had
	Steering    string // how both directions of a flow come to one worker (CT-1)
	IPOptions   string // what becomes of a packet with IPv4 options (FF-3)
	ReversePath string // how sources are held against the routes (FF-15)
	RouteType   string // what a route does with a packet (FF-8)
	Hook        string // where a rule is asked (FF-6)
	Action      string // what a rule decides
	RejectWith  string // how the sender of a rejected packet is told (FF-6)
	State       string // a packet's state in connection tracking (CT-2)
	ConnMaxPer  string // whose connections count for a rule's conn_max (CT-7)
	// SlowPathMode says whether ports get twins in the kernel (SP-1, SP-5).
	SlowPathMode string

	Family    string // of the network layer (TO-1)
	Tracker   string // the protocols that a flow is tracked by (TO-1)
	LogLevel  string // the least severe message logged
	LogFormat string // the handler of log/slog
)

const (
	HugeAuto    HugePages = "auto"    // if the machine has some
	HugeRequire HugePages = "require" // or fail at start
	HugeOff     HugePages = "off"

	SteeringAuto     Steering = "auto"     // symmetric RSS if the device has it, else software
	SteeringSoftware Steering = "software" // by our own hash, over the handoff rings
	SteeringQueue    Steering = "queue"    // the operator vouches that both directions come in on one queue

	OptionsPunt    IPOptions = "punt"
	OptionsDrop    IPOptions = "drop"
	OptionsForward IPOptions = "forward"

	ReversePathOff    ReversePath = "off"
	ReversePathStrict ReversePath = "strict" // a way back leaves by this port
	ReversePathLoose  ReversePath = "loose"  // there is a way back, the default route being one

	RouteUnicast     RouteType = "unicast"
	RouteBlackhole   RouteType = "blackhole"   // dropped silently, counted
	RouteUnreachable RouteType = "unreachable" // ICMP host unreachable
	RouteProhibit    RouteType = "prohibit"    // ICMP administratively prohibited

	HookIn  Hook = "in"  // before the route lookup
	HookOut Hook = "out" // the egress port is known

	ActionAccept   Action = "accept"
	ActionDrop     Action = "drop"
	ActionReject   Action = "reject"   // drop, and tell the sender
	ActionContinue Action = "continue" // on to the next rule, once the rule's marks are set
	ActionQueue    Action = "queue"    // a listener decides
	ActionDivert   Action = "divert"   // a listener decides; what it accepts goes on at the next rule
	ActionTee      Action = "tee"      // a listener or a port gets a copy; on to the next rule

	// Accepted, with other addresses for the connection that a new packet starts (FF-6).
	ActionDNAT       Action = "dnat"       // to another destination; hook in
	ActionRedirect   Action = "redirect"   // to the address of the port it came in by; hook in
	ActionSNAT       Action = "snat"       // from another source; hook out
	ActionMasquerade Action = "masquerade" // from the address of the port it leaves by; hook out

	RejectDefault         RejectWith = "default" // a reset for TCP, port_unreachable for all else
	RejectTCPReset        RejectWith = "tcp_reset"
	RejectPortUnreachable RejectWith = "port_unreachable"
	RejectHostUnreachable RejectWith = "host_unreachable"
	RejectNetUnreachable  RejectWith = "net_unreachable"
	RejectAdminProhibited RejectWith = "admin_prohibited"

	StateNew         State = "new"
	StateEstablished State = "established"
	StateRelated     State = "related"
	StateInvalid     State = "invalid"
	StateUntracked   State = "untracked"

	ConnMaxPerRule   ConnMaxPer = "rule"   // all that matched the rule
	ConnMaxPerSource ConnMaxPer = "source" // of those, the ones from one address

	SlowPathAuto SlowPathMode = "auto" // where we are allowed to make a TAP
	SlowPathOn   SlowPathMode = "on"   // or fail at start
	SlowPathOff  SlowPathMode = "off"

	FamilyIPv4 Family = "ipv4"
	FamilyIPv6 Family = "ipv6"

	TrackerTCP     Tracker = "tcp"
	TrackerUDP     Tracker = "udp"
	TrackerICMP    Tracker = "icmp"
	TrackerICMPv6  Tracker = "icmpv6"
	TrackerSCTP    Tracker = "sctp"
	TrackerGRE     Tracker = "gre"
	TrackerGeneric Tracker = "generic" // all that have no tracker of their own

	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"

	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// word is a string type with a closed set of values. Validate asks for it too,
// so that a Config built in Go is held to the same words as a file.
type word interface{ words() []string }

func (HugePages) words() []string { return words(HugeAuto, HugeRequire, HugeOff) }
func (Steering) optional()        {} // a sub-port has none; devicePort asks
func (Steering) words() []string  { return words(SteeringAuto, SteeringSoftware, SteeringQueue) }
func (IPOptions) words() []string { return words(OptionsPunt, OptionsDrop, OptionsForward) }
func (ReversePath) words() []string {
	return words(ReversePathOff, ReversePathStrict, ReversePathLoose)
}
func (RouteType) words() []string {
	return words(RouteUnicast, RouteBlackhole, RouteUnreachable, RouteProhibit)
}
func (Hook) words() []string { return words(HookIn, HookOut) }
func (Action) words() []string {
	return words(ActionAccept, ActionDrop, ActionReject, ActionContinue, ActionQueue, ActionDivert, ActionTee,
		ActionDNAT, ActionRedirect, ActionSNAT, ActionMasquerade)
}
func (RejectWith) words() []string {
	return words(RejectDefault, RejectTCPReset, RejectPortUnreachable, RejectHostUnreachable,
		RejectNetUnreachable, RejectAdminProhibited)
}
func (RejectWith) optional() {} // only with action reject; ruleAction asks
func (State) words() []string {
	return words(StateNew, StateEstablished, StateRelated, StateInvalid, StateUntracked)
}
func (ConnMaxPer) words() []string { return words(ConnMaxPerRule, ConnMaxPerSource) }
func (ConnMaxPer) optional()       {} // only with conn_max; ruleLimit asks
func (SlowPathMode) words() []string {
	return words(SlowPathAuto, SlowPathOn, SlowPathOff)
}
func (Family) words() []string { return words(FamilyIPv4, FamilyIPv6) }
func (Tracker) words() []string {
	return words(TrackerTCP, TrackerUDP, TrackerICMP, TrackerICMPv6, TrackerSCTP, TrackerGRE, TrackerGeneric)
}
func (LogLevel) words() []string  { return words(LogDebug, LogInfo, LogWarn, LogError) }
func (LogFormat) words() []string { return words(LogText, LogJSON) }

func words[T ~string](values ...T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// wordFault says what is wrong with text as one of allowed, or "".
func wordFault(text string, allowed []string) string {
	if slices.Contains(allowed, text) {
		return ""
	}
	if near := nearest(text, allowed); near != "" {
		return fmt.Sprintf("%q is unknown; did you mean %q?", text, near)
	}
	return fmt.Sprintf("%q is unknown; want %s", text, strings.Join(allowed, ", "))
}

// nearest returns the candidate that text is most likely a slip of: at most two
// edits away and less than half rewritten. It returns "" when there is none.
func nearest(text string, candidates []string) string {
	const maxEdits = 2
	best, bestEdits := "", maxEdits+1
	for _, c := range candidates {
		if abs(len(c)-len(text)) > maxEdits {
			continue
		}
		if n := editDistance(strings.ToLower(text), c); n < bestEdits && 2*n < len(c) {
			best, bestEdits = c, n
		}
	}
	return best
}

// editDistance is how many bytes must be inserted, deleted, replaced or swapped
// with their neighbour to make a of b. Source: optimal string alignment distance.
func editDistance(a, b string) int {
	// rows are those of the distance table for a[:i-1], a[:i] and a[:i+1].
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, above, row = above, row, before
		row[0] = i + 1
		for j := range len(b) {
			replace := above[j]
			if a[i] != b[j] {
				replace++
			}
			row[j+1] = min(replace, above[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}

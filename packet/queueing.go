package packet

// Queueing is what a rule asked for when it gave a packet to a listener, and what was
// so at that moment: what changed meanwhile is looked at again when the packet returns.
// Source: VQ-1, VQ-4, VQ-6.
type Queueing struct {
	Rule       uint32 // index of the rule that queued it
	Generation uint32 // of its ruleset
	Queue      uint16
	Zone       uint16
	Hook       uint8 // 0 in, 1 out
	Options    uint8
}

// Options of a Queueing.
const (
	QueueBypass   = 1 << iota // nobody listens: accept
	QueueFailOpen             // the queue is full, or its listener too slow: accept
	QueueDivert               // go on behind the rule, not behind the hook
)

// QueueCause says why a packet came back from a verdict queue.
type QueueCause uint8

// Causes.
const (
	CauseVerdict    QueueCause = iota // its listener decided
	CauseExpired                      // nobody decided in time
	CauseNoListener                   // its listener went
)

// QueueDecision is what is to become of a packet that comes back.
type QueueDecision uint8

// The zero decision is to drop, so that forgetting fails closed.
const (
	QueueDrop   QueueDecision = iota
	QueueAccept               // behind the hook, or behind the rule with QueueDivert
	QueueRepeat               // ask the hook's rules again
	QueueTake                 // the listener keeps it
)

// Released is a packet that comes back from a verdict queue, with its mbuf.
type Released struct {
	Packet
	Queueing
	Decision  QueueDecision
	Cause     QueueCause
	Rewritten bool // the network packet is another; Len, and nothing else, is that of the new one
	NewMark   bool // Packet.Mark is the listener's
	NewCtMark bool // Packet.CtMark is the listener's
}

// QueueOutcome is what became of a queued packet, for the figures of its queue.
// Source: VQ-4.
type QueueOutcome uint8

// Outcomes. Every packet that a queue was offered has one in the end; OutcomeReevaluated
// is counted besides.
const (
	OutcomeConfirmed  QueueOutcome = iota // went on; its flow was confirmed by it, or had been before
	OutcomeJoined                         // went on; its flow had been confirmed by another packet meanwhile
	OutcomeStale                          // could not go on: no way out any more, no room for its flow, or rewritten to no packet
	OutcomeDropped                        // by its listener, or by rules that are new
	OutcomeTaken                          // by its listener
	OutcomeExpired                        // dropped: nobody decided in time, or its listener went
	OutcomeBypassed                       // accepted: nobody listens, or its listener went
	OutcomeFailedOpen                     // accepted: the queue was full, or nobody decided in time
	OutcomeRefused                        // dropped: nobody listens, or the queue was full
	OutcomeMoved                          // to another queue, or once more to the same

	OutcomeReevaluated // rules or way out had changed meanwhile, and were asked again
	NumQueueOutcomes
)

var outcomeNames = [NumQueueOutcomes]string{
	"confirmed", "joined", "stale", "dropped", "taken", "expired", "bypassed", "failed_open", "refused", "moved", "reevaluated",
}

// String returns the outcome's one word.
func (o QueueOutcome) String() string {
	if o < NumQueueOutcomes {
		return outcomeNames[o]
	}
	return "unknown"
}

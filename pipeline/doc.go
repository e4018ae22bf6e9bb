// Package pipeline carries packets from receive queues to transmit queues: the
// poll loop, the stages in their one order, and the counters.
//
//	rx burst -> Express -> Parse -> ReversePath -> Verify -> Tuple -> Reassembly -> Steer -> Conntrack ->
//	PolicyIn -> Destination -> Depart -> Route -> PolicyOut -> Divert -> Neighbour -> TTL -> MTU ->
//	Redirect -> Rewrite -> Confirm -> Source -> output -> tx burst
//
// Plain packets of known flows leave from Express or Depart, by the lane (lane.go). What only
// the host kernel can handle leaves by the output too, to a PuntSink (punt.go); what the kernel
// sends comes from a FrameSource and is transmitted past the rules (inject.go).
//
// A stage works on a whole burst and only marks its packets (packet.Verdict); apart from the
// lane the Worker alone transmits, fragments, answers, hands over, punts or frees, in output.go.
// The order of the stages is one literal list in stages.go. To add a stage: one file, one type
// with Process, one line in that list.
//
// Owner threads: a Worker and everything it holds belong to the one locked
// thread that runs Worker.Run. It reads a Snapshot, which control publishes by
// one atomic store and never changes afterwards; control asks it things through
// Worker.Do, which runs between bursts.
//
// The package knows nothing of DPDK: queues and pools are interfaces that pmd
// fulfils, and that tests fulfil with ordinary memory.
package pipeline

// Package pipeline carries packets from receive queues to transmit queues: the
// poll loop, the stages in their one order, and the counters.
//
//	rx burst -> Parse -> Tuple -> Reassembly -> Steer -> Conntrack -> PolicyIn -> Route ->
//	PolicyOut -> Divert -> TTL -> MTU -> Rewrite -> Confirm -> output -> tx burst
//
// What only the host kernel can handle leaves by the output too, to a PuntSink
// (punt.go); what the kernel sends comes from a FrameSource and is transmitted
// past the rules (inject.go).
//
// A stage works on a whole burst and only marks its packets (packet.Verdict);
// the Worker alone transmits, fragments, answers, hands over, punts or frees, in
// output.go. Runs of plain packets leave earlier, by the lane (lane.go). The order of the stages is one literal list in stages.go. To add a
// stage: one file, one type with Process, one line in that list.
//
// Owner threads: a Worker and everything it holds belong to the one locked
// thread that runs Worker.Run. It reads a Snapshot, which control publishes by
// one atomic store and never changes afterwards; control asks it things through
// Worker.Do, which runs between bursts.
//
// The package knows nothing of DPDK: queues and pools are interfaces that pmd
// fulfils, and that tests fulfil with ordinary memory.
package pipeline

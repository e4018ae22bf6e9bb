// Package ct tracks connections: the flow table, the per-protocol trackers,
// timeouts and expiry.
//
// There is one Table per worker and that worker alone writes it, without locks.
// A flow's packets of both directions reach the same worker, because the hash of
// the canonical Key does not depend on the direction.
//
// A burst meets the table twice:
//
//	Lookup   after parsing: joins each packet to its flow, refreshes the flow's
//	         deadline and counters, advances its state; or says "new"
//	Confirm  after the last check: enters the flow of a new packet that leaves;
//	         a packet that was dropped before leaves nothing behind
//
// and the table is given a bounded step of Expire at each poll.
//
// All memory is mapped at New, addressed by 32-bit index, and holds no Go
// pointer. docs/decisions/0002-flow-table.md draws the layout and its costs.
//
// To add a protocol: give it states with their timeouts in state.go, and a case in
// Table.admits, Table.start and Table.advance (tracker.go).
package ct

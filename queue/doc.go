// Package queue hands packets to listeners, which are other processes, and takes their
// verdicts: the worker's side of the verdict queues, and the socket by which listeners
// come and go.
//
//	worker   Push -> held table, packet ring ----------> listener
//	worker   Release <- held table <- verdict ring <----- listener
//
// A packet that waits stays in its mbuf, in a slot of the worker's own table, within
// the queue's budget. The listener has a copy in shared memory. Nothing that a listener
// writes is used before it was read once and checked: an id is looked up in the
// worker's table, a rewritten packet is copied into the mbuf and parsed like one from a
// wire. What it can get wrong harms its own queue: see docs/decisions on queues for how
// each of its means is bounded.
//
// Packets of one flow leave in the order they came; a verdict that comes before its
// turn waits in the table, and nobody else waits for it.
//
// Owner threads: a Worker belongs to one poll loop; it takes no lock, allocates
// nothing, and makes no system call but to wake a listener that sleeps, at most once
// per wakeInterval. A Server runs on ordinary goroutines. They meet in Queue.binding,
// one atomic pointer: a binding is what one listener brought, its memory is unmapped
// after every worker has passed a quiescent state.
//
// The pipeline does not know this package; it declares what it needs, and control puts
// a Worker there.
package queue

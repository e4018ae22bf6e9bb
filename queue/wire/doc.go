// Package wire is what the two sides of a verdict queue share: records and rings in
// shared memory, and the messages of the control socket. docs/queue-protocol.md
// describes the same byte by byte for listeners in other languages.
//
//	switch                                              listener
//	Producer --- packets: memory that only we write ---> Consumer
//	Consumer <-- verdicts: memory that both may write -- Producer
//
// There is one pair of rings, a Lane, for each worker, so each ring has one producer
// and one consumer. Everything that comes from the other side is checked once, after
// it was read once; ErrCorrupt says that it broke the rules, and the ring is not to be
// used any more.
//
// Owner threads: a Producer or Consumer belongs to one thread at a time.
package wire

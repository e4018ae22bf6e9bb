// Package capture makes pcap files of Ethernet traffic from a seed, so that tests,
// the demo and the benchmark need no capture from elsewhere.
//
// The same seed and the same Spec give the same bytes, on every machine. Checksums
// are right unless a frame is malformed on purpose, in which case the caller is told
// how many frames of which Kind there are and what is to become of each.
//
//	Spec.Write   flows in random order, evenly spread, one or both directions
//	Malformed    every kind of broken or unusual frame
//	Demo         a few hundred packets of everyday traffic
//
// Everything runs on the caller's goroutine and writes through one buffer; a million
// frames take well under a second. To add a kind of broken frame, add a line to
// the table in kinds.go.
package capture

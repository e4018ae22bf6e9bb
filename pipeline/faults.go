//go:build !ffwd_faults

package pipeline

// faults is whether the worker makes two mistakes on purpose: it does not give back the
// mbufs of packets with a bad checksum, and does not count those with a bad total length.
// The tag ffwd_faults builds a switch with them: it proves that a run of the command
// finds what FF-12 asks for, and says so.
const faults = false

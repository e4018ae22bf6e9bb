// Package ccall calls C functions of the packet path without telling Go's scheduler.
//
// A call by cgo gives the goroutine's processor away and takes it back, because C may wait for
// anything: some 50 ns, twice for each burst and once for each idle queue in every poll. A
// receive or transmit function waits for no event. Call does the rest of what cgo does: it
// goes to the thread's own stack and lets C have the registers.
//
// What it costs is that the garbage collector, and whoever else stops the world, waits for the
// function to return, as it waits for a loop in Go. So a function called this way
//
//   - comes back soon: it makes no system call that blocks;
//   - takes only locks whose holders never need Go to go on: the world may be stopped, or about
//     to be, and waits for this call;
//   - does not call Go;
//   - is given memory outside of Go's heap, or memory that it does not keep.
//
// The package is one function of assembly, which cgo does not allow beside itself. Other
// processors than amd64 have none: there, bindings calls by cgo.
package ccall

package ccall

import "unsafe"

// Call calls the C function int fn(void *arg) on the thread's stack and returns what it
// returns. Any thread that Go knows. See the package comment for what fn may do.
//
//go:noescape
func Call(fn, arg unsafe.Pointer) int32

//go:build !amd64

package bindings

/*
#include "shim_burst.h"

#cgo noescape ffwd_call
#cgo nocallback ffwd_call
*/
import "C"

import "unsafe"

// call calls a C function of one argument that does not wait. Its addresses go as numbers:
// Go would look up every pointer that it hands to C.
func call(fn, arg unsafe.Pointer) int32 {
	return int32(C.ffwd_call(C.uintptr_t(uintptr(fn)), C.uintptr_t(uintptr(arg))))
}

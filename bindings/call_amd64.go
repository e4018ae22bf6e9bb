package bindings

import (
	"unsafe"

	"ffwd/bindings/ccall"
)

// call calls a C function of one argument that does not wait, see ccall.
func call(fn, arg unsafe.Pointer) int32 { return ccall.Call(fn, arg) }

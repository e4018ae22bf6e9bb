//go:build amd64 || arm64

package mem

import "unsafe"

// Prefetch asks the cache for the line at base + idx[i]*stride for each of the n
// indices at idx. stride is in bytes.
//
// One call serves a burst, so that the call's cost is spread over it. It is a
// hint: nothing is read, nothing faults, nothing is ordered. Any thread.
//
//go:noescape
func Prefetch(base unsafe.Pointer, stride uintptr, idx *uint32, n int)

// PrefetchUpper24 asks the cache for entry idx[i]>>8 of the array of 4-byte entries at
// base, for each of the n values at idx: what the upper 24 bits of an address index,
// without an array of indices in between. As Prefetch otherwise.
//
//go:noescape
func PrefetchUpper24(base unsafe.Pointer, idx *uint32, n int)

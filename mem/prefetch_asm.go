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

// PrefetchPtrs asks the cache for the line at ptrs[i] + offset for each of the n
// pointers at ptrs. offset is in bytes. As Prefetch otherwise; the typical use
// is the headers of a burst of mbufs.
//
//go:noescape
func PrefetchPtrs(ptrs *unsafe.Pointer, n int, offset uintptr)

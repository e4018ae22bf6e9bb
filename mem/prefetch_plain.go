//go:build !amd64 && !arm64

package mem

import "unsafe"

// Prefetch does nothing on this architecture: a load in its place would wait for
// the line, which is the very thing to avoid.
func Prefetch(base unsafe.Pointer, stride uintptr, idx *uint32, n int) {}

// PrefetchUpper24 does nothing on this architecture.
func PrefetchUpper24(base unsafe.Pointer, idx *uint32, n int) {}

//go:build race

package mem

import "unsafe"

// mapPages takes the memory from the Go heap: the race detector watches only
// that, and would be blind to every race in a table that is mapped.
func mapPages(size int, _ Huge) (*Region, error) {
	words := make([]uint64, size/8)
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), size)
	return &Region{data: b, mapped: b, pages: Plain, unmap: func([]byte) error { return nil }}, nil
}

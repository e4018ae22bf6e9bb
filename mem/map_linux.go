//go:build linux && !race

package mem

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapPages maps size bytes, a multiple of the page, going down from huge to what
// can be had.
func mapPages(size int, huge Huge) (*Region, error) {
	const private = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	const rw = unix.PROT_READ | unix.PROT_WRITE
	if huge == Hugetlb {
		// No MAP_NORESERVE: the pool's pages are set aside now, so that running
		// out is ENOMEM here and not SIGBUS in a worker. Any refusal (no pool, a
		// kernel without it, a limit) falls through to the next kind.
		b, err := unix.Mmap(-1, 0, size, rw, private|unix.MAP_HUGETLB|unix.MAP_HUGE_2MB)
		if err == nil {
			return &Region{data: b, mapped: b, pages: Hugetlb, unmap: unix.Munmap}, nil
		}
	}
	slack := 0
	if huge != Plain {
		slack = hugePageBytes // kernels before 6.7 do not align large mappings themselves
	}
	// MAP_NORESERVE: tables are mapped at their configured maximum, and a page
	// that is never touched must not count against the overcommit limit.
	b, err := unix.Mmap(-1, 0, size+slack, rw, private|unix.MAP_NORESERVE)
	if err != nil {
		return nil, err
	}
	r := &Region{data: b[:size:size], mapped: b, pages: Plain, unmap: unix.Munmap}
	if huge == Plain {
		return r, nil
	}
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (hugePageBytes - 1))
	r.data = b[skip : skip+size : skip+size]
	if unix.Madvise(r.data, unix.MADV_HUGEPAGE) == nil {
		r.pages = Transparent
	}
	return r, nil
}

// Package mem maps the memory that tables live in and hides its latency.
//
// Purpose. The switch's tables (routes, next hops, flows) are mapped once at
// start, outside the Go heap, and addressed by 32-bit index: the garbage
// collector sees none of them. Map gives such a mapping, in 2 MiB pages where
// there are some; Slice views it as an array of a pointer-free type. A worker
// hides the cache misses of a burst by issuing the whole burst's prefetches in
// one call, Prefetch or PrefetchUpper24, before it reads the first element.
//
// Owner threads. Map, Slice and Close belong to the control side: Close only
// after every worker that may read the region has stopped. What is in a region
// is owned as the package that mapped it says. The prefetches may be called
// anywhere; they change nothing and never fault, not even on a wild address.
//
// Packet's path. Only the prefetches are on it: no allocation, no system call.
//
// How to extend. Another architecture gets a prefetch_GOARCH.s with the two
// routines and its name in the build constraints of prefetch_asm.go and
// prefetch_plain.go; until then the plain fallback, which does nothing, serves.
//
// Linux only: MAP_HUGETLB and MADV_HUGEPAGE are Linux's.
package mem

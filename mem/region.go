package mem

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"unsafe"
)

// Huge says which pages a region is made of: the best wanted when given to Map,
// what was got when read from Region.Pages.
type Huge uint8

const (
	// Plain is the system's base page, usually 4 KiB.
	Plain Huge = iota
	// Transparent is Plain with madvise(MADV_HUGEPAGE): the kernel backs each
	// 2 MiB with one page at the first touch if it has one at hand. Nothing is
	// reserved and untouched parts cost nothing. It reports that the kernel took
	// the advice, not that every page is huge: AnonHugePages in
	// /proc/self/smaps says that.
	Transparent
	// Hugetlb is MAP_HUGETLB from the pool of 2 MiB pages. All of the region is
	// reserved when it is mapped, touched or not, because a page that is missing
	// when it is touched would be a SIGBUS and not an error.
	Hugetlb
)

// String gives the word used in logs and listings.
func (h Huge) String() string {
	switch h {
	case Plain:
		return "plain"
	case Transparent:
		return "transparent"
	case Hugetlb:
		return "hugetlb"
	}
	return fmt.Sprintf("Huge(%d)", uint8(h))
}

// hugePageBytes is the huge page of x86-64, and of arm64 with 4 KiB base pages.
const hugePageBytes = 2 << 20

// ErrSize is returned for a region of no, negative or absurd size.
var ErrSize = errors.New("size is not positive or does not fit the address space")

// Region is a private, zeroed, anonymous mapping outside the Go heap. It must
// hold no Go pointers: the garbage collector does not look into it.
type Region struct {
	data   []byte // what the caller asked for, rounded up to whole pages
	mapped []byte // data and what was mapped around it to align it
	pages  Huge
	unmap  func([]byte) error
}

// Map maps at least bytes of zeroed memory in the best pages to be had that are
// no better than huge: Hugetlb falls back to Transparent, and that to Plain. The
// fallback is not an error; Pages tells what was got.
//
// Control side only. The caller closes the region. Errors wrap ErrSize or the
// errno of mmap.
func Map(bytes int, huge Huge) (*Region, error) {
	page := os.Getpagesize()
	if huge != Plain {
		page = hugePageBytes
	}
	if bytes <= 0 || bytes > maxBytes-2*page {
		return nil, fmt.Errorf("mem: map %d bytes: %w", bytes, ErrSize)
	}
	size := (bytes + page - 1) &^ (page - 1)
	r, err := mapPages(size, huge)
	if err != nil {
		return nil, fmt.Errorf("mem: map %d bytes: %w", bytes, err)
	}
	return r, nil
}

// maxBytes leaves the alignment arithmetic room below the largest int.
const maxBytes = int(^uint(0) >> 2)

// Bytes is the whole region. It is valid until Close.
func (r *Region) Bytes() []byte { return r.data }

// Base is the address of the first byte, aligned to the region's page.
func (r *Region) Base() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(r.data)) }

// Len is the size in bytes, rounded up to whole pages.
func (r *Region) Len() int { return len(r.data) }

// Pages tells which kind of pages Map got.
func (r *Region) Pages() Huge { return r.pages }

// Close unmaps the region: any later access through Bytes, Base or a Slice is a
// fault. A second Close, or one of a nil region, does nothing.
func (r *Region) Close() error {
	if r == nil || r.mapped == nil {
		return nil
	}
	mapped := r.mapped
	r.data, r.mapped = nil, nil
	if err := r.unmap(mapped); err != nil {
		return fmt.Errorf("mem: unmap %d bytes: %w", len(mapped), err)
	}
	return nil
}

// Slice views the start of the region as n values of T.
//
// T must hold no pointers, strings, slices, maps, interfaces, channels or
// functions, and the region must be large enough: either failing is a
// programming error and panics. Call it once when the table is made.
func Slice[T any](r *Region, n int) []T {
	t := reflect.TypeFor[T]()
	if path := pointerIn(t); path != "" {
		panic(fmt.Sprintf("mem: %s holds a pointer (%s): the garbage collector would not see it", t, path))
	}
	if n < 0 || (t.Size() > 0 && uintptr(n) > uintptr(len(r.data))/t.Size()) {
		panic(fmt.Sprintf("mem: %d of %s do not fit a region of %d bytes", n, t, len(r.data)))
	}
	return unsafe.Slice((*T)(r.Base()), n)
}

// pointerIn names the first part of t that the garbage collector would have to
// follow, and is empty if there is none.
func pointerIn(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Array:
		if t.Len() == 0 {
			return ""
		}
		return pointerIn(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if path := pointerIn(t.Field(i).Type); path != "" {
				return t.Field(i).Name + "." + path
			}
		}
		return ""
	case reflect.Pointer, reflect.UnsafePointer, reflect.String, reflect.Slice, reflect.Map,
		reflect.Interface, reflect.Chan, reflect.Func:
		return t.Kind().String()
	}
	return ""
}

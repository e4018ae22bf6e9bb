package mem

import (
	"errors"
	"testing"
	"unsafe"
)

func TestMapIsZeroedAlignedAndWritable(t *testing.T) {
	for _, huge := range []Huge{Plain, Transparent, Hugetlb} {
		t.Run(huge.String(), func(t *testing.T) {
			const want = 3<<20 + 1
			r, err := Map(want, huge)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			t.Logf("asked for %v, got %v", huge, r.Pages())
			if r.Pages() > huge {
				t.Errorf("got %v, better than asked", r.Pages())
			}
			if r.Len() < want || len(r.Bytes()) != r.Len() {
				t.Errorf("len %d, Bytes %d, want at least %d and equal", r.Len(), len(r.Bytes()), want)
			}
			if r.Pages() != Plain && uintptr(r.Base())%hugePageBytes != 0 {
				t.Errorf("base %p is not on a huge page", r.Base())
			}
			words := Slice[uint64](r, r.Len()/8)
			for i := 0; i < len(words); i += 511 {
				if words[i] != 0 {
					t.Fatalf("word %d is %#x before the first write", i, words[i])
				}
				words[i] = uint64(i) + 1
			}
			if got := words[511]; got != 512 {
				t.Errorf("word 511 = %d, want 512", got)
			}
		})
	}
}

func TestMapLargerThanMemoryCostsNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("regions come from the Go heap under the race detector")
	}
	r, err := Map(1<<40, Plain)
	if err != nil {
		t.Skipf("1 TiB of address space: %v", err)
	}
	defer r.Close()
	r.Bytes()[1<<39] = 1
}

func TestMapRefusesBadSizes(t *testing.T) {
	for _, n := range []int{0, -1, int(^uint(0) >> 1)} {
		if _, err := Map(n, Hugetlb); !errors.Is(err, ErrSize) {
			t.Errorf("Map(%d) = %v, want ErrSize", n, err)
		}
	}
}

func TestHugetlbFallsBackWhenThePoolIsTooSmall(t *testing.T) {
	if raceEnabled {
		t.Skip("regions come from the Go heap under the race detector")
	}
	r, err := Map(1<<38, Hugetlb) // 256 GiB of 2 MiB pages: no test host has them
	if err != nil {
		t.Skipf("256 GiB of address space: %v", err)
	}
	defer r.Close()
	if r.Pages() == Hugetlb {
		t.Errorf("got hugetlb, want a fallback")
	}
	r.Bytes()[1<<37] = 1
}

func TestCloseTwice(t *testing.T) {
	r, err := Map(1, Plain)
	if err != nil {
		t.Fatal(err)
	}
	var none *Region
	if err := errors.Join(r.Close(), r.Close(), none.Close()); err != nil {
		t.Error(err)
	}
}

func TestSlicePanicsOnPointersAndOnSize(t *testing.T) {
	r, err := Map(4096, Plain)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	type flat struct {
		a [3]uint16
		_ [0]*int
		b struct{ c float32 }
	}
	type deep struct {
		a uint32
		b [2]struct{ s string }
	}
	if got := len(Slice[flat](r, 10)); got != 10 {
		t.Errorf("len = %d, want 10", got)
	}
	for name, f := range map[string]func(){
		"pointer":  func() { Slice[*int](r, 1) },
		"unsafe":   func() { Slice[unsafe.Pointer](r, 1) },
		"nested":   func() { Slice[deep](r, 1) },
		"iface":    func() { Slice[any](r, 1) },
		"large":    func() { Slice[uint64](r, r.Len()/8+1) },
		"negative": func() { Slice[uint64](r, -1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

package conf

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// A set of prefixes holds what one of them contains.
func TestPrefixSetHolds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	address := func(six bool) netip.Addr {
		if six {
			return netip.AddrFrom16([16]byte{0: 0xfd, 7: byte(rng.IntN(4)), 15: byte(rng.Uint32())})
		}
		return netip.AddrFrom4([4]byte{10, byte(rng.IntN(3)), byte(rng.IntN(3)), byte(rng.Uint32())})
	}
	for round := range 200 {
		s := prefixSet{}
		for range rng.IntN(6) {
			a := address(rng.IntN(2) == 0)
			s[netip.PrefixFrom(a, a.BitLen()-rng.IntN(a.BitLen()+1)).Masked()] = true
		}
		for range 200 {
			a, want := address(rng.IntN(2) == 0), false
			for p := range s {
				want = want || p.Contains(a)
			}
			if got := s.holds(a); got != want {
				t.Fatalf("round %d: %v in %v: %v", round, a, s, got)
			}
		}
	}
	if (prefixSet)(nil).holds(address(false)) {
		t.Error("nothing holds an address")
	}
}

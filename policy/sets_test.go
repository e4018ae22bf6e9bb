package policy

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// Prefixes merged into ranges hold the addresses that some prefix holds, and no others:
// at every end of every prefix, and beside it.
func TestAddrSet(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var list []netip.Prefix
		for range 1 + rng.IntN(40) {
			a := netip.AddrFrom4([4]byte{byte(rng.IntN(2) * 255), 0, byte(rng.IntN(4)), byte(rng.Uint32())})
			if seed%2 == 1 {
				a = netip.AddrFrom16([16]byte{0: byte(rng.IntN(2) * 255), 8: byte(rng.IntN(2)), 15: byte(rng.Uint32())})
			}
			list = append(list, netip.PrefixFrom(a, a.BitLen()-rng.IntN(min(70, a.BitLen()+1))).Masked())
		}
		set := newAddrSet(list)
		for _, r := range addrRanges(list) {
			for _, v := range []wide{{r[0].hi, r[0].lo - 1}, r[0], r[1], {r[1].hi, r[1].lo + 1}} {
				var k Key
				setWide(&k.Src, v)
				addr := netip.AddrFrom16(k.Src)
				if list[0].Addr().Is4() {
					if v.hi != 0 || v.lo > 1<<32-1 {
						continue
					}
					addr = netip.AddrFrom4([4]byte(k.Src[12:]))
				}
				want := slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr) })
				if got := set.has(&k.Src); got != want {
					t.Fatalf("seed %d: %v in %v: %t, want %t", seed, addr, list, got, want)
				}
			}
		}
	}
}

func setWide(addr *[16]byte, v wide) {
	for i := range 8 {
		addr[7-i], addr[15-i] = byte(v.hi>>(8*i)), byte(v.lo>>(8*i))
	}
}

package fib

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// benchSizes are the tables of BenchmarkLookup4: routes and destinations.
var benchSizes = []struct{ routes, dsts int }{{1, 1 << 10}, {100_000, 1 << 16}, {1_000_000, 1 << 20}}

// benchInput makes the same routes and destinations in every run.
func benchInput(routes, dsts int) ([]netip.Prefix, []uint32) {
	rng := rand.New(rand.NewPCG(1, 2))
	prefixes := internet4(rng, routes)
	return prefixes, pick4(rng, prefixes, dsts)
}

// benchInput6 is benchInput for IPv6.
func benchInput6(routes, dsts int) ([]netip.Prefix, [][16]byte) {
	rng := rand.New(rand.NewPCG(1, 2))
	prefixes := internet6(rng, routes)
	out := make([][16]byte, dsts)
	for i := range out {
		p := prefixes[rng.IntN(len(prefixes))]
		out[i] = p.Addr().As16()
		for bit := p.Bits(); bit < 128; bit++ {
			out[i][bit/8] |= byte(rng.Uint32()) & (0x80 >> (bit % 8))
		}
	}
	return prefixes, out
}

// TestWriteInputForDPDK writes the routes and destinations of BenchmarkLookup4 and
// 6 in the form dpdk-test-fib reads, into the directory FIB_DUMP, so that the two
// can be compared on the same input. Destinations are repeated up to 2^20,
// because that program makes one pass. docs/bench.md has the commands.
func TestWriteInputForDPDK(t *testing.T) {
	dir, sizes := os.Getenv("FIB_DUMP"), benchSizes
	if dir == "" { // nobody wants the files: write the smallest, to see that it works
		dir, sizes = t.TempDir(), sizes[:1]
	}
	for _, size := range sizes {
		prefixes, dst := benchInput(size.routes, size.dsts)
		writeInput(t, dir, fmt.Sprintf("4-%d", size.routes), prefixes, func(i int) netip.Addr {
			var a [4]byte
			binary.BigEndian.PutUint32(a[:], dst[i%len(dst)])
			return netip.AddrFrom4(a)
		})
		prefixes, dst6 := benchInput6(size.routes, size.dsts)
		writeInput(t, dir, fmt.Sprintf("6-%d", size.routes), prefixes, func(i int) netip.Addr {
			return netip.AddrFrom16(dst6[i%len(dst6)])
		})
	}
}

func writeInput(t *testing.T, dir, name string, prefixes []netip.Prefix, dst func(int) netip.Addr) {
	routes, err1 := os.Create(filepath.Join(dir, "routes"+name))
	addrs, err2 := os.Create(filepath.Join(dir, "dsts"+name))
	must(t, err1, err2)
	w := bufio.NewWriter(routes)
	for i, p := range prefixes {
		fmt.Fprintf(w, "%v %d\n", p, i%64+1)
	}
	must(t, w.Flush(), routes.Close())
	w = bufio.NewWriter(addrs)
	for i := range 1 << 20 {
		fmt.Fprintln(w, dst(i))
	}
	must(t, w.Flush(), addrs.Close())
}

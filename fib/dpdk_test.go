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

// TestWriteInputForDPDK writes the routes and destinations of BenchmarkLookup4
// in the form dpdk-test-fib reads, into the directory FIB_DUMP, so that the two
// can be compared on the same input. Destinations are repeated up to 2^20,
// because that program makes one pass. docs/decisions/0003-fib.md has the
// command.
func TestWriteInputForDPDK(t *testing.T) {
	dir, sizes := os.Getenv("FIB_DUMP"), benchSizes
	if dir == "" { // nobody wants the files: write the smallest, to see that it works
		dir, sizes = t.TempDir(), sizes[:1]
	}
	for _, size := range sizes {
		prefixes, dst := benchInput(size.routes, size.dsts)
		routes, err1 := os.Create(filepath.Join(dir, fmt.Sprintf("routes%d", size.routes)))
		addrs, err2 := os.Create(filepath.Join(dir, fmt.Sprintf("dsts%d", size.routes)))
		must(t, err1, err2)
		w := bufio.NewWriter(routes)
		for i, p := range prefixes {
			fmt.Fprintf(w, "%v %d\n", p, i%64+1)
		}
		must(t, w.Flush(), routes.Close())
		w = bufio.NewWriter(addrs)
		for i := range 1 << 20 {
			var a [4]byte
			binary.BigEndian.PutUint32(a[:], dst[i%len(dst)])
			fmt.Fprintln(w, netip.AddrFrom4(a))
		}
		must(t, w.Flush(), addrs.Close())
	}
}

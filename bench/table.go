package bench

import (
	"context"
	"fmt"
	"slices"
)

// Names of the scenarios that measure a table alone, and of the peer's rows.
const (
	tableLookup = "ct-lookup"
	tableInsert = "ct-insert"
	hashLookup  = "rte_hash_lookup_bulk"
	hashInsert  = "rte_hash_add_key"
)

// tableSizes are the numbers of entries measured.
var tableSizes = []int{1_000, 64 << 10, 1 << 20, 10_000_000}

// Sizes that are measured only where they are asked for, for they take 8 GB of memory: of the
// largest table, and of resident flows in it with room for those beside them.
const (
	largestTable    = 50_000_000 // as configurations allow
	largestResident = largestTable - 2*max(dumpTraffic, expiryTraffic)
)

// sizesOf returns those of the sizes that were asked for, and the largest if it was.
func sizesOf(o *Options, sizes []int, largest int) []int {
	if len(o.Flows) == 0 {
		return sizes
	}
	return slices.DeleteFunc(append(slices.Clone(sizes), largest), func(n int) bool { return !slices.Contains(o.Flows, n) })
}

// tableSample is what one process found out about a table, in ns per entry.
type tableSample struct{ insertNs, lookupNs float64 }

// tablesOf returns the sizes that were asked for; none without peers.
func tablesOf(o *Options) []int {
	wanted := o.Peers && (len(o.Scenarios) == 0 || slices.Contains(o.Scenarios, tableLookup) || slices.Contains(o.Scenarios, tableInsert))
	if !wanted {
		return nil
	}
	return sizesOf(o, tableSizes, largestTable)
}

// tableContenders are our table and DPDK's, each with its two rows. A run gives
// figures for both.
func tableContenders(n int, s *setup, r runner) []*contender {
	var list []*contender
	for _, side := range []struct {
		lookup, insert string
		peer           bool
		run            func(context.Context, int, *setup) (tableSample, error)
	}{{tableLookup, tableInsert, false, r.flowTable}, {hashLookup, hashInsert, true, r.hash}} {
		base := Result{Flows: n, Workers: 1, HugePages: s.huge}
		var last tableSample
		var fresh bool // last's inserts have not been taken yet
		lookup := &contender{row: base}
		lookup.row.Scenario = side.lookup
		lookup.once = func(ctx context.Context) (m sample, err error) {
			last, err = side.run(ctx, n, s)
			fresh = err == nil
			return sample{mpps: 1e3 / last.lookupNs}, err
		}
		insert := &contender{row: base}
		insert.row.Scenario = side.insert
		insert.once = func(context.Context) (sample, error) {
			if !fresh {
				return sample{}, fmt.Errorf("not measured, as %s was not", side.lookup)
			}
			fresh = false
			return sample{mpps: 1e3 / last.insertNs}, nil
		}
		if side.peer {
			lookup.self, insert.self = peer{name: hashLookup}, peer{name: hashInsert}
		} else {
			lookup.peers, insert.peers = []peer{{name: hashLookup}}, []peer{{name: hashInsert}}
		}
		list = append(list, lookup, insert)
	}
	return list
}

// tableMB is the memory of a table and its program: that of ours is larger.
func tableMB(entries int) int { return entries*barBytesPerFlow>>20 + driverMB }

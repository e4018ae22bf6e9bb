package bench

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"ffwd/clock"
)

func TestKeysAreDifferentAndTwice(t *testing.T) {
	const n = 5000
	var b bytes.Buffer
	if err := writeKeys(&b, n, 1); err != nil {
		t.Fatal(err)
	}
	keys := b.Bytes()
	if len(keys) != 2*n*keyBytes {
		t.Fatalf("%d bytes", len(keys))
	}
	var seen [2]map[string]bool
	for half := range seen {
		seen[half] = map[string]bool{}
		for i := range n {
			seen[half][string(keys[(half*n+i)*keyBytes:][:keyBytes])] = true
		}
		if len(seen[half]) != n {
			t.Errorf("half %d has %d keys", half, len(seen[half]))
		}
	}
	for key := range seen[0] {
		if !seen[1][key] {
			t.Fatalf("key %x is never looked up", key)
		}
	}
	if bytes.Equal(keys[:n*keyBytes], keys[n*keyBytes:]) {
		t.Error("both halves have one order")
	}
}

// The real thing, with a table of ours: every flow is entered once and found.
func TestFlowTable(t *testing.T) {
	p := &processes{dir: t.TempDir(), seed: 1}
	s := &setup{load: load{flows: 1000, workers: 1}, cores: []int{0}, duration: 10 * time.Millisecond}
	m, err := p.flowTable(context.Background(), 1000, s)
	if err != nil || m.insertNs <= 0 || m.lookupNs <= 0 || m.lookupNs > 1e5 {
		t.Errorf("%+v, %v", m, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.flowTable(ctx, 1000, s); err == nil {
		t.Error("a cancelled measurement gave a result")
	}
}

// A burst in which other work was done on the core says nothing about the table.
func TestInterruptedBurstsAreLeftOut(t *testing.T) {
	c := clock.New()
	second := uint64(c.Hz())
	var took times
	took.add(c, second/1_000_000, 10)
	took.add(c, second/1000, 10)
	if got := took.mean(c); took.keys != 10 || got < 99 || got > 101 {
		t.Errorf("%d keys of %.1f ns, want 10 of 100", took.keys, got)
	}
}

func TestParseHash(t *testing.T) {
	m, err := parseHash("EAL: Detected CPU lcores: 2\ninsert 51.400\nlookup 9.250\n")
	if err != nil || m != (tableSample{51.4, 9.25}) {
		t.Errorf("%+v, %v", m, err)
	}
	for output, want := range map[string]string{
		"insert 51\n":            "no times",
		"insert x\nlookup 9\n":   "time of insert",
		"  Cause: cannot add 5 ": "Cause: cannot add 5",
	} {
		if _, err := parseHash(output); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", output, err, want)
		}
	}
}

func TestTablesWithPeersOnly(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		want int
	}{
		"no peers":       {Options{}, 0},
		"all":            {Options{Peers: true}, 4},
		"other scenario": {Options{Peers: true, Scenarios: []string{stateful}}, 0},
		"largest":        {Options{Peers: true, Flows: []int{1000, largestTable}}, 2},
		"size":           {Options{Peers: true, Scenarios: []string{tableInsert}, Flows: []int{1000, 60000}}, 1},
	} {
		if got := tablesOf(&c.o); len(got) != c.want {
			t.Errorf("%s: %v, want %d", name, got, c.want)
		}
	}
}

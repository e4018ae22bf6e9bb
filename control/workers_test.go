package control

import "testing"

// Whatever alike says is held against the queues that hashes really lead to.
// Source: CT-1.
func TestHardwareSpreadsAlike(t *testing.T) {
	for _, tc := range []struct {
		name    string
		ports   []spread
		workers int
		want    bool
	}{
		{"one size", []spread{{true, 3, 128}, {true, 3, 128}}, 3, true},
		{"two sizes, a power of two of queues", []spread{{true, 4, 128}, {true, 4, 512}}, 4, true},
		{"two sizes that the queues divide", []spread{{true, 3, 96}, {true, 3, 192}}, 3, true},
		{"two sizes, three queues", []spread{{true, 3, 128}, {true, 3, 512}}, 3, false},
		{"fewer queues than workers", []spread{{true, 2, 128}, {true, 2, 128}}, 4, false},
		{"different numbers of queues", []spread{{true, 4, 128}, {true, 2, 128}}, 4, false},
		{"not symmetric", []spread{{true, 2, 128}, {false, 2, 128}}, 2, false},
	} {
		if got := alike(tc.ports, tc.workers); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
		if !tc.want {
			continue
		}
		for hash := range 10_000 {
			first := hash % tc.ports[0].reta % tc.workers
			for i, p := range tc.ports {
				if worker := hash % p.reta % p.queues; worker != first {
					t.Fatalf("%s: hash %d leads to worker %d on port 0 and %d on port %d", tc.name, hash, first, worker, i)
				}
			}
		}
	}
}

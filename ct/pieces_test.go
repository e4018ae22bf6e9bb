package ct

import (
	"testing"

	"pgregory.net/rapid"
)

// CT-5: spans against a map of every unit, until they do not suffice: then a part is refused
// only where it would be the one gap too many.
func TestPiecesOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p pieces
		var seen [128]bool
		for range rapid.IntRange(1, 100).Draw(t, "parts") {
			from := rapid.IntRange(0, 126).Draw(t, "from")
			to := min(from+rapid.IntRange(1, 6).Draw(t, "length"), 127)
			covered, gaps, end := 0, 0, 0
			for i, is := range seen[:127] {
				if is && i >= from && i < to {
					covered++
				}
				if is {
					end = i + 1
				}
				if is && !seen[i+1] {
					gaps++
				}
			}
			touches := from > 0 && seen[from-1] || seen[to]
			want := placed
			switch {
			case covered == to-from:
				want = duplicate
			case covered > 0:
				want = overlaps
			case gaps == maxSpans && !touches:
				want = scattered
			}
			if got := p.add(span{uint16(from), uint16(to)}); got != want {
				t.Fatalf("%d to %d: %d, want %d; %v", from, to, got, want, p.spans[:p.n])
			}
			if want == placed {
				for i := from; i < to; i++ {
					seen[i] = true
				}
				end = max(end, to)
			}
			whole := end > 0
			for _, is := range seen[:end] {
				whole = whole && is
			}
			if int(p.end()) != end || end > 0 && p.whole(uint16(end)) != whole {
				t.Fatalf("end %d, want %d; whole %v, want %v", p.end(), end, p.whole(uint16(end)), whole)
			}
		}
	})
}

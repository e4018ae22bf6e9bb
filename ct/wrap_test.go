package ct

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"ffwd/packet"
)

// CT-3: sequence numbers are a circle (RFC 9293 3.4). Wherever on it a connection begins,
// also where its numbers, windows, selective acknowledgements and resets pass 2^31 and 2^32,
// every segment has the same outcome.
func TestNumbersAreACircle(t *testing.T) {
	bases := []uint32{1, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1<<32 - 2, 1<<32 - 300, 1<<32 - 5000, 1<<32 - 70_000, 1<<31 - 5000}
	w := newWire(t)
	rapid.Check(t, func(rt *rapid.T) {
		type step struct {
			dir   int
			s     seg
			sack  [2]uint32 // relative; none if equal
			pause int64
		}
		scale := rapid.SampledFrom([]byte{0, 2, 7, 14}).Draw(rt, "scale")
		steps, next := []step{}, [2]uint32{1, 1}
		for range rapid.IntRange(1, 40).Draw(rt, "segments") {
			dir := rapid.IntRange(0, 1).Draw(rt, "dir")
			s := seg{flags: rapid.SampledFrom([]uint8{fA, fA, fA, fA | tcpPsh, fA | tcpUrg, fF | fA, fR, fR | fA}).Draw(rt, "flags"),
				seq: next[dir], ack: next[1-dir], size: rapid.SampledFrom([]int{0, 1, 100, 1400}).Draw(rt, "size"),
				win: rapid.SampledFrom([]uint16{0, 1, 100, 5000, 65535}).Draw(rt, "win")}
			away := []uint32{0, 0, 0, 1, 100, 5000, 66_000, 1 << 20, 1 << 30, 1<<31 - 1}
			s.seq += rapid.SampledFrom(away).Draw(rt, "seq ahead") - rapid.SampledFrom(away).Draw(rt, "seq behind")
			s.ack += rapid.SampledFrom(away).Draw(rt, "ack ahead") - rapid.SampledFrom(away).Draw(rt, "ack behind")
			st := step{dir: dir, s: s, pause: rapid.Int64Range(0, 3*second).Draw(rt, "pause")}
			if rapid.IntRange(0, 3).Draw(rt, "sack") == 0 {
				left := next[1-dir] + rapid.Uint32Range(0, 3000).Draw(rt, "left")
				st.sack = [2]uint32{left, left + rapid.Uint32Range(1, 3000).Draw(rt, "block")}
			}
			if end := s.seq + uint32(s.size) + uint32(s.flags&1); s.flags&fA != 0 && after(end, next[dir]) && end-next[dir] < 5000 {
				next[dir] = end
			}
			steps = append(steps, st)
		}
		play := func(base [2]uint32) (out []string) {
			w.table.Walk(0, 1<<20, func(i uint32) bool { w.table.Delete(i); return true })
			w.now = second
			options := []byte{3, 3, scale, 4, 2, 1, 1, 1}
			w.pass(toServer, seg{flags: fS, seq: base[0], win: 5000, options: options})
			w.pass(toClient, seg{flags: fS | fA, seq: base[1], ack: base[0] + 1, win: 5000, options: options})
			w.pass(toServer, seg{flags: fA, seq: base[0] + 1, ack: base[1] + 1, win: 5000})
			for _, st := range steps {
				s := st.s
				s.seq += base[st.dir]
				if s.ack += base[1-st.dir]; s.flags == fR|fA && s.ack == 0 {
					return out // some stacks mean no acknowledgement by this; it is no number then
				}
				if st.sack[0] != st.sack[1] {
					left, right := st.sack[0]+base[1-st.dir], st.sack[1]+base[1-st.dir]
					s.options = []byte{1, 1, 5, 10, byte(left >> 24), byte(left >> 16), byte(left >> 8), byte(left),
						byte(right >> 24), byte(right >> 16), byte(right >> 8), byte(right)}
				}
				w.now += st.pause
				p := w.pass(st.dir, s)
				f := w.table.flow(1)
				out = append(out, fmt.Sprintf("%v %v %d %v %d", p.State, f.state, f.flags, f.packets, f.deadline))
			}
			return out
		}
		want := play([2]uint32{1000, 1000})
		for i, base := range bases {
			for _, other := range []uint32{base, bases[(i+1)%len(bases)]} {
				for at, got := range play([2]uint32{base, other}) {
					if at < len(want) && got != want[at] {
						rt.Fatalf("from %d and %d, segment %d, %+v: %s, from 1000 %s", base, other, at, steps[at], got, want[at])
					}
				}
			}
		}
	})
}

// CT-3: the four bounds of a segment, to the byte, where the numbers wrap in between.
func TestBoundsAtTheWrap(t *testing.T) {
	const mine, theirs = 1000, 2000 // the windows announced
	for _, base := range []uint32{0, 1<<32 - 1, 1<<32 - 100, 1<<32 - mine, 1<<32 - theirs, 1<<31 - 100} {
		for _, c := range []struct {
			name     string
			seq, ack uint32 // from where both sides are
			size     int
			want     packet.CtState
			counted  bool
		}{
			{"next", 0, 0, 1, packet.CtEstablished, true},
			{"to the end of the window", 0, 0, theirs, packet.CtEstablished, true},
			{"one more", 0, 0, theirs + 1, packet.CtEstablished, true}, // begins inside
			{"at the end of the window", theirs, 0, 1, packet.CtEstablished, true},
			{"behind it, less than a window more", theirs + 1, 0, 1, packet.CtEstablished, false},
			{"more than a window behind it", theirs + 1, 0, theirs + 1, packet.CtInvalid, false},
			{"of what was not sent", 0, 1, 1, packet.CtInvalid, false},
			{"a window old", ^uint32(theirs) + 1, 0, 0, packet.CtEstablished, true},
			{"older", ^uint32(theirs) - 1, 0, 0, packet.CtEstablished, false},
			{"acknowledges what is long known", 0, ^uint32(maxAckLag) + 1, 1, packet.CtEstablished, true},
			{"a byte longer", 0, ^uint32(maxAckLag) - 1, 1, packet.CtEstablished, false},
		} {
			w := newWire(t)
			w.pass(toServer, seg{flags: fS, seq: base - 1, win: mine})
			w.pass(toClient, seg{flags: fS | fA, seq: base - 1, ack: base, win: theirs})
			w.pass(toServer, seg{flags: fA, seq: base, ack: base, win: mine})
			before := w.table.flow(1).packets[Original]
			p := w.pass(toServer, seg{flags: fA, seq: base + c.seq, ack: base + c.ack, size: c.size, win: mine})
			if counted := w.table.flow(1).packets[Original] != before; p.State != c.want || counted != c.counted {
				t.Errorf("from %d, %s: %v, counted %v, want %v, %v", base, c.name, p.State, counted, c.want, c.counted)
			}
		}
	}
}

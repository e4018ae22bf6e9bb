package slowpath

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"

	"pgregory.net/rapid"
)

// A frame that fills a slot comes out whole; one byte more has no room.
func TestRingSlotIsFilled(t *testing.T) {
	r, err := newRing(2, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	whole := bytes.Repeat([]byte{7}, r.slotBytes-slotHeaderBytes)
	if r.push(1, whole, []byte{8}, 0) || !r.push(1, whole[:9], whole[9:], 0) {
		t.Fatal("a slot takes too much, or too little")
	}
	if _, frame := r.peek(); !bytes.Equal(frame, whole) {
		t.Errorf("%d bytes came out of %d", len(frame), len(whole))
	}
}

// A ring is a queue of bounded length, whatever is done to it in which order.
func TestRingIsABoundedQueue(t *testing.T) {
	const slots, frameBytes = 8, 100
	rapid.Check(t, func(t *rapid.T) {
		r, err := newRing(slots, frameBytes)
		if err != nil {
			t.Fatal(err)
		}
		defer r.close()
		// Counters wrap; begin close to where they do.
		r.head.Store(^uint32(0) - rapid.Uint32Range(0, 20).Draw(t, "before the wrap"))
		r.tail.Store(r.head.Load())
		type entry struct {
			iface uint16
			frame []byte
		}
		var model []entry
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				e := entry{rapid.Uint16().Draw(t, "iface"), rapid.SliceOfN(rapid.Byte(), 0, frameBytes+60).Draw(t, "frame")}
				cut := rapid.IntRange(0, len(e.frame)).Draw(t, "cut")
				reserve := rapid.Uint32Range(0, 4).Draw(t, "reserve")
				fits := len(e.frame) <= r.slotBytes-slotHeaderBytes
				want := fits && len(model)+int(reserve) < slots
				if got := r.push(e.iface, e.frame[:cut], e.frame[cut:], reserve); got != want {
					t.Fatalf("push of %d bytes with %d of %d used and %d reserved: %v", len(e.frame), len(model), slots, reserve, got)
				}
				if want {
					model = append(model, e)
				}
			},
			"pop": func(t *rapid.T) {
				if len(model) == 0 {
					t.Skip("empty")
				}
				r.pop()
				model = model[1:]
			},
			"": func(t *rapid.T) {
				if r.length() != len(model) {
					t.Fatalf("length %d, want %d", r.length(), len(model))
				}
				iface, frame := r.peek()
				if len(model) == 0 {
					if frame != nil {
						t.Fatal("a frame in an empty ring")
					}
				} else if iface != model[0].iface || !bytes.Equal(frame, model[0].frame) {
					t.Fatalf("got %d %x, want %d %x", iface, frame, model[0].iface, model[0].frame)
				}
			},
		})
	})
}

// One thread fills and another empties: every frame arrives once, whole and in
// order. Run it with -race.
func TestRingBetweenThreads(t *testing.T) {
	r, err := newRing(16, 256)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	const frames = 20_000
	go func() {
		frame := make([]byte, 256)
		for i := uint32(0); i < frames; {
			size := 4 + int(i%252)
			for at := 0; at+4 <= size; at += 4 {
				binary.LittleEndian.PutUint32(frame[at:], i)
			}
			if r.push(uint16(i), frame[:size/2], frame[size/2:size], 0) {
				i++
			} else {
				runtime.Gosched()
			}
		}
	}()
	for i := uint32(0); i < frames; {
		iface, frame := r.peek()
		if frame == nil {
			runtime.Gosched()
			continue
		}
		if iface != uint16(i) || len(frame) != 4+int(i%252) {
			t.Fatalf("frame %d: interface %d, %d bytes", i, iface, len(frame))
		}
		for at := 0; at+4 <= len(frame); at += 4 {
			if got := binary.LittleEndian.Uint32(frame[at:]); got != i {
				t.Fatalf("frame %d has bytes of %d", i, got)
			}
		}
		r.pop()
		i++
	}
}

// Punting allocates nothing: the collector would stop the worker for it.
func TestPuntAllocatesNothing(t *testing.T) {
	p, err := newPunts(1, 1518, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	p.bell.asleep.Store(1) // the system call too
	first, second := make([]byte, 12), make([]byte, 1500)
	if n := testing.AllocsPerRun(1000, func() {
		p.sinks[0].Punt(1, false, first, second)
		p.sinks[0].ring.pop()
		p.bell.asleep.Store(1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A flood leaves the last quarter of the ring to control traffic. SP-4
func TestFloodLeavesRoomForControl(t *testing.T) {
	p, err := newPunts(1, 100, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	count := func(control bool) (n int) {
		for p.sinks[0].Punt(1, control, []byte("frame"), nil) {
			n++
		}
		return n
	}
	if flood, control := count(false), count(true); flood != puntSlots-reservedSlots || control != reservedSlots {
		t.Errorf("the flood got %d slots, control traffic %d", flood, control)
	}
}

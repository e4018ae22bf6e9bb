package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"
	"time"
)

func pair(t testing.TB, ring int) (Layout, Producer, Consumer) {
	l := Layout{Workers: 2, PacketRing: ring, VerdictRing: ring}
	if err := l.Check(); err != nil {
		t.Fatal(err)
	}
	words := func(n int) []byte { return make([]byte, n) }
	p, v := words(l.PacketBytes()), words(l.VerdictBytes())
	out, _ := l.SwitchLane(p, v, 1)
	in, _ := l.ListenerLane(p, v, 1)
	return l, out, in
}

// Records come out as they went in, in order, whatever their lengths, with the ring
// full and empty many times over. Source: VQ-2
func TestRingKeepsRecords(t *testing.T) {
	_, out, in := pair(t, minRing)
	sent, got := 0, 0
	for sent < 5000 {
		for ; ; sent++ {
			size := (sent*37)%1500 + 1
			rec, err := out.Reserve(PacketRecord(size))
			if err != nil {
				t.Fatal(err)
			}
			if rec == nil {
				break
			}
			p := Packet{ID: uint64(sent), Queue: 3, Worker: 1, Length: uint32(size)}
			p.Put(rec, bytes.Repeat([]byte{byte(sent)}, size))
		}
		if rec, err := in.Next(); rec != nil || err != nil {
			t.Fatalf("a record before it was published: %v, %v", rec, err)
		}
		out.Publish()
		for {
			rec, err := in.Next()
			if err != nil {
				t.Fatal(err)
			}
			if rec == nil {
				break
			}
			p, data, err := ParsePacket(rec)
			size := (got*37)%1500 + 1
			if err != nil || p.ID != uint64(got) || !bytes.Equal(data, bytes.Repeat([]byte{byte(got)}, size)) {
				t.Fatalf("record %d: %+v, %d bytes, %v", got, p, len(data), err)
			}
			got++
		}
		if got != sent {
			t.Fatalf("%d of %d", got, sent)
		}
		in.Release()
	}
}

// A consumer that claims to have read what was not written is found out. Source: VQ-5
func TestProducerChecksHead(t *testing.T) {
	for _, head := range []uint64{1, 64, minRing, 1 << 40, 1<<64 - 32} {
		_, out, in := pair(t, minRing)
		if rec, err := out.Reserve(minRing - 32); rec == nil || err != nil {
			t.Fatal(err)
		}
		out.Publish()
		in.head.Store(head)
		rec, err := out.Reserve(96)
		if right := head <= minRing-32 && head%Unit == 0; (err == nil) != right || !right && rec != nil {
			t.Errorf("head %d: %v, %d bytes", head, err, len(rec))
		}
	}
}

// A record that would lead out of the end of the ring is none, though as much was
// published. Source: VQ-5
func TestConsumerChecksLength(t *testing.T) {
	for _, n := range []uint32{minRing - 64, minRing - 32, minRing} {
		_, _, in := pair(t, minRing)
		binary.LittleEndian.PutUint64(in.data, 64|2<<32)
		binary.LittleEndian.PutUint64(in.data[64:], uint64(n)|2<<32)
		in.tail.Store(64)
		if rec, err := in.Next(); len(rec) != 64 || err != nil {
			t.Fatalf("%d bytes, %v", len(rec), err)
		}
		in.tail.Store(64 + minRing)
		if rec, err := in.Next(); (n == minRing-64) != (err == nil) || err != nil && (rec != nil || !errors.Is(err, ErrCorrupt)) {
			t.Errorf("a record of %d bytes at 64 of %d: %d bytes, %v", n, minRing, len(rec), err)
		}
	}
}

// A whole ring that is skipped is none: who sends such in step with the consumer would keep
// it there. Source: VQ-5
func TestConsumerSkipsNoWholeRing(t *testing.T) {
	_, _, in := pair(t, minRing)
	binary.LittleEndian.PutUint64(in.data, minRing|kindSkip<<32)
	in.tail.Store(minRing)
	if rec, err := in.Next(); rec != nil || !errors.Is(err, ErrCorrupt) {
		t.Errorf("%d bytes, %v", len(rec), err)
	}
}

// Nothing is read that was not published, and no tail is believed that is further away than
// the ring is long. Source: VQ-5
func TestConsumerReadsWhatIsPublished(t *testing.T) {
	for _, c := range []struct {
		length uint32
		tail   uint64
		right  bool
	}{{64, 64, true}, {96, 64, false}, {64, minRing, true}, {64, minRing + Unit, false}, {64, 1<<64 - Unit, false}} {
		_, _, in := pair(t, minRing)
		binary.LittleEndian.PutUint64(in.data, uint64(c.length)|2<<32)
		in.tail.Store(c.tail)
		if rec, err := in.Next(); (rec != nil) != c.right || !c.right && !errors.Is(err, ErrCorrupt) {
			t.Errorf("a record of %d bytes with the tail at %d: %d bytes, %v", c.length, c.tail, len(rec), err)
		}
	}
}

// A producer's memory may hold anything: the consumer returns records that lie inside
// the ring, or ErrCorrupt, and ends. Source: VQ-5
func FuzzConsumer(f *testing.F) {
	f.Add([]byte{32, 0, 0, 0, 2}, uint64(32))
	f.Add([]byte{32, 0, 0, 0, 0}, uint64(64))
	f.Add([]byte{0, 0x10, 0, 0, 0}, uint64(4096))
	f.Fuzz(func(t *testing.T, memory []byte, tail uint64) {
		_, _, in := pair(t, minRing)
		copy(in.data, memory)
		in.tail.Store(tail)
		for range minRing/Unit + 2 {
			rec, err := in.Next()
			if err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			if rec == nil {
				return
			}
			if len(rec) == 0 || len(rec)%Unit != 0 {
				t.Fatalf("a record of %d bytes", len(rec))
			}
			if v, data, err := ParseVerdict(rec); err == nil && (v.Action == 0 || len(data) > len(rec)-VerdictHeader) {
				t.Fatalf("%+v", v)
			}
			if _, data, err := ParsePacket(rec); err == nil && len(data) > len(rec)-PacketHeader {
				t.Fatal("data outside the record")
			}
		}
		t.Fatal("more records than fit")
	})
}

// Verdicts survive the way; what is none is refused. Source: VQ-2
func TestVerdictRecord(t *testing.T) {
	v := Verdict{Action: Move, Flags: SetMark | SetCtMark | Rewrite, Queue: 9, ID: 1 << 50, Mark: 3, CtMark: 4}
	rec := make([]byte, VerdictRecord(33))
	v.Put(rec, make([]byte, 33))
	got, data, err := ParseVerdict(rec)
	if err != nil || got != v || len(data) != 33 {
		t.Errorf("%+v, %d bytes, %v", got, len(data), err)
	}
	rec[31] = 1 // what is to be zero
	if _, _, err := ParseVerdict(rec); !errors.Is(err, ErrCorrupt) {
		t.Errorf("reserved bits: %v", err)
	}
	for name, c := range map[string]struct {
		v Verdict
		n int
	}{
		"no action":           {Verdict{}, 0},
		"unknown action":      {Verdict{Action: lastAction}, 0},
		"unknown flag":        {Verdict{Action: Drop, Flags: 16}, 0},
		"packet for many":     {Verdict{Action: Accept, Flags: Rewrite | UpTo}, 1},
		"packet of no bytes":  {Verdict{Action: Accept, Flags: Rewrite}, 0},
		"packet without flag": {Verdict{Action: Accept}, 1},
	} {
		rec := make([]byte, VerdictRecord(c.n))
		c.v.Put(rec, make([]byte, c.n))
		if _, _, err := ParseVerdict(rec); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Source: VQ-7
func TestControlMessages(t *testing.T) {
	hello := Hello{Version: Version, Queue: 3, Copy: 128}
	welcome := Welcome{Queue: 3, Layout: Layout{2, 8192, 4096}, Copy: 64, MaxPackets: 7, Timeout: time.Second, Stall: 100 * time.Millisecond}
	refuse := Refuse{Code: CodeBusy, Text: "busy"}
	limits := Limits{Copy: 99}
	var gotHello Hello
	var gotWelcome Welcome
	var gotRefuse Refuse
	var gotLimits Limits
	for _, c := range []struct {
		want, got any
		b         []byte
		read      func([]byte) error
	}{
		{&hello, &gotHello, hello.Marshal(), gotHello.Unmarshal},
		{&welcome, &gotWelcome, welcome.Marshal(), gotWelcome.Unmarshal},
		{&refuse, &gotRefuse, refuse.Marshal(), gotRefuse.Unmarshal},
		{&limits, &gotLimits, limits.Marshal(), gotLimits.Unmarshal},
	} {
		if err := c.read(c.b); err != nil || !reflect.DeepEqual(c.want, c.got) {
			t.Errorf("%+v came as %+v, %v", c.want, c.got, err)
		}
		if err := c.read(c.b[:7]); !errors.Is(err, ErrMessage) {
			t.Errorf("%T cut: %v", c.want, err)
		}
	}
	long := Refuse{Text: string(make([]byte, 1000))}
	if n := len(long.Marshal()); n != MaxMessage {
		t.Errorf("%d bytes", n)
	}
}

// Whatever comes by the socket is a message, or an error. Source: VQ-5
func FuzzControl(f *testing.F) {
	f.Add((&Hello{Version: 1}).Marshal())
	f.Add((&Welcome{Layout: Layout{1, 4096, 4096}}).Marshal())
	f.Add(Close())
	f.Fuzz(func(t *testing.T, b []byte) {
		var h Hello
		if h.Unmarshal(b) == nil && !bytes.Equal(h.Marshal(), b) {
			t.Errorf("%x is read as %+v", b, h)
		}
		var w Welcome
		if w.Unmarshal(b) == nil && w.Layout.Check() != nil {
			t.Errorf("%+v", w)
		}
		var l Limits
		if l.Unmarshal(b) == nil && !bytes.Equal(l.Marshal(), b) {
			t.Errorf("%x is read as %+v", b, l)
		}
		var r Refuse
		r.Unmarshal(b)
	})
}

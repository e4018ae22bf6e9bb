package ct

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ffwd/packet"
)

const (
	fS, fA, fF, fR = packet.TCPSyn, packet.TCPAck, packet.TCPFin, packet.TCPRst
	toServer       = Original
	toClient       = Reply
)

// wire is a table with one connection's packets going by.
type wire struct {
	table *Table
	now   int64
	of    tuple
}

func newWire(t testing.TB) *wire {
	return &wire{newTable(t, MinFlows, MinFlows), second,
		tuple{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), 1024, 80, packet.ProtoTCP}}
}

// pass sends one segment and returns the packet as the rules see it.
func (w *wire) pass(dir int, s seg) packet.Packet {
	of := w.of
	if dir == Reply {
		of = of.reversed()
	}
	return send(w.table, w.now, DefaultTimeouts(), of, tcpBytes(s)...)
}

// state returns the connection's state, NumStates for none.
func (w *wire) state() State {
	state := NumStates
	w.table.Walk(0, 1<<20, func(i uint32) bool {
		if f := w.table.flow(i); int32(f.deadline-Tick(w.now)) > 0 {
			state = f.state
		}
		return true
	})
	return state
}

// open makes an established connection; both sides' next number is 1.
func (w *wire) open() {
	w.pass(toServer, seg{flags: fS, seq: 0, win: 1000})
	w.pass(toClient, seg{flags: fS | fA, seq: 0, ack: 1, win: 2000})
	w.pass(toServer, seg{flags: fA, seq: 1, ack: 1, win: 1000})
}

// lead brings the connection into a state, the numbers of both sides being 1 then,
// or 2 behind a FIN.
func (w *wire) lead(to State) {
	switch to {
	case TCPSynSent:
		w.pass(toServer, seg{flags: fS, win: 1000})
	case TCPSynSent2:
		w.lead(TCPSynSent)
		w.pass(toClient, seg{flags: fS, win: 2000})
	case TCPSynRecv:
		w.lead(TCPSynSent)
		w.pass(toClient, seg{flags: fS | fA, ack: 1, win: 2000})
	case TCPEstablished:
		w.open()
	case TCPFinWait:
		w.open()
		w.pass(toServer, seg{flags: fF | fA, seq: 1, ack: 1, win: 1000})
	case TCPCloseWait:
		w.lead(TCPFinWait)
		w.pass(toClient, seg{flags: fA, seq: 1, ack: 2, win: 2000})
	case TCPLastAck:
		w.lead(TCPCloseWait)
		w.pass(toClient, seg{flags: fF | fA, seq: 1, ack: 2, win: 2000})
	case TCPTimeWait:
		w.lead(TCPLastAck)
		w.pass(toServer, seg{flags: fA, seq: 2, ack: 2, win: 1000})
	case TCPClose:
		w.open()
		w.pass(toServer, seg{flags: fR, seq: 1})
	}
}

// CT-3: every transition is the one that docs/trackers.md shows.
func TestTransitionsAreAsDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/trackers.md")
	if err != nil {
		t.Fatal(err)
	}
	flags := map[string]uint8{"SYN": fS, "SYN/ACK": fS | fA, "FIN": fF | fA, "ACK": fA, "RST": fR | fA}
	line := regexp.MustCompile(`^\| (original|reply) (\S+) \|(.*)\|$`)
	var columns []State
	tried := 0
	for text := range strings.Lines(string(page)) {
		text = strings.TrimSpace(text)
		if strings.HasPrefix(text, "| segment |") {
			for _, name := range strings.Split(strings.Trim(text, "| "), "|")[1:] {
				for s := TCPSynSent; s <= TCPSynSent2; s++ {
					if s.String() == strings.TrimSpace(name) {
						columns = append(columns, s)
					}
				}
			}
		}
		m := line.FindStringSubmatch(text)
		if m == nil || flags[m[2]] == 0 {
			continue
		}
		cells := strings.Split(m[3], "|")
		if len(cells) != len(columns) || len(columns) != len(row{}) {
			t.Fatalf("%q: %d cells, %d columns", text, len(cells), len(columns))
		}
		for i, from := range columns {
			want := strings.TrimSpace(cells[i])
			if got := transition(t, from, m[1], flags[m[2]]); got != want {
				t.Errorf("%v, %s %s: %s, the page says %s", from, m[1], m[2], got, want)
			}
			tried++
		}
	}
	if want := 2 * int(numKinds) * len(row{}); tried != want {
		t.Errorf("%d transitions on the page, want %d", tried, want)
	}
}

// transition brings a connection into a state and sends it the plausible segment
// with these flags; it returns what the page would say.
func transition(t *testing.T, from State, dir string, flags uint8) string {
	w := newWire(t)
	w.lead(from)
	if got := w.state(); got != from {
		t.Fatalf("the way to %v leads to %v", from, got)
	}
	mine := map[bool]uint32{true: 2, false: 1}[from == TCPCloseWait || from == TCPLastAck || from == TCPTimeWait || from == TCPFinWait]
	theirs := map[bool]uint32{true: 2, false: 1}[from == TCPLastAck || from == TCPTimeWait]
	s := seg{flags: flags, seq: mine, ack: theirs, win: 1000}
	d := toServer
	if dir == "reply" {
		d, s.seq, s.ack, s.win = toClient, theirs, mine, 2000
	}
	if flags&fS != 0 {
		s.seq, s.ack = 0, s.ack*(uint32(flags)/fA)
	}
	if from == TCPSynSent2 && flags == fR|fA && d == toServer {
		s.seq = 1
	}
	if from == TCPSynSent && d == toServer {
		s.ack = 0 // there is nothing to acknowledge
	}
	f := w.table.flow(1)
	before := f.packets
	p := w.pass(d, s)
	switch after := w.state(); {
	case p.State == packet.CtInvalid:
		return "invalid"
	case p.State == packet.CtNew && f.packets == [2]uint32{1, 0} && from >= TCPTimeWait:
		return "new"
	case after == NumStates:
		return "gone"
	case f.packets == before && after == from && flags != fS:
		return "-"
	case f.packets == before && after == from && from != TCPSynSent && from != TCPSynSent2:
		return "-"
	default:
		return after.String()
	}
}

// CT-3: RFC 5961 section 3.2, and what Linux makes of it.
func TestResets(t *testing.T) {
	for _, tc := range []struct {
		name string
		dir  int
		s    seg
		want State
		ct   packet.CtState
	}{
		{"the number expected", toServer, seg{flags: fR, seq: 101}, TCPClose, packet.CtEstablished},
		{"inside the window", toServer, seg{flags: fR, seq: 102}, TCPEstablished, packet.CtEstablished},
		{"at the end of the window", toServer, seg{flags: fR, seq: 101 + 2000}, TCPEstablished, packet.CtEstablished},
		{"a window further", toServer, seg{flags: fR, seq: 101 + 2000 + 4000}, TCPEstablished, packet.CtInvalid},
		{"acknowledged already", toServer, seg{flags: fR, seq: 100}, TCPEstablished, packet.CtInvalid},
		{"guessed", toServer, seg{flags: fR, seq: 1 << 30}, TCPEstablished, packet.CtInvalid},
		{"the other way", toClient, seg{flags: fR | fA, seq: 1, ack: 101}, TCPClose, packet.CtEstablished},
		{"with the wrong acknowledgement", toClient, seg{flags: fR | fA, seq: 1, ack: 5000}, TCPEstablished, packet.CtInvalid},
	} {
		w := newWire(t)
		w.open()
		w.pass(toServer, seg{flags: fA, seq: 1, ack: 1, win: 1000, size: 100})
		w.pass(toClient, seg{flags: fA, seq: 1, ack: 101, win: 2000})
		if p := w.pass(tc.dir, tc.s); p.State != tc.ct || w.state() != tc.want {
			t.Errorf("%s: %v and %v, want %v and %v", tc.name, p.State, w.state(), tc.ct, tc.want)
		}
	}
}

// CT-3: an acknowledgement that answers a SYN on a live connection in LAST_ACK is a
// challenge, not the end (RFC 5961 4.2); and the SYN/ACK that accepts such a SYN
// begins a connection.
func TestSynOnALiveConnection(t *testing.T) {
	w := newWire(t)
	w.lead(TCPLastAck)
	w.pass(toServer, seg{flags: fS, seq: 7000, win: 1000})
	if w.pass(toClient, seg{flags: fA, seq: 2, ack: 2, win: 2000}); w.state() != TCPLastAck {
		t.Errorf("a challenge ended the connection: %v", w.state())
	}
	w = newWire(t)
	w.open()
	w.pass(toServer, seg{flags: fS, seq: 7000, win: 1000})
	if w.pass(toClient, seg{flags: fS | fA, seq: 9000, ack: 7000, win: 2000}); w.state() != TCPEstablished {
		t.Errorf("a SYN/ACK to nothing gave %v", w.state())
	}
	w.pass(toServer, seg{flags: fS, seq: 7000, win: 1000})
	w.pass(toClient, seg{flags: fS | fA, seq: 9000, ack: 7001, win: 2000})
	if w.state() != TCPSynRecv {
		t.Fatalf("an accepted SYN gave %v", w.state())
	}
	p := w.pass(toServer, seg{flags: fA, seq: 7001, ack: 9001, win: 1000, size: 500})
	if w.state() != TCPEstablished || p.State != packet.CtEstablished {
		t.Errorf("the new connection's data: %v, %v", p.State, w.state())
	}
}

// CT-3: a SYN meets what is left of an old connection at the far end, whose challenge its
// sender answers with a RST: that ends the flow, and the SYN that follows begins it anew, as
// Linux has it. Source: RFC 9293 3.5.1, figure 9; RFC 5961 4.2
func TestHalfOpenConnectionIsCleared(t *testing.T) {
	w := newWire(t)
	w.pass(toServer, seg{flags: fS, seq: 1000, win: 1000})
	w.pass(toClient, seg{flags: fA, seq: 5000, ack: 7001, win: 1000})
	if p := w.pass(toServer, seg{flags: fR, seq: 7000}); p.State != packet.CtInvalid || w.state() != TCPSynSent {
		t.Errorf("a RST that answers nothing: %v, %v", p.State, w.state())
	}
	if p := w.pass(toServer, seg{flags: fR, seq: 7001}); p.State == packet.CtInvalid || w.state() != TCPClose {
		t.Errorf("the RST: %v, %v", p.State, w.state())
	}
	if p := w.pass(toServer, seg{flags: fS, seq: 1000, win: 1000}); p.State != packet.CtNew || w.state() != TCPSynSent {
		t.Errorf("the SYN behind it: %v, %v", p.State, w.state())
	}
}

// CT-3: loose off takes up no connection in mid-stream; liberal lets segments outside
// the windows through.
func TestLooseAndLiberal(t *testing.T) {
	w := newWire(t)
	w.table.Use(Settings{})
	if p := w.pass(toServer, seg{flags: fA, seq: 1, win: 1000}); p.State != packet.CtInvalid {
		t.Errorf("picked up: %v", p.State)
	}
	for _, liberal := range []bool{false, true} {
		w := newWire(t)
		w.table.Use(Settings{Liberal: liberal})
		w.open()
		want := map[bool]packet.CtState{false: packet.CtInvalid, true: packet.CtEstablished}[liberal]
		if p := w.pass(toServer, seg{flags: fA, seq: 1 << 20, ack: 1, win: 1000, size: 10}); p.State != want {
			t.Errorf("liberal %v: %v, want %v", liberal, p.State, want)
		}
	}
}

// CT-3: the fast loop leaves flow and windows exactly as the tracker would.
func TestFastLoopIsTheTracker(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fast, slow := newWire(t), newWire(t)
		slow.table.secret = fast.table.secret
		base := rapid.SampledFrom([]uint32{0, 1 << 31, ^uint32(0) - 2000}).Draw(rt, "base")
		next := [2]uint32{base + 1, base + 1}
		for _, w := range []*wire{fast, slow} {
			scale := []byte{3, 3, 2, 1}
			w.pass(toServer, seg{flags: fS, seq: base, win: 1000, options: scale})
			w.pass(toClient, seg{flags: fS | fA, seq: base, ack: base + 1, win: 2000, options: scale})
			w.pass(toServer, seg{flags: fA, seq: base + 1, ack: base + 1, win: 1000})
		}
		for range rapid.IntRange(1, 60).Draw(rt, "segments") {
			dir := rapid.IntRange(0, 1).Draw(rt, "dir")
			s := seg{flags: rapid.SampledFrom([]uint8{fA, fA, fA, fA | tcpPsh, fA | tcpUrg, fF | fA, fR, fS}).Draw(rt, "flags"),
				seq: next[dir], ack: next[1-dir], size: rapid.SampledFrom([]int{0, 1, 500, 4000}).Draw(rt, "size"),
				win: rapid.SampledFrom([]uint16{0, 1, 1000, 3000}).Draw(rt, "win")}
			s.seq += rapid.SampledFrom([]uint32{0, 0, 0, 1, ^uint32(0), 8000, ^uint32(8000)}).Draw(rt, "seq")
			s.ack += rapid.SampledFrom([]uint32{0, 0, 0, 1, ^uint32(0), ^uint32(70000)}).Draw(rt, "ack")
			s.options = rapid.SampledFrom([][]byte{nil, nil, {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}, {1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9}}).Draw(rt, "options")
			if end := s.seq + uint32(s.size); s.flags&fA != 0 && after(end, next[dir]) && end-next[dir] < 4001 {
				next[dir] = end
			}
			now := fast.now + rapid.Int64Range(0, 3*second).Draw(rt, "pause")
			fast.now, slow.now = now, now
			p, q := fast.pass(dir, s), slow.trackAlone(dir, s)
			if p.State != q.State || *fast.table.flow(1) != *slow.table.flow(1) || *fast.table.window(1) != *slow.table.window(1) {
				rt.Fatalf("%+v from %d: fast %v %+v %+v, slow %v %+v %+v", s, dir,
					p.State, *fast.table.flow(1), *fast.table.window(1), q.State, *slow.table.flow(1), *slow.table.window(1))
			}
		}
	})
}

// trackAlone is pass by way of the tracker alone.
func (w *wire) trackAlone(dir int, s seg) packet.Packet {
	of := w.of
	if dir == Reply {
		of = of.reversed()
	}
	var p packet.Packet
	load(&p, &w.table.secret, of, 0, tcpBytes(s)...)
	w.table.lookup(&p, w.table.seek(p.Hash), Tick(w.now), DefaultTimeouts())
	if p.State == packet.CtNew && p.Flow == 0 {
		w.table.Confirm(&p, w.now, DefaultTimeouts())
	}
	return p
}

// CT-3: whatever went by before, a client can open a connection once the flow is
// forgotten, and the flow is forgotten.
func TestNoStreamWedges(t *testing.T) {
	rng := rand.New(rand.NewPCG(rand.Uint64(), 1))
	for range 300 {
		w := newWire(t)
		for range rng.IntN(60) {
			w.now += rng.Int64N(second)
			w.pass(rng.IntN(2), seg{flags: uint8(rng.IntN(256)), seq: rng.Uint32() >> (rng.IntN(4) * 8), ack: rng.Uint32() >> (rng.IntN(4) * 8),
				win: uint16(rng.Uint32()), size: rng.IntN(40), options: []byte{byte(rng.IntN(9)), byte(rng.IntN(12)), byte(rng.IntN(20)), 1}})
		}
		for range 6 * 24 * 3600 / 60 {
			w.now += 60 * second
			w.table.Expire(w.now, 1<<20)
		}
		if n := w.table.Flows4; n != 0 {
			t.Fatalf("%d flows outlived every timeout", n)
		}
		if w.open(); w.state() != TCPEstablished {
			t.Fatalf("the next connection is %v", w.state())
		}
	}
}

// FuzzTCP: no bytes upset the tracker.
func FuzzTCP(f *testing.F) {
	f.Add([]byte{0, 0x50, 2, 1, 0x50, 0x12})
	f.Fuzz(func(t *testing.T, data []byte) {
		w := newWire(t)
		for len(data) > 1 {
			dir, n := int(data[0]&1), int(data[1]&63)
			n = min(n, len(data)-2)
			of := w.of
			if dir == Reply {
				of = of.reversed()
			}
			l4 := append(make([]byte, 12), data[2:2+n]...)
			send(w.table, w.now, DefaultTimeouts(), of, l4...)
			data = data[2+n:]
		}
		if w.table.Flows4 > 1 {
			t.Fatalf("%d flows of one connection", w.table.Flows4)
		}
	})
}

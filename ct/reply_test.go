package ct

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"ffwd/packet"
)

// masquerade sends a first packet whose source becomes one of from.
func (w *natWorld) masquerade(of tuple, from *Range) (left []byte, p packet.Packet) {
	return w.pass(of, nil, func(p *packet.Packet) (*Range, bool) { return from, w.table.SetSource(p, 1) })
}

// FF-6: a port stays if it is free, and else is another of its class, or of those that the
// rule names, as long as there is one; then the packet is refused. Source: RFC 4787 REQ-3.
func TestPortsOfSources(t *testing.T) {
	a, b, server, public := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("198.51.100.1")
	any := rangeOf(public, public)
	for _, c := range []struct {
		proto       uint8
		port        uint16
		from        *Range
		kept        bool
		first, last uint16 // of the second host's port
	}{
		{packet.ProtoUDP, 40000, any, true, 1024, 65535},
		{packet.ProtoTCP, 600, any, true, 600, 1023},
		{packet.ProtoTCP, 100, any, true, 1, 511},
		{packet.ProtoUDP, 40000, rangeOf(public, public, 5000, 5001), false, 5000, 5001},
		{packet.ProtoUDP, 5001, rangeOf(public, public, 5000, 5001), true, 5000, 5000},
		{packet.ProtoICMP, 77, any, true, 0, 65535},
	} {
		w := newNATWorld(t, 1, 64)
		of := tuple{a, server, c.port, 80, c.proto}
		if c.proto == packet.ProtoICMP {
			of.dport = 0
		}
		one, _ := w.masquerade(of, c.from)
		of.src = b
		two, _ := w.masquerade(of, c.from)
		if one == nil || two == nil {
			t.Errorf("%+v: refused for %v", c, w.table.Refusal())
			continue
		}
		p, q := tupleOf(one), tupleOf(two)
		if p.src != public || q.src != public || c.kept != (p.sport == c.port) || p.sport == q.sport || q.sport < c.first || q.sport > c.last {
			t.Errorf("%+v: %v and %v", c, p, q)
		}
	}
	w := newNATWorld(t, 1, 64)
	for i := range 3 {
		left, p := w.masquerade(tuple{a, server, 1000 + uint16(i), 80, packet.ProtoUDP}, rangeOf(public, public, 5000, 5001))
		if (left == nil) != (i == 2) || i == 2 && (w.table.Refusal() != packet.NATNoPort || p.Flow != 0) {
			t.Errorf("flow %d: left %v, %v", i, left != nil, w.table.Refusal())
		}
	}
	if w.table.Translations != 2 || w.table.Flows4 != 2 {
		t.Errorf("%d twins, %d flows after one was refused", w.table.Translations, w.table.Flows4)
	}
}

// FF-6: what has no port to choose is refused when its tuple is taken, and keeps it else. SCTP
// has none in fragments.
func TestSourcesWithoutPorts(t *testing.T) {
	server, public := netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("198.51.100.1")
	for _, proto := range []uint8{packet.ProtoGRE, packet.ProtoSCTP, 50} {
		w := newNATWorld(t, 1, 64)
		for i, host := range []string{"10.0.0.1", "10.0.0.2"} {
			var p packet.Packet
			of := tuple{netip.MustParseAddr(host), server, 3000, 3001, proto}
			load(&p, &w.table.secret, of, 0, 0x0b, 0xb8, 0x0b, 0xb9, 0, 0, 0, 0, 1, 2, 3, 4, 1, 0, 0, 20, 9, 9, 9, 9, 0, 0, 16, 0, 0, 1, 0, 1, 7, 7, 7, 7)
			if proto == packet.ProtoSCTP {
				p.Flags |= packet.IsFragment
			}
			sum := append([]byte(nil), p.Transport()...)
			b := &packet.Burst{N: 1, Pkts: [packet.MaxBurst]packet.Packet{p}}
			w.table.Lookup(b, DefaultTimeouts())
			q := &b.Pkts[0]
			w.table.SetSource(q, 1)
			ok := w.table.ConfirmTranslated(q, rangeOf(public, public), 0, DefaultTimeouts())
			if ok != (i == 0) || !ok && w.table.Refusal() != packet.NATNoPort {
				t.Fatalf("protocol %d, host %d: %v, %v", proto, i, ok, w.table.Refusal())
			}
			if !ok {
				w.table.ReleaseTranslation(q)
				continue
			}
			w.table.Source(q)
			if got := netip.AddrFrom4([4]byte(q.IPv4()[12:16])); got != public || string(sum) != string(q.Transport()) {
				t.Errorf("protocol %d: from %v, payload changed: %v", proto, got, string(sum) != string(q.Transport()))
			}
		}
		if w.table.Translations != 1 {
			t.Errorf("protocol %d: %d twins", proto, w.table.Translations)
		}
	}
}

// FF-6, CT-1: the answers to a translated packet come to the worker that has its flow.
func TestRepliesComeToTheirWorker(t *testing.T) {
	const workers = 4
	server, public := netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("198.51.100.1")
	byFold := func(fold uint16) int { return int(fold) % workers }
	for name, owner := range map[string]func(hash uint64, fold uint16) int{
		"hash": func(hash uint64, _ uint16) int { return Owner(hash, workers) },
		"fold": func(_ uint64, fold uint16) int { return byFold(fold) },
	} {
		w := newNATWorld(t, 1, 512)
		w.table.Own(func(hash uint64, fold uint16) bool { return owner(hash, fold) == 2 })
		moved := 0
		for i := range 200 {
			of := tuple{netip.MustParseAddr("10.0.0.1"), server, 20000 + uint16(i), 80, packet.ProtoTCP}
			left, _ := w.masquerade(of, rangeOf(public, public))
			if left == nil {
				t.Fatalf("%s: flow %d: %v", name, i, w.table.Refusal())
			}
			out := tupleOf(left)
			if out.sport != of.sport {
				moved++
			}
			var p packet.Packet
			receive(&p, &w.table.secret, onWire(out.reversed(), nil))
			if owner(p.Hash, FlowFold(&p)) != 2 {
				t.Fatalf("%s: %v goes to worker %d", name, out.reversed(), owner(p.Hash, FlowFold(&p)))
			}
		}
		if moved < 100 {
			t.Errorf("%s: %d of 200 ports moved", name, moved)
		}
	}
}

// FF-6, CT-7: when all translations are in use one of a flow without an answer gives way,
// and none of an answered one.
func TestTranslationsAreBounded(t *testing.T) {
	server, public := netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("198.51.100.1")
	w := newNATWorld(t, 1, 8)
	open := func(i int) []byte {
		left, _ := w.masquerade(tuple{netip.MustParseAddr("10.0.0.1"), server, 2000 + uint16(i), 53, packet.ProtoUDP}, rangeOf(public, public))
		return left
	}
	for i := range 20 {
		if open(i) == nil {
			t.Fatalf("flow %d was refused", i)
		}
	}
	if w.table.Translations != 8 || w.table.Flows4 != 8 || w.table.EarlyDropped != 12 {
		t.Fatalf("%d twins, %d flows, %d gave way", w.table.Translations, w.table.Flows4, w.table.EarlyDropped)
	}
	for i := 12; i < 20; i++ { // those that are left are answered
		w.pass(tuple{server, public, 53, 2000 + uint16(i), packet.ProtoUDP}, nil, func(*packet.Packet) (*Range, bool) {
			t.Fatalf("flow %d has gone", i)
			return nil, false
		})
	}
	if open(20) != nil || w.table.Flows4 != 8 {
		t.Errorf("a ninth flow took the place of an answered one: %d flows", w.table.Flows4)
	}
}

// FF-6: where a rule changes nothing the flow is like any other, with the short way.
func TestTranslationToItself(t *testing.T) {
	w := newNATWorld(t, 1, 8)
	of := tuple{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.9"), 2000, 80, packet.ProtoUDP}
	left, p := w.masquerade(of, rangeOf(of.src, of.src))
	if left == nil || tupleOf(left) != of || w.table.Translations != 0 || w.table.Flow(p.Flow).flags&(translated|settled) != settled {
		t.Errorf("left as %v, %d twins, flags %#x", left, w.table.Translations, w.table.Flow(p.Flow).flags)
	}
}

// FF-6: a packet that runs against one of a flow's tuples is of no flow, and starts none.
func TestPacketsAgainstATranslation(t *testing.T) {
	w := newNATWorld(t, 1, 8)
	in := tuple{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.9"), 2000, 80, packet.ProtoUDP}
	public := netip.MustParseAddr("198.51.100.1")
	left, _ := w.masquerade(in, rangeOf(public, public))
	for _, of := range []tuple{in.reversed(), tupleOf(left)} {
		if _, p := w.pass(of, nil, nil); p.State != packet.CtInvalid || p.Flow != 0 || p.Translation != 0 {
			t.Errorf("%v is %v, flow %d, translation %d", of, p.State, p.Flow, p.Translation)
		}
	}
}

// FF-6: no UDP checksum stays none, and one that comes out as zero is sent as ones.
// Source: RFC 768, RFC 1624 section 5.
func TestUDPChecksums(t *testing.T) {
	public := netip.MustParseAddr("198.51.100.1")
	of := tuple{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.9"), 2000, 80, packet.ProtoUDP}
	seen := 0
	for word := range 1 << 16 {
		payload := binary.BigEndian.AppendUint16(nil, uint16(word))
		whole := onWire(of, payload)
		var p packet.Packet
		receive(&p, &Secret{}, whole)
		e := endpoint{portLE: 0x3412}
		copy(e.addr[:], public.AsSlice())
		setEnd(&p, theSrc, &e)
		if err := faulty(whole); err != nil {
			t.Fatalf("payload %x: %v", payload, err)
		}
		if got := binary.BigEndian.Uint16(whole[26:]); got == 0 {
			t.Fatalf("payload %x: the checksum says that there is none", payload)
		} else if got == 0xffff {
			seen++
		}
		whole[26], whole[27] = 0, 0
		setEnd(&p, theSrc, &endpoint{})
		if whole[26]|whole[27] != 0 {
			t.Fatalf("payload %x: a checksum came from nowhere", payload)
		}
	}
	if seen != 1 {
		t.Errorf("%d of all payloads have a checksum of ones, want 1", seen)
	}
}

// FF-6, CT-6: of two first packets in one burst the second gets what the first got, though
// another port was free when it came.
func TestTranslationClash(t *testing.T) {
	w := newNATWorld(t, 1, 8)
	public := netip.MustParseAddr("198.51.100.1")
	from := rangeOf(public, public, 5000, 5999)
	of := tuple{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.9"), 2000, 80, packet.ProtoUDP}
	b := &packet.Burst{N: 2}
	frames := [2][]byte{onWire(of, nil), onWire(of, []byte("and more"))}
	for i := range frames {
		receive(&b.Pkts[i], &w.table.secret, frames[i])
	}
	w.table.Lookup(b, DefaultTimeouts())
	for i := range b.Live() {
		w.table.SetSource(&b.Pkts[i], 1)
		w.table.Destination(&b.Pkts[i])
	}
	for i := range b.Live() {
		if !w.table.ConfirmTranslated(&b.Pkts[i], from, 0, DefaultTimeouts()) {
			t.Fatal(w.table.Refusal())
		}
		w.table.Source(&b.Pkts[i])
	}
	if one, two := tupleOf(frames[0]), tupleOf(frames[1]); one != two || one.sport < 5000 || w.table.Translations != 1 || w.table.Flows4 != 1 {
		t.Errorf("%v and %v, %d twins, %d flows", one, two, w.table.Translations, w.table.Flows4)
	}
}

package packet

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// The sum by its definition, two bytes at a time.
func naiveSum(data []byte) uint16 {
	var s uint32
	for i := 0; i < len(data); i += 2 {
		w := uint32(data[i]) << 8
		if i+1 < len(data) {
			w |= uint32(data[i+1])
		}
		s += w
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// RFC 1071, section 3: the worked example.
func TestChecksumExample(t *testing.T) {
	data := []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}
	if got := Fold(Sum(0, data)); got != 0xddf2 {
		t.Fatalf("%#x", got)
	}
}

func TestChecksumOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0x7f, 0x80, 0xfe, 0xff}), 0, 300).Draw(t, "data")
		if got, want := Checksum(data), ^naiveSum(data); got != want {
			t.Fatalf("%#x, want %#x", got, want)
		}
	})
}

// carryTwice changes the identification, the offset and the ends of the addresses so that
// what is summed up in words of 8 bytes is likely to carry again when all else is added,
// which happens to one header of four billion by chance.
func carryTwice(h []byte) {
	h[6], h[7] = 0, 0
	h[4], h[5] = ^h[12], ^h[13]
	h[14], h[15], h[18], h[19] = 0xff, 0xff, 0xff, 0xff
}

// FF-2: the header check against the full sum, on headers right and wrong.
func TestHeaderChecksumOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		var h IPv4
		for i := range h {
			h[i] = byte(r.Uint32())
		}
		if r.Uint32()%2 == 0 {
			carryTwice(h[:])
		}
		if r.Uint32()%2 == 0 {
			h.UpdateChecksum(h[:])
		}
		if got, want := h.ChecksumOK(), naiveSum(h[:]) == 0xffff; got != want {
			t.Fatalf("%x: %v, want %v", h, got, want)
		}
	}
}

// FF-7: the incremental update against the full computation, for every value the
// rest of the header can sum up to. Source: RFC 1624 section 3.
func TestDecrementTTLOracle(t *testing.T) {
	for _, ttl := range []byte{1, 2, 64, 255} {
		for id := range 1 << 16 {
			h := IPv4{0: 0x45, 8: ttl, 9: ProtoUDP, 12: 10}
			binary.BigEndian.PutUint16(h[4:], uint16(id))
			h.UpdateChecksum(h[:])
			h.DecrementTTL()
			want := h
			want.UpdateChecksum(want[:])
			if h != want || h.TTL() != ttl-1 {
				t.Fatalf("ttl %d id %d: %x, want %x", ttl, id, h[10:12], want[10:12])
			}
		}
	}
}

// FF-6: a checksum that is adjusted for what was replaced is that of the whole.
// Source: RFC 1624 section 3.
func TestReplaceOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		octet := rapid.SampledFrom([]byte{0, 1, 0x7f, 0xfe, 0xff})
		message := rapid.SliceOfN(octet, 24, 24).Draw(t, "message") // the sum at 0
		message[2] |= 1                                             // else all may be zeroes, with two right sums
		at, n := 4+2*rapid.IntRange(0, 8).Draw(t, "at"), 2*rapid.IntRange(0, 2).Draw(t, "words")
		clear(message[:2])
		binary.BigEndian.PutUint16(message, Checksum(message))
		fresh := rapid.SliceOfN(octet, n, n).Draw(t, "fresh")
		Adjust(message[:2], Replace(0, message[at:at+n], fresh))
		if naiveSum(message) != 0xffff || !bytes.Equal(message[at:at+n], fresh) {
			t.Fatalf("%x with %x at %d", message, fresh, at)
		}
	})
}

// Every reason has a name of its own: it is a metric label.
func TestReasonNames(t *testing.T) {
	seen := map[string]Reason{}
	for r := range NumReasons {
		name := r.String()
		if other, twice := seen[name]; name == "" || name == "unknown" || twice {
			t.Errorf("reason %d is called %q, as is %d", r, name, other)
		}
		seen[name] = r
	}
	if NumReasons.String() != "unknown" {
		t.Error("a reason out of range has a name")
	}
}

// The zero packet is dropped, unfinished, invalid and unanswered: forgetting
// fails closed.
func TestZeroFailsClosed(t *testing.T) {
	var p Packet
	if p.Verdict != Drop || p.Reason != Unfinished || p.State != CtInvalid || p.Answer != NoAnswer {
		t.Fatalf("%+v", p)
	}
}

// Load leaves nothing of the packet before.
func TestLoadForgets(t *testing.T) {
	var b Burst
	p := &b.Pkts[0]
	raw := unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
	for i := range raw {
		raw[i] = 0xff
	}
	p.Data, p.Mbuf, p.NextHop = nil, nil, nil // no pointers into nowhere
	buffer := make([]byte, 64)
	m := &Mbuf{BufAddr: unsafe.Pointer(&buffer[0]), DataOff: 8, DataLen: 40}
	bytes := b.Load([]*Mbuf{m}, 3)
	if want := (Packet{Mbuf: m, Head: Head{Data: unsafe.Pointer(&buffer[8]), Len: 40, L3: EthernetLen}, DataOff: 8, Ingress: 3}); *p != want || bytes != 40 || b.N != 1 {
		t.Fatalf("%+v", *p)
	}
}

func TestMAC48(t *testing.T) {
	mac := [6]byte{2, 0x11, 0x22, 0x33, 0x44, 0x55}
	var e Ethernet
	copy(e[:], mac[:])
	if MAC48(mac) != e.Dst() || e.Dst()&MACGroupBit != 0 {
		t.Fatalf("%x %x", MAC48(mac), e.Dst())
	}
	e[0] |= 1
	if e.Dst()&MACGroupBit == 0 {
		t.Fatal("the group bit was not seen")
	}
}

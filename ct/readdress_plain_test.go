package ct

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"unsafe"

	"ffwd/packet"
)

// Plain packets of translated flows get the ends that all others get, their checksums by the
// difference: those at the bounds of ones'-complement sums, none, and wrong ones, too. One that
// has its end already stays as it is. FF-6
func TestPlainEnds(t *testing.T) {
	table, err := New(Options{MaxFlows: MinFlows, Translations: 4, Secret: NewSecret()})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	some := func() uint32 {
		return []uint32{rng.Uint32(), rng.Uint32(), 0, 1, 0xffff, 0xffff0000, ^uint32(0)}[rng.IntN(7)]
	}
	i := table.takeTwin()
	w, f := table.twin(i), table.flow(1)
	w.flow = 1
	changed := 0
	for range 100_000 {
		proto := []uint8{packet.ProtoTCP, packet.ProtoUDP}[rng.IntN(2)]
		for _, k := range []*key{&w.key, &f.key} {
			k.k0, k.k1 = uint64(some())<<32|uint64(some()), uint64(some())<<32|uint64(proto)<<8|family4
		}
		w.flags, f.flags = uint8(rng.IntN(2))*origSwapped, uint8(rng.IntN(2))*origSwapped|translated
		frame := make([]byte, 14+20+20+rng.IntN(20))
		for j := range frame {
			frame[j] = uint8(rng.Uint32())
		}
		frame[14] = 0x45
		binary.BigEndian.PutUint16(frame[24:], uint16(some()))
		binary.BigEndian.PutUint16(frame[34+6:], uint16(some()))
		binary.BigEndian.PutUint16(frame[34+16:], uint16(some()))
		p := packet.Packet{Head: packet.Head{Data: unsafe.Pointer(&frame[0]), L3: 14, L4: 20, Len: uint16(len(frame)), Proto: proto,
			Flags: packet.HasPorts | uint8(rng.IntN(2))*packet.ReplyDir}}
		p.Translation = i
		sent, which := table.sent(&p), which(rng.IntN(2))
		switch rng.IntN(4) {
		case 0:
			copy(frame[26:], sent.src.addr[:4])
			copy(frame[30:], sent.dst.addr[:4])
		case 1:
			binary.LittleEndian.PutUint32(frame[34:], sent.portsLE())
		case 2:
			copy(frame[26:], sent.src.addr[:4])
			copy(frame[30:], sent.dst.addr[:4])
			binary.LittleEndian.PutUint32(frame[34:], sent.portsLE())
		}
		p.PortsLE = binary.LittleEndian.Uint32(frame[34:])
		if !hasPlainPorts(&p) {
			t.Fatalf("%+v is not plain", p.Head)
		}
		other, q := bytes.Clone(frame), p
		q.Data = unsafe.Pointer(&other[0])
		before, end := bytes.Clone(frame), &sent.src
		if which == theDst {
			end = &sent.dst
		}
		table.setPlainEnd(&p, which)
		setEnd(&q, which, end)
		if bytes.Equal(before[26:38], other[26:38]) {
			other = before // nor has it a new checksum then
		} else {
			changed++
			if bytes.Equal(before[26:34], other[26:34]) {
				copy(other[24:26], before[24:26]) // 0xffff is 0 to a sum, but the header's stays
			}
		}
		if p.PortsLE != q.PortsLE || !bytes.Equal(frame, other) {
			t.Fatalf("end %d of\n%x: ports %#x, want %#x\n%x, want\n%x", which, before, p.PortsLE, q.PortsLE, frame, other)
		}
	}
	if changed < 50_000 {
		t.Errorf("%d packets changed", changed)
	}
	*f = Flow{}
}

// What is not whole, has no ports or no room for them, or is of another kind, is not plain.
func TestPlainPorts(t *testing.T) {
	for _, c := range []struct {
		proto uint8
		flags uint8
		size  uint16
		plain bool
	}{
		{packet.ProtoUDP, packet.HasPorts, 8, true}, {packet.ProtoUDP, packet.HasPorts, 7, false},
		{packet.ProtoTCP, packet.HasPorts | packet.ReplyDir, 20, true}, {packet.ProtoTCP, packet.HasPorts, 19, false},
		{packet.ProtoUDP, 0, 8, false}, {packet.ProtoSCTP, packet.HasPorts, 30, false}, {packet.ProtoICMP, packet.HasPorts, 30, false},
		{packet.ProtoUDP, packet.HasPorts | packet.IsIPv6, 8, false}, {packet.ProtoUDP, packet.HasPorts | packet.IsFragment, 8, false},
		{packet.ProtoUDP, packet.HasPorts | packet.LaterFragment, 8, false}, {packet.ProtoUDP, packet.HasPorts | packet.Broken, 8, false},
	} {
		p := packet.Packet{Head: packet.Head{L3: 14, L4: 24, Len: 14 + 24 + c.size, Proto: c.proto, Flags: c.flags}}
		if got := hasPlainPorts(&p); got != c.plain {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

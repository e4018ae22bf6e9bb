package packet

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// plainFrame is a frame that Plain4 takes, with size bytes of payload.
func plainFrame(proto uint8, size int) []byte {
	f := make([]byte, EthernetLen+IPv4HeaderLen+size)
	copy(f, []byte{2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 9, 9, 8, 0, 0x45, 3})
	h := (*IPv4)(f[EthernetLen:])
	h.SetTotalLen(IPv4HeaderLen + size)
	copy(h[8:], []byte{64, proto, 0, 0, 10, 1, 1, 2, 192, 0, 2, 9})
	if proto == ProtoUDP {
		binary.BigEndian.PutUint16(f[38:], uint16(size))
	}
	h.UpdateChecksum(h[:])
	return f
}

// neighbour is a plain frame to put others among, of a length that sixteens are made of.
func neighbour(i int) []byte { return plainFrame([]uint8{ProtoTCP, ProtoUDP}[i%2], 20+i%2) }

// FuzzPlain4: assembly and Go take the same frames and say the same of them.
// Source: FF-2, FF-4.
func FuzzPlain4(f *testing.F) {
	for _, size := range []int{7, 8, 19, 20, 26, 100} {
		f.Add(plainFrame(ProtoUDP, size), uint64(0), uint16(0), uint8(0))
		f.Add(plainFrame(ProtoTCP, size), uint64(RxIPCksumGood), uint16(2), uint8(1))
	}
	f.Fuzz(func(t *testing.T, frame []byte, flags uint64, cut uint16, seed uint8) {
		comparePlain4(t, frame, flags, cut, seed)
	})
}

// comparePlain4 gives a frame among others to both, up to 31 by the seed. It returns how
// many are plain, and of how many.
func comparePlain4(t *testing.T, frame []byte, flags uint64, cut uint16, seed uint8) (plain, all int) {
	if all = 3; seed&2 != 0 {
		all = 16 + int(seed>>4)
	}
	place := int(seed>>2) % all
	var mbufs []*Mbuf
	const headroom = 16
	memory := make([]byte, all*(headroom+64)+len(frame))
	for i := range all {
		f := neighbour(i)
		if i == place {
			f = frame
		}
		buffer := memory[:headroom+max(64, len(f))]
		memory = memory[len(buffer):]
		copy(buffer[headroom:], f)
		m := &Mbuf{BufAddr: unsafe.Pointer(&buffer[0]), DataOff: headroom, DataLen: uint16(len(f))}
		if mbufs = append(mbufs, m); i == place {
			if seed&1 != 0 && len(f) >= EthernetLen+IPv4HeaderLen { // what is behind the checksum is looked at
				h := (*IPv4)(buffer[headroom+EthernetLen:])
				h.UpdateChecksum(h[:])
			}
			m.OlFlags, m.DataLen = flags, m.DataLen-min(m.DataLen, cut&63)
		}
	}
	mac := binary.LittleEndian.Uint64([]byte{2, 0, 0, 0, 1, 1, 0, 0})
	a, b := new(Run), new(Run)
	n, bytes, protocols := a.Plain4(mbufs, mac)
	wantN, wantBytes, wantProtocols := b.plain4(mbufs, mac)
	if n != wantN || bytes != wantBytes || protocols != wantProtocols || !slices.Equal(a.Heads[:n], b.Heads[:n]) ||
		!slices.Equal(a.Size[:n], b.Size[:n]) || !slices.Equal(a.Dst4[:n], b.Dst4[:n]) {
		t.Fatalf("%d frames, %d bytes, protocols %x, want %d, %d, %x\n%x", n, bytes, protocols, wantN, wantBytes, wantProtocols, frame)
	}
	if k, _, _ := a.sixteens4(mbufs, mac); vector && n == all && flags == 0 && mbufs[place].DataLen >= 44 && k != n&^15 {
		t.Fatalf("of %d plain frames %d were taken at once\n%x", n, k, frame)
	}
	return n, all
}

// What the fuzzer does, at random: mutants of plain frames, in any octet that is looked at,
// and each value of the octets that have bounds, at every place among sixteen.
// FF-2, FF-4
func TestPlain4(t *testing.T) {
	if !vector {
		t.Log("this processor does not judge sixteen frames at once")
	}
	rng, whole, cuts := rand.New(rand.NewPCG(1, 2)), 0, 0
	compare := func(f []byte, flags uint64, cut uint16, seed uint8) {
		if n, all := comparePlain4(t, f, flags, cut, seed); n == all {
			whole++
		} else {
			cuts++
		}
	}
	for at, proto := range map[int]uint8{17: ProtoUDP, 22: ProtoUDP, 26: ProtoTCP, 30: ProtoTCP, 39: ProtoUDP, 40: ProtoTCP} {
		for octet := range 256 {
			f := plainFrame(proto, 26)
			if at == 40 {
				f[17] = byte(octet) // the length, of TCP
			} else {
				f[at] = byte(octet)
			}
			compare(f, 0, 0, uint8(octet)<<2|3)
		}
	}
	octets := []uint8{0, 1, 2, 6, 8, 17, 20, 28, 40, 127, 128, 223, 224, 255}
	flags := []uint64{0, 0, 0, RxIPCksumGood, RxIPCksumBad, RxIPCksumMask, RxVLANStripped}
	for range 150_000 {
		f := plainFrame([]uint8{ProtoUDP, ProtoTCP}[rng.IntN(2)], 8+rng.IntN(30))
		for range rng.IntN(3) {
			if at := rng.IntN(42); rng.IntN(2) == 0 {
				f[at] = octets[rng.IntN(len(octets))]
			} else {
				f[at] ^= 1 << rng.IntN(8)
			}
		}
		cut := uint16(0)
		if rng.IntN(4) == 0 {
			cut = uint16(rng.Uint32())
		}
		compare(f, flags[rng.IntN(len(flags))], cut, uint8(rng.Uint32()))
	}
	if whole < 25_000 || cuts < 25_000 {
		t.Errorf("%d runs were whole, %d were not", whole, cuts)
	}
}

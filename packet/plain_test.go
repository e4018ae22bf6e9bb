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

// FuzzPlain4: assembly and Go take the same frames and say the same of them.
// Source: FF-2, FF-4.
func FuzzPlain4(f *testing.F) {
	for _, size := range []int{7, 8, 19, 20, 26, 100} {
		f.Add(plainFrame(ProtoUDP, size), uint64(0), uint16(0), uint8(0))
		f.Add(plainFrame(ProtoTCP, size), uint64(RxIPCksumGood), uint16(2), uint8(1))
	}
	f.Fuzz(func(t *testing.T, frame []byte, flags uint64, cut uint16, seed uint8) {
		comparePlain4(t, [][]byte{plainFrame(ProtoTCP, 20), frame, plainFrame(ProtoUDP, 9)}, flags, cut, seed)
	})
}

// comparePlain4 gives frames to both; the second is the one in question. It returns how
// many are plain.
func comparePlain4(t *testing.T, frames [][]byte, flags uint64, cut uint16, seed uint8) int {
	var mbufs []*Mbuf
	for i, frame := range frames {
		const headroom = 16
		buffer := make([]byte, headroom+max(64, len(frame)))
		copy(buffer[headroom:], frame)
		m := &Mbuf{BufAddr: unsafe.Pointer(&buffer[0]), DataOff: headroom, DataLen: uint16(len(frame))}
		if mbufs = append(mbufs, m); i == 1 {
			if seed&1 != 0 && len(frame) >= EthernetLen+IPv4HeaderLen { // what is behind the checksum is looked at
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
		t.Fatalf("%d frames, %d bytes, protocols %x, want %d, %d, %x\n%x", n, bytes, protocols, wantN, wantBytes, wantProtocols, frames[1])
	}
	return n
}

// What the fuzzer does, at random: mutants of plain frames, in any octet that is looked at.
// FF-2, FF-4
func TestPlain4(t *testing.T) {
	rng, taken := rand.New(rand.NewPCG(1, 2)), [4]int{}
	octets := []uint8{0, 1, 2, 6, 8, 17, 20, 28, 40, 127, 128, 223, 224, 255}
	flags := []uint64{0, 0, 0, RxIPCksumGood, RxIPCksumBad, RxIPCksumMask, RxVLANStripped}
	for range 300_000 {
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
		taken[comparePlain4(t, [][]byte{plainFrame(ProtoTCP, 20), f, plainFrame(ProtoUDP, 9)}, flags[rng.IntN(len(flags))], cut, uint8(rng.Uint32()))]++
	}
	if taken[1] < 50_000 || taken[3] < 50_000 || taken[0]+taken[2] > 0 {
		t.Errorf("runs by length: %v", taken)
	}
}

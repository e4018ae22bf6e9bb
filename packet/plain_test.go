package packet

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
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

// plainFrame6 is a frame that Plain6 takes, with size bytes of payload.
func plainFrame6(proto uint8, size int) []byte {
	f := make([]byte, EthernetLen+IPv6HeaderLen+size)
	copy(f, []byte{2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 9, 9, 0x86, 0xdd, 0x61, 3, 5, 7, byte(size >> 8), byte(size), proto, 64, 0x20, 1, 13, 0xb8})
	copy(f[38:], []byte{0x20, 1, 13, 0xb8, 9})
	if proto == ProtoUDP {
		binary.BigEndian.PutUint16(f[58:], uint16(size))
	}
	return f
}

// neighbour is a plain frame to put others among, of a length that sixteens are made of.
func neighbour(i int, ipv6 bool) []byte {
	proto, size := []uint8{ProtoTCP, ProtoUDP}[i%2], 20+i%2
	if ipv6 {
		return plainFrame6(proto, size)
	}
	return plainFrame(proto, size)
}

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

// comparePlain4 gives a frame among others to both, up to 46 by the seed. It returns how
// many are plain, and of how many.
func comparePlain4(t *testing.T, frame []byte, flags uint64, cut uint16, seed uint8) (plain, all int) {
	mbufs, place := among(frame, false, flags, cut, seed)
	a, b := new(Run), new(Run)
	n, octets, protocols := a.Plain4(mbufs, 0, testMAC)
	wantN, wantOctets, wantProtocols := b.plain4(mbufs, 0, testMAC)
	if n != wantN || octets != wantOctets || protocols != wantProtocols || !slices.Equal(a.Heads[:n], b.Heads[:n]) ||
		!slices.Equal(a.Size[:n], b.Size[:n]) || !sameColumns(a, b, 0, n) {
		t.Fatalf("%d frames, %d bytes, protocols %x, want %d, %d, %x\n%x", n, octets, protocols, wantN, wantOctets, wantProtocols, frame)
	}
	at := int(seed) % len(mbufs) // from anywhere on
	got, _, _ := a.Plain4(mbufs, at, testMAC)
	if want, _, _ := b.plain4(mbufs, at, testMAC); got != want || !slices.Equal(a.Heads[at:at+got], b.Heads[at:at+got]) || !sameColumns(a, b, at, at+got) {
		t.Fatalf("%d frames from %d on, want %d\n%x", got, at, want, frame)
	}
	if k, _, _ := a.sixteens4(mbufs, 0, testMAC); vector && n == len(mbufs) && flags == 0 && mbufs[place].DataLen >= 44 && k != n&^15 {
		t.Fatalf("of %d plain frames %d were taken at once\n%x", n, k, frame)
	}
	return n, len(mbufs)
}

// sameColumns compares what runs of IPv4 have besides heads and sizes.
func sameColumns(a, b *Run, from, to int) bool {
	return slices.Equal(a.Src4[from:to], b.Src4[from:to]) && slices.Equal(a.Dst4[from:to], b.Dst4[from:to]) &&
		slices.Equal(a.Ports[from:to], b.Ports[from:to]) && slices.Equal(a.Proto[from:to], b.Proto[from:to])
}

// comparePlain6 is comparePlain4 for IPv6, where the Go version is what is left without
// sixteens.
func comparePlain6(t *testing.T, frame []byte, flags uint64, cut uint16, seed uint8) (plain, all int) {
	mbufs, _ := among(frame, true, flags, cut, seed)
	a, b := new(Run), new(Run)
	n, octets, protocols := a.Plain6(mbufs, 0, testMAC)
	able := vector
	vector = false
	wantN, wantOctets, wantProtocols := b.Plain6(mbufs, 0, testMAC)
	at, c, d := int(seed)%len(mbufs), new(Run), new(Run) // from anywhere on
	want, _, _ := d.Plain6(mbufs, at, testMAC)
	vector = able
	if got, _, _ := c.Plain6(mbufs, at, testMAC); got != want || !slices.Equal(c.Heads[at:at+got], d.Heads[at:at+got]) {
		t.Fatalf("%d frames from %d on, want %d\n%x", got, at, want, frame)
	}
	if n != wantN || octets != wantOctets || protocols != wantProtocols || !slices.Equal(a.Heads[:n], b.Heads[:n]) ||
		!slices.Equal(a.Size[:n], b.Size[:n]) || !slices.Equal(a.Dst6[:n], b.Dst6[:n]) {
		t.Fatalf("%d frames, %d bytes, protocols %x, want %d, %d, %x\n%x", n, octets, protocols, wantN, wantOctets, wantProtocols, frame)
	}
	if k, _, _ := a.sixteens6(mbufs, 0, testMAC); vector && n == len(mbufs) && k != n&^15 {
		t.Fatalf("of %d plain frames %d were taken at once\n%x", n, k, frame)
	}
	return n, len(mbufs)
}

// testMAC is the destination of plainFrame.
var testMAC = binary.LittleEndian.Uint64([]byte{2, 0, 0, 0, 1, 1, 0, 0})

// edges are buffers behind each of which nothing may be read: pages, with others between
// that are out of bounds.
var edges = sync.OnceValue(func() (buffers [][]byte) {
	const n = 46
	page := os.Getpagesize()
	memory, err := unix.Mmap(-1, 0, 2*page*n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		panic(err)
	}
	for ; len(memory) > 0; memory = memory[2*page:] {
		if err := unix.Mprotect(memory[page:2*page], unix.PROT_NONE); err != nil {
			panic(err)
		}
		buffers = append(buffers, memory[:page])
	}
	return buffers
})

// among puts a frame, shorter by cut, among plain ones. It returns its place. All frames end
// where memory does.
func among(frame []byte, ipv6 bool, flags uint64, cut uint16, seed uint8) (mbufs []*Mbuf, place int) {
	all := 3
	if seed&2 != 0 {
		all = 16 + 2*int(seed>>4) // also sixteens behind sixteens
	}
	place = int(seed>>2) % all
	for i := range all {
		f, m, buffer := neighbour(i, ipv6), new(Mbuf), edges()[i]
		if i == place {
			f = bytes.Clone(frame[:min(len(frame), len(buffer))])
			if seed&1 != 0 && !ipv6 && len(f) >= EthernetLen+IPv4HeaderLen { // what is behind the checksum is looked at
				h := (*IPv4)(f[EthernetLen:])
				h.UpdateChecksum(h[:])
			}
			f, m.OlFlags = f[:len(f)-min(len(f), int(cut&63))], flags
		}
		m.BufAddr, m.DataOff, m.DataLen = unsafe.Pointer(&buffer[0]), uint16(len(buffer)-len(f)), uint16(len(f))
		copy(buffer[m.DataOff:], f)
		mbufs = append(mbufs, m)
	}
	return mbufs, place
}

// FuzzPlain6: sixteen frames at once, and one by one, are the same. Source: FF-2, FF-14.
func FuzzPlain6(f *testing.F) {
	for _, size := range []int{7, 8, 19, 20, 26, 100} {
		f.Add(plainFrame6(ProtoUDP, size), uint64(0), uint16(0), uint8(2))
		f.Add(plainFrame6(ProtoTCP, size), uint64(RxIPCksumBad), uint16(2), uint8(0xff))
	}
	f.Fuzz(func(t *testing.T, frame []byte, flags uint64, cut uint16, seed uint8) {
		comparePlain6(t, frame, flags, cut, seed)
	})
}

// What the fuzzers do, at random: mutants of plain frames, in any octet that is looked at,
// and each value of the octets that have bounds, at every place among sixteen.
// FF-2, FF-4, FF-14
func TestPlainFrames(t *testing.T) {
	if !vector {
		t.Log("this processor does not judge sixteen frames at once")
	}
	for _, family := range []struct {
		name    string
		frame   func(proto uint8, size int) []byte
		compare func(t *testing.T, frame []byte, flags uint64, cut uint16, seed uint8) (plain, all int)
		bounds  map[int]uint8 // octets of which each value is tried, and the protocol
		octets  int           // that are looked at
	}{
		{"ipv4", plainFrame, comparePlain4, map[int]uint8{17: ProtoUDP, 22: ProtoUDP, 26: ProtoTCP, 30: ProtoTCP, 39: ProtoUDP, 17 - 64: ProtoTCP}, 42},
		{"ipv6", plainFrame6, comparePlain6, map[int]uint8{19: ProtoUDP, 21: ProtoUDP, 22: ProtoTCP, 38: ProtoTCP, 59: ProtoUDP, 19 - 64: ProtoTCP}, 62},
	} {
		t.Run(family.name, func(t *testing.T) {
			defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
			for size := range uint16(90) { // every length at every place, of those whose headers say so and of others
				for place := range uint8(16) {
					cut := family.frame(ProtoUDP, 90)[:size]
					family.compare(t, cut, 0, 0, place<<2|3)
					if least := len(family.frame(ProtoTCP, 0)); int(size) >= least+8 {
						family.compare(t, family.frame(ProtoUDP, int(size)-least), 0, 0, place<<2|2)
						family.compare(t, family.frame(ProtoTCP, int(size)-least), 0, 0, place<<2|2)
					}
				}
			}
			rng, whole, cuts := rand.New(rand.NewPCG(1, 2)), 0, 0
			compare := func(f []byte, flags uint64, cut uint16, seed uint8) {
				if n, all := family.compare(t, f, flags, cut, seed); n == all {
					whole++
				} else {
					cuts++
				}
			}
			for at, proto := range family.bounds {
				for octet := range 256 {
					f := family.frame(proto, 26)
					f[at&63] = byte(octet)
					compare(f, 0, 0, uint8(octet)<<2|3)
				}
			}
			octets := []uint8{0, 1, 2, 6, 8, 17, 20, 28, 40, 127, 128, 223, 224, 254, 255}
			flags := []uint64{0, 0, 0, RxIPCksumGood, RxIPCksumBad, RxIPCksumMask, RxVLANStripped}
			for range 100_000 {
				f := family.frame([]uint8{ProtoUDP, ProtoTCP}[rng.IntN(2)], 8+rng.IntN(30))
				for range rng.IntN(3) {
					if at := rng.IntN(family.octets); rng.IntN(2) == 0 {
						f[at] = octets[rng.IntN(len(octets))]
					} else {
						f[at] ^= 1 << rng.IntN(8)
					}
				}
				if family.name == "ipv4" && rng.IntN(4) == 0 {
					carryTwice(f[EthernetLen:])
				}
				cut := uint16(0)
				switch rng.IntN(4) {
				case 0:
					cut = uint16(rng.Uint32())
				case 1:
					f = append(f, make([]byte, rng.IntN(20))...) // the link layer's padding
				}
				compare(f, flags[rng.IntN(len(flags))], cut, uint8(rng.Uint32()))
			}
			if whole < 15_000 || cuts < 15_000 {
				t.Errorf("%d runs were whole, %d were not", whole, cuts)
			}
		})
	}
}

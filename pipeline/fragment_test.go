package pipeline

import (
	"bytes"
	"testing"

	"ffwd/packet"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"
)

// FF-9, FF-14: the MTU and its neighbours, with and without DF.
func TestMTU(t *testing.T) {
	for _, tc := range []struct {
		name      string
		size      int // of the network packet
		df, v6    bool
		frames    int
		answerMTU int
	}{
		{"just fits", 1400, false, false, 1, 0},
		{"just fits, DF", 1400, true, false, 1, 0},
		{"one more", 1401, false, false, 2, 0},
		{"one more, DF", 1401, true, false, 0, 1400},
		{"IPv6 just fits", 1400, false, true, 1, 0},
		{"IPv6 one more", 1401, false, true, 0, 1400},
	} {
		w := newWorld(t)
		w.setMTU(1400)
		ip := ip4(a4, b4, layers.IPProtocolUDP)
		if tc.df {
			ip.Flags = layers.IPv4DontFragment
		}
		f := frame(ip, udp(1, 2), data(tc.size-28))
		if tc.v6 {
			f = udp6(tc.size - 48)
		}
		out := w.send(0, f)
		if len(out[1]) != tc.frames {
			t.Errorf("%s: %d frames left", tc.name, len(out[1]))
		}
		if tc.answerMTU == 0 {
			continue
		}
		if len(out[0]) != 1 || w.drops(packet.CannotFragment) != 1 {
			t.Fatalf("%s: %d answers", tc.name, len(out[0]))
		}
		answer := decode(t, out[0][0])
		if tc.v6 {
			icmp := answer.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
			if icmp.TypeCode.Type() != layers.ICMPv6TypePacketTooBig || !bytes.Equal(icmp.Payload[:4], []byte{0, 0, 5, 120}) || len(out[0][0]) != 14+1280 {
				t.Errorf("%v %x, %d bytes", icmp.TypeCode, icmp.Payload[:4], len(out[0][0]))
			}
			continue
		}
		icmp := answer.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
		if icmp.TypeCode != layers.CreateICMPv4TypeCode(3, 4) || int(icmp.Seq) != tc.answerMTU || len(out[0][0]) != 14+576 {
			t.Errorf("%v MTU %d, %d bytes", icmp.TypeCode, icmp.Seq, len(out[0][0]))
		}
	}
}

// FF-9: fragments of any packet at any MTU, of fragments too, put together again
// give the packet; each is a valid packet that fits.
func TestFragmentsReassemble(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		mtu := rapid.IntRange(68, 1499).Draw(rt, "mtu")
		size := rapid.IntRange(1, 8000).Draw(rt, "payload")
		ip := ip4(a4, b4, layers.IPProtocol(253))
		ip.FragOffset = uint16(rapid.SampledFrom([]int{0, 0, 1, 7000}).Draw(rt, "offset"))
		if rapid.Bool().Draw(rt, "more fragments") {
			ip.Flags = layers.IPv4MoreFragments
		}
		copied := layers.IPv4Option{OptionType: 0x94, OptionLength: 4, OptionData: []byte{1, 2}}
		once := layers.IPv4Option{OptionType: 7, OptionLength: 7, OptionData: make([]byte, 5)}
		noop := layers.IPv4Option{OptionType: 1}
		options := rapid.SampledFrom([][]layers.IPv4Option{nil, {copied}, {once, noop}, {noop, once, copied}, {once, copied, copied, noop}}).Draw(rt, "options")
		ip.Options = options
		f := frame(ip, data(size))
		w := newWorld(t, stateless) // or a fragment would wait for others
		w.snapshot.Interfaces[ifLAN].Options = OptionsForward
		w.publish()
		w.setMTU(mtu)
		original := decode(t, f).NetworkLayer().(*layers.IPv4)
		out := w.send(0, f)[1]
		if len(out) == 0 {
			rt.Fatal("nothing left")
		}
		want := data(size)
		for i, piece := range out {
			got := decode(t, piece).NetworkLayer().(*layers.IPv4)
			if int(got.Length) > mtu || int(got.Length) != len(piece)-14 {
				rt.Fatalf("piece %d of %d bytes, MTU %d", i, got.Length, mtu)
			}
			payload := got.LayerPayload()
			if !bytes.Equal(payload, want[:len(payload)]) || int(got.FragOffset) != int(original.FragOffset)+(size-len(want))/8 {
				rt.Fatalf("piece %d at offset %d has wrong bytes", i, got.FragOffset)
			}
			want = want[len(payload):]
			more := len(want) > 0 || original.Flags&layers.IPv4MoreFragments != 0
			if more != (got.Flags&layers.IPv4MoreFragments != 0) || got.Id != original.Id || got.TTL != original.TTL-1 {
				rt.Fatalf("piece %d: flags %v id %d ttl %d", i, got.Flags, got.Id, got.TTL)
			}
			if len(want) > 0 && len(payload)%8 != 0 {
				rt.Fatalf("piece %d has %d bytes of payload", i, len(payload))
			}
			checkOptions(rt, i, options, got.Options)
		}
		if len(want) != 0 {
			rt.Fatalf("%d bytes missing", len(want))
		}
	})
}

// checkOptions wants all options in the first piece, the copied ones in the others.
func checkOptions(t *rapid.T, piece int, all, got []layers.IPv4Option) {
	count := func(options []layers.IPv4Option, kind uint8) (n int) {
		for _, o := range options {
			if o.OptionType == kind {
				n++
			}
		}
		return n
	}
	if count(got, 0x94) != count(all, 0x94) {
		t.Fatalf("piece %d: options %v of %v", piece, got, all)
	}
	if n := count(got, 7); piece == 0 && n != count(all, 7) || piece > 0 && n != 0 {
		t.Fatalf("piece %d: options %v of %v", piece, got, all)
	}
}

// FF-9: with too few buffers nothing leaves and nothing is lost; with a full
// device the pieces it does not take are freed and counted.
func TestFragmentFailure(t *testing.T) {
	w := newWorld(t)
	w.setMTU(576)
	w.pool.limit = 2 // the packet itself and one piece
	if out := w.send(0, udp4(1400)); len(out[1]) != 0 || w.drops(packet.NoBuffers) != 1 {
		t.Fatalf("%d pieces left, %d counted", len(out[1]), w.drops(packet.NoBuffers))
	}
	w.pool.limit = 4096
	w.tx[1].room = 1
	if out := w.send(0, udp4(1400)); len(out[1]) != 1 || w.drops(packet.TxFull) != 2 {
		t.Fatalf("%d pieces left, %d counted", len(out[1]), w.drops(packet.TxFull))
	}
	if c, _ := w.worker.Counters(); c.FastForwarded != 0 || c.Fragmented != 1 || c.Fragments != 3 {
		t.Errorf("%d fast forwarded, %d fragmented into %d", c.FastForwarded, c.Fragmented, c.Fragments)
	}
}

// FF-9: a packet that becomes more pieces than a burst or the device takes: all of them
// leave, or none behind the first one that the device did not take.
func TestManyFragments(t *testing.T) {
	const size = 9000
	ip := ip4(a4, b4, layers.IPProtocol(253))
	ip.Options = []layers.IPv4Option{{OptionType: 0x94, OptionLength: 40, OptionData: make([]byte, 38)}}
	f := frame(ip, data(size))
	for _, room := range []int{-1, 0, 1, 255, 256, 257, 600, 1124, 1125} {
		w := newWorld(t)
		w.snapshot.Interfaces[ifLAN].Options = OptionsForward
		w.publish()
		w.setMTU(68) // 8 bytes for each piece
		w.tx[1].room = room
		out := w.send(0, f)[1]
		want, whole := (size+7)/8, uint64(1)
		if room >= 0 && room < want {
			want, whole = room, 0
		}
		c, _ := w.worker.Counters()
		if len(out) != want || c.FastForwarded != whole || c.Drops[packet.TxFull] != uint64((size+7)/8-want) || c.Ports[1].TxDropped != c.Drops[packet.TxFull] {
			t.Errorf("room for %d: %d of %d left, %d fast forwarded, %d dropped", room, len(out), want, c.FastForwarded, c.Drops[packet.TxFull])
		}
		for i, piece := range out {
			if got := decode(t, piece).NetworkLayer().(*layers.IPv4); int(got.FragOffset) != i {
				t.Fatalf("room for %d: piece %d has offset %d", room, i, got.FragOffset)
			}
		}
	}
}

// FF-12: what the device does not take was not fast forwarded, and an ICMP error never is.
func TestFastForwardedIsExact(t *testing.T) {
	w := newWorld(t)
	w.tx[1].room, w.tx[0].room = 1, 0
	expired := ip4(a4, b4, layers.IPProtocolUDP)
	expired.TTL = 1
	w.send(0, udp4(1), udp4(1), udp6(1), frame(expired, udp(1, 2), data(1)))
	if c, _ := w.worker.Counters(); c.FastForwarded != 1 || c.Drops[packet.TxFull] != 3 {
		t.Fatalf("%d fast forwarded, %d not taken", c.FastForwarded, c.Drops[packet.TxFull])
	}
	w.tx[0].room = -1
	w.send(0, frame(expired, udp(1, 2), data(1)))
	if c, _ := w.worker.Counters(); c.FastForwarded != 1 || c.Errors != 2 {
		t.Fatalf("%d fast forwarded, %d errors", c.FastForwarded, c.Errors)
	}
}

// FuzzFragment feeds arbitrary option bytes through the header that later
// fragments get: it is never longer than the original, and a valid length.
func FuzzFragment(f *testing.F) {
	f.Add([]byte{0x94, 4, 0, 0})
	f.Add([]byte{1, 1, 7, 3, 4, 0x83, 39})
	f.Add([]byte{0x80, 0, 0, 0})
	f.Fuzz(func(t *testing.T, options []byte) {
		options = options[:min(len(options), 40)&^3]
		header := append(make([]byte, 20), options...)
		var later [maxIPv4Header]byte
		n := copyLaterHeader(&later, header)
		if n < 20 || n > len(header) || n%4 != 0 || int(later[0]&15)*4 != n {
			t.Fatalf("%d bytes of %d, first byte %#x", n, len(header), later[0])
		}
		if _, err := decodeOptions(later[:n]); err != nil && len(options) == 0 {
			t.Fatal(err)
		}
	})
}

func decodeOptions(header []byte) (*layers.IPv4, error) {
	var ip layers.IPv4
	return &ip, ip.DecodeFromBytes(header, gopacket.NilDecodeFeedback)
}

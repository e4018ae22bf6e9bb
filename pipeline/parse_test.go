package pipeline

import (
	"bytes"
	"encoding/binary"
	"testing"

	"ffwd/packet"

	"github.com/gopacket/gopacket/layers"
)

// edit returns a copy of f with bytes replaced at an offset.
func edit(f []byte, at int, b ...byte) []byte {
	f = bytes.Clone(f)
	copy(f[at:], b)
	return f
}

// fixed is edit for an IPv4 header, with its checksum made right again.
func fixed(f []byte, at int, b ...byte) []byte {
	f = edit(f, at, b...)
	h := (*packet.IPv4)(f[14:])
	if n := 14 + h.HeaderLen(); n >= 34 && n <= len(f) {
		h.UpdateChecksum(f[14:n])
	}
	return f
}

// FF-2, FF-3, FF-4, FF-14: every entry check with its own reason.
func TestEntryChecks(t *testing.T) {
	const none = packet.NumReasons // forwarded
	v4, v6 := udp4(100), udp6(100)
	option := ip4(a4, b4, layers.IPProtocolUDP)
	option.Options = []layers.IPv4Option{{OptionType: 7, OptionLength: 7, OptionData: make([]byte, 5)}, {OptionType: 0}}
	hopByHop := append(edit(v6, 14+6, 0)[:54:54], append([]byte{17, 0, 1, 4, 0, 0, 0, 0}, v6[54:]...)...)
	binary.BigEndian.PutUint16(hopByHop[18:], uint16(len(hopByHop)-54))
	for _, tc := range []struct {
		name string
		f    []byte
		want packet.Reason
	}{
		{"good IPv4", v4, none},
		{"good IPv6", v6, none},
		{"empty frame", nil, packet.FrameTooShort},
		{"13 bytes", v4[:13], packet.FrameTooShort},
		{"link header alone", v4[:14], packet.FrameTooShort},
		{"IPv4 header less one", v4[:33], packet.FrameTooShort},
		{"IPv4 header alone", v4[:34], packet.BadTotalLength},
		{"IPv6 header less one", v6[:53], packet.FrameTooShort},
		{"half a VLAN tag", append(edit(v4, 12, 0x81, 0)[:14:14], 0, 7), packet.FrameTooShort},
		{"for another host", edit(v4, 5, 9), packet.NotOurMAC},
		{"broadcast frame", edit(v4, 0, 255, 255, 255, 255, 255, 255), packet.PuntMulticast},
		{"ARP", edit(v4, 12, 8, 6), packet.PuntARP},
		{"LLDP", edit(v4, 12, 0x88, 0xcc), packet.PuntEtherType},
		{"version 5", edit(v4, 14, 0x55), packet.BadVersion},
		{"version 6 in IPv4", edit(v4, 14, 0x65), packet.BadVersion},
		{"version 4 in IPv6", edit(v6, 14, 0x40), packet.BadVersion},
		{"header of 16 bytes", edit(v4, 14, 0x44), packet.BadHeaderLength},
		{"header of 60 bytes in 48", edit(v4, 14, 0x4f)[:62], packet.BadHeaderLength},
		{"total length 19", fixed(v4, 16, 0, 19), packet.BadTotalLength},
		{"total length 20", fixed(v4, 16, 0, 20), none},
		{"total length one too long", fixed(v4, 16, 0, 129), packet.BadTotalLength},
		{"total length 65535", fixed(v4, 16, 255, 255), packet.BadTotalLength},
		{"payload length one too long", edit(v6, 18, 0, 109), packet.BadTotalLength},
		{"payload length 0", edit(v6, 18, 0, 0), none},
		{"checksum off by one", edit(v4, 25, v4[25]+1), packet.BadChecksum},
		{"source 0.1.2.3", fixed(v4, 26, 0, 1, 2, 3), packet.Martian},
		{"source loopback", fixed(v4, 26, 127, 0, 0, 1), packet.Martian},
		{"source multicast", fixed(v4, 26, 224, 0, 0, 1), packet.Martian},
		{"source class E", fixed(v4, 26, 240, 0, 0, 1), packet.Martian},
		{"source broadcast", fixed(v4, 26, 255, 255, 255, 255), packet.Martian},
		{"source 223.255.255.255", fixed(v4, 26, 223, 255, 255, 255), none},
		{"source 126.0.0.1", fixed(v4, 26, 126, 0, 0, 1), none},
		{"destination 0.0.0.0", fixed(v4, 30, 0, 0, 0, 0), packet.Martian},
		{"destination loopback", fixed(v4, 30, 127, 0, 0, 1), packet.Martian},
		{"destination class E", fixed(v4, 30, 240, 0, 0, 1), packet.Martian},
		{"destination multicast", fixed(v4, 30, 224, 0, 0, 5), packet.PuntMulticast},
		{"destination limited broadcast", fixed(v4, 30, 255, 255, 255, 255), packet.PuntMulticast},
		{"DHCP from 0.0.0.0", fixed(v4, 26, 0, 0, 0, 0, 255, 255, 255, 255), packet.PuntMulticast},
		{"options", frame(option, udp(1, 2), data(8)), packet.PuntOptions},
		{"IPv6 from multicast", edit(v6, 22, 0xff, 2), packet.Martian},
		{"IPv6 from ::1", edit(v6, 22, append(make([]byte, 15), 1)...), packet.Martian},
		{"IPv6 from ::", edit(v6, 22, make([]byte, 16)...), packet.Martian},
		{"IPv6 from link-local", edit(v6, 22, 0xfe, 0x80), packet.Martian},
		{"IPv6 to ::1", edit(v6, 38, append(make([]byte, 15), 1)...), packet.Martian},
		{"IPv6 to ::", edit(v6, 38, make([]byte, 16)...), packet.Martian},
		{"IPv6 to multicast", edit(v6, 38, 0xff, 2), packet.PuntMulticast},
		{"IPv6 to link-local", edit(v6, 38, 0xfe, 0x80), packet.PuntLocal},
		{"hop-by-hop options", hopByHop, packet.PuntExtension},
		{"extension cut short", edit(v6[:60], 14+4, 0, 6, 60), packet.PuntExtension},
	} {
		w := newWorld(t)
		out := w.send(0, tc.f)
		if tc.want == none {
			if len(out[1]) != 1 {
				t.Errorf("%s: not forwarded", tc.name)
			}
			continue
		}
		if got := w.drops(tc.want); got != 1 || len(out[1]) != 0 {
			c, _ := w.worker.Counters()
			t.Errorf("%s: not counted as %v: %v", tc.name, tc.want, c.Drops)
		}
	}
}

// FF-2: a NIC's verdict on the checksum is taken.
func TestChecksumByNIC(t *testing.T) {
	bad := edit(udp4(8), 25, 0x55)
	for _, tc := range []struct {
		flags     uint64
		forwarded int
	}{{packet.RxIPCksumGood, 1}, {packet.RxIPCksumBad, 0}, {packet.RxIPCksumMask, 0}, {0, 0}} {
		w := newWorld(t)
		w.rx[0].flags = tc.flags
		if out := w.send(0, bad); len(out[1]) != tc.forwarded {
			t.Errorf("flags %#x: %d forwarded", tc.flags, len(out[1]))
		}
	}
}

// FF-3: options by the port's setting; the checksum covers them.
func TestOptionsPolicy(t *testing.T) {
	ip := ip4(a4, b4, layers.IPProtocolUDP)
	ip.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
	f := frame(ip, udp(1, 2), data(8))
	for _, policy := range []OptionsPolicy{OptionsPunt, OptionsDrop, OptionsForward} {
		w := newWorld(t)
		w.snapshot.Interfaces[ifLAN].Options = policy
		w.publish()
		out := w.send(0, f, edit(f, 36, 9))
		if forwarded := len(out[1]) == 1; forwarded != (policy == OptionsForward) {
			t.Errorf("policy %d: forwarded %v", policy, forwarded)
		}
		if w.drops(packet.BadChecksum) != 1 {
			t.Errorf("policy %d: a broken option passed", policy)
		}
	}
}

// FF-2: a promiscuous port takes frames for any address.
func TestPromiscuous(t *testing.T) {
	w := newWorld(t)
	w.snapshot.Interfaces[ifLAN].Promiscuous = true
	w.publish()
	if out := w.send(0, edit(udp4(1), 5, 9)); len(out[1]) != 1 {
		t.Fatal("not taken")
	}
}

// Extension headers that the fast path walks over. Source: RFC 8200 section 4.
func TestExtensionChains(t *testing.T) {
	chain := func(first byte, headers ...[]byte) []byte {
		v6 := udp6(24)
		f := bytes.Clone(v6[:54])
		f[20] = first
		for _, h := range headers {
			f = append(f, h...)
		}
		f = append(f, v6[54:]...)
		binary.BigEndian.PutUint16(f[18:], uint16(len(f)-54))
		return f
	}
	dst := func(next byte) []byte { return []byte{next, 0, 1, 4, 0, 0, 0, 0} }
	for _, tc := range []struct {
		name string
		f    []byte
		flow bool
	}{
		{"destination options", chain(60, dst(17)), true},
		{"authentication", chain(51, []byte{17, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}), true},
		{"atomic fragment", chain(44, []byte{17, 0, 0, 0, 0, 0, 0, 9}), true},
		{"first fragment", chain(44, []byte{17, 0, 0, 1, 0, 0, 0, 9}), true},
		{"unknown protocol", chain(253), true},
	} {
		w := newWorld(t)
		if out := w.send(0, tc.f); len(out[1]) != 1 {
			t.Errorf("%s: not forwarded", tc.name)
		}
		if got := w.worker.Table().Flows6 == 1; got != tc.flow {
			t.Errorf("%s: a flow: %v", tc.name, got)
		}
	}
	w := newWorld(t)
	long := make([][]byte, 9)
	for i := range long {
		long[i] = dst(60)
	}
	if w.send(0, chain(60, long...)); w.drops(packet.PuntExtension) != 1 {
		t.Error("an endless chain was followed")
	}
}

// FuzzParse throws arbitrary bytes at the whole pipeline: whatever they are,
// they are forwarded, answered or counted, and every mbuf comes back.
func FuzzParse(f *testing.F) {
	f.Add(udp4(20), uint64(0))
	f.Add(udp6(20), uint64(packet.RxVLANStripped))
	f.Add(frame(ip4(a4, b4, layers.IPProtocolTCP), &layers.TCP{SYN: true}), uint64(packet.RxIPCksumGood))
	f.Add(edit(udp4(600), 14, 0x4f), uint64(packet.RxIPCksumGood))
	f.Add(edit(udp6(600), 20, 60), uint64(0))
	w := newWorld(f)
	w.snapshot.Interfaces[ifLAN].Options = OptionsForward
	w.snapshot.Interfaces[ifLAN].Promiscuous = true
	w.setMTU(576)
	w.publish()
	f.Fuzz(func(t *testing.T, in []byte, flags uint64) {
		if len(in) > bufferBytes-2*headroom {
			return
		}
		w.t, w.pool.t = t, t
		w.rx[0].flags = flags
		for _, out := range w.send(0, in) {
			for _, frame := range out {
				if len(frame) < 14+20 {
					t.Fatalf("a frame of %d bytes left", len(frame))
				}
			}
		}
		w.checkConservation()
	})
}

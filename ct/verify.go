package ct

import "ffwd/packet"

// unverified are the flags of packets that Verify leaves alone.
const unverified = packet.IsFragment | packet.LaterFragment | packet.Broken

// Verify marks the packets of the burst whose L4 checksum is wrong: they get no key, and
// Lookup calls them invalid. It is what Linux's nf_conntrack_checksum does.
//
// What the device has found right is believed, of TCP and UDP alone: some drivers say so
// of all that the device has not looked at. What it has found wrong is looked at again,
// because some devices say so of UDP without a checksum. Fragments are not verified: no
// one of them has all that the checksum covers. Any worker may call it. Source: CT-2.
func Verify(b *packet.Burst) {
	pkts := b.Live()
	for i := range pkts {
		p := &pkts[i]
		if p.Verdict != packet.Continue || p.Flags&unverified != 0 ||
			p.Mbuf.OlFlags&packet.RxL4CksumMask == packet.RxL4CksumGood && (p.Proto == packet.ProtoTCP || p.Proto == packet.ProtoUDP) {
			continue
		}
		if !p.TransportOK() {
			p.Flags |= packet.Broken
		}
	}
}

package ct

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"testing"
	"time"

	"ffwd/packet"
)

// sealed is an IP packet with a message whose checksum, at offset at, is right. It is
// computed word by word, as the RFCs tell it.
func sealed(src, dst netip.Addr, proto uint8, message []byte, at int) []byte {
	message = append([]byte(nil), message...)
	of := tuple{src, dst, 0, 0, proto}
	ip := ipv6Packet(of, message)
	if src.Is4() {
		ip = ipPacket(of, message)
	}
	l4 := ip[len(ip)-len(message):]
	if proto == packet.ProtoSCTP {
		binary.LittleEndian.PutUint32(l4[at:], crc32.Checksum(l4, crc32.MakeTable(crc32.Castagnoli)))
		return ip
	}
	var covered []byte
	if proto != packet.ProtoICMP {
		covered = append(append(src.AsSlice(), dst.AsSlice()...), 0, proto, byte(len(l4)>>8), byte(len(l4)))
	}
	covered = append(covered, l4...)
	if len(covered)%2 != 0 {
		covered = append(covered, 0)
	}
	sum := uint32(0)
	for i := 0; i < len(covered); i += 2 {
		sum += uint32(covered[i])<<8 | uint32(covered[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	if sum = ^sum & 0xffff; sum == 0 && proto == packet.ProtoUDP {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(l4[at:], uint16(sum))
	return ip
}

// CT-2: with checksums verified, what Linux with nf_conntrack_checksum makes of a message of which any
// octet is broken we make of it too, in both families: no state for it unless the checksum allows.
func TestChecksumsAgainstTheKernel(t *testing.T) {
	k := newKernelRouter(t)
	k.tellStates(t)
	k.run(func() {
		if _, err := command("sysctl", "-qw", "net.netfilter.nf_conntrack_checksum=1"); err != nil {
			t.Error(err)
		}
	})
	o := &ours{newTable(t, 4096, 4096), time.Now()}
	o.table.settings.Checksum = true
	udp := append([]byte{0x10, 0, 0, 53, 0, 29, 0, 0}, []byte("twenty-one odd octets")...)
	noSum := append([]byte{0x11, 0, 0, 53, 0, 29, 0, 0}, udp[8:]...)
	syn := append(tcpBytes(seg{flags: fS, seq: firstSeq, win: 1000}), "odd"...)
	copy(syn, []byte{0x12, 0, 0, 80})
	init := append(make([]byte, sctpHeaderLen), chunkBytes(chunkInit, 0, 0, 0, 0, 9, 0, 0, 255, 255, 0, 1, 0, 1, 0, 0, 0, 0)...)
	copy(init, []byte{0x13, 0, 0x26, 0xab})
	const none = -1
	tried := map[packet.CtState]int{}
	for _, c := range []struct {
		name     string
		src, dst netip.Addr
		proto    uint8
		message  []byte
		sum      int // its offset, or none
	}{
		{"udp", kernelClient, kernelServer, packet.ProtoUDP, udp, 6},
		{"udp without", kernelClient, kernelServer, packet.ProtoUDP, noSum, none},
		{"tcp", kernelClient, kernelServer, packet.ProtoTCP, syn, 16},
		{"icmp", kernelClient, kernelServer, packet.ProtoICMP, append([]byte{8, 0, 0, 0, 9, 9, 0, 1}, "odd"...), 2},
		{"icmp of no kind", kernelClient, kernelServer, packet.ProtoICMP, []byte{42, 0, 0, 0, 9, 9, 0, 1}, 2},
		{"sctp", kernelClient, kernelServer, packet.ProtoSCTP, init, 8},
		{"gre", kernelClient, kernelServer, packet.ProtoGRE, []byte{0, 0, 8, 0, 1, 2, 3, 4}, none},
		{"udp6", kernelClient6, kernelServer6, packet.ProtoUDP, udp, 6},
		{"udp6 without", kernelClient6, kernelServer6, packet.ProtoUDP, noSum, none},
		{"tcp6", kernelClient6, kernelServer6, packet.ProtoTCP, syn, 16},
		{"icmp6", kernelClient6, kernelServer6, packet.ProtoICMPv6, append([]byte{128, 0, 0, 0, 9, 9, 0, 1}, "odd"...), 2},
		{"icmp6 discovery", kernelClient6, kernelServer6, packet.ProtoICMPv6, append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, kernelServer6.AsSlice()...), 2},
		{"sctp6", kernelClient6, kernelServer6, packet.ProtoSCTP, init, 8},
	} {
		ip := ipv6Packet(tuple{c.src, c.dst, 0, 0, c.proto}, c.message)
		if c.src.Is4() {
			ip = ipPacket(tuple{c.src, c.dst, 0, 0, c.proto}, c.message)
		}
		if c.sum != none {
			ip = sealed(c.src, c.dst, c.proto, c.message, c.sum)
		}
		compare := func(what string, ip []byte) packet.CtState {
			theirs, mine := k.judge(t, Original, ip), o.lookup(ip, false)
			if tried[mine]++; theirs != mine {
				t.Errorf("%s, %s: Linux %v, we %v: %x", c.name, what, theirs, mine, ip)
			}
			return mine
		}
		if whole := compare("whole", ip); whole == packet.CtNew {
			o.lookup(ip, true)
		} else if c.name != "icmp of no kind" && c.name != "icmp6 discovery" {
			t.Errorf("%s is %v", c.name, whole)
		}
		for at := len(ip) - len(c.message); at < len(ip); at++ {
			if c.proto == packet.ProtoGRE && at == len(ip)-len(c.message)+1 {
				continue // its version, see TestErrorsAgainstTheKernel
			}
			for _, flip := range []byte{1, 0x80, 0xff} {
				broken := append([]byte(nil), ip...)
				broken[at] ^= flip
				compare("octet broken", broken)
			}
		}
	}
	t.Log(tried)
	if tried[packet.CtNew] < 20 || tried[packet.CtInvalid] < 500 || tried[packet.CtUntracked] < 1 {
		t.Error("hardly anything was compared")
	}
}

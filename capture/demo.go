package capture

import (
	"io"
	"math/rand/v2"
	"net/netip"

	"ffwd/packet"
)

// The networks of Demo. Both directions of every conversation come in on one port,
// addressed to DefaultDstMAC, so a switch that shows the demo needs routes to all of
// them. VLAN frames carry DemoVLAN and belong to DemoVLANNet.
var (
	DemoClients4 = netip.MustParsePrefix("192.0.2.0/24")
	DemoServers4 = netip.MustParsePrefix("198.51.100.0/24")
	DemoClients6 = netip.MustParsePrefix("2001:db8:1::/64")
	DemoServers6 = netip.MustParsePrefix("2001:db8:2::/64")
	DemoVLANNet  = netip.MustParsePrefix("203.0.113.0/24")
)

// DemoVLAN is the VID of the tagged frames of Demo.
const DemoVLAN = 100

const demoConversations = 12 // of each sort

// Demo writes a few hundred packets of everyday traffic: TCP connections from
// handshake to close, DNS questions and answers, pings, over IPv4, IPv6 and a VLAN,
// ARP requests, traceroute probes, and a few malformed frames. Conversations
// overlap; the packets of each keep their order.
func Demo(w io.Writer, seed uint64) (Summary, error) {
	d := demo{random: rand.New(rand.NewPCG(seed, demoStream))}
	for i := range demoConversations {
		n := uint32(10 + i)
		for _, net := range []struct {
			client, server netip.Prefix
			vlan           int
		}{
			{DemoClients4, DemoServers4, 0},
			{DemoClients6, DemoServers6, 0},
			{DemoVLANNet, DemoServers4, DemoVLAN},
		} {
			client, server := hostOf(net.client, n), hostOf(net.server, 1+n%5)
			d.tcp(client, server, net.vlan)
			d.dns(client, server, net.vlan)
			d.ping(client, server, net.vlan)
		}
		d.conversation([][]byte{appendARP(nil, DefaultSrcMAC, hostOf(DemoClients4, n).As4(), hostOf(DemoClients4, 1).As4())})
	}
	d.traceroute(hostOf(DemoClients4, 77), hostOf(DemoServers4, 1))
	sum := Summary{Malformed: map[Kind]int{}, Flows: d.flows}
	for _, k := range []Kind{"ipv4_checksum", "ipv4_src_loopback", "ipv4_length_beyond_frame", "ipv4_option_router_alert"} {
		sum.Malformed[k]++
		d.conversation([][]byte{appendMalformed(nil, k, d.random, DefaultSrcMAC, DefaultDstMAC)})
	}
	out := newPcapWriter(w)
	for _, frame := range d.interleave() {
		sum.Bytes += len(frame)
		out.frame(frame)
	}
	sum.Packets = out.frames
	return sum, out.flush()
}

// hostOf returns the nth address of a network with at least 8 host bits.
func hostOf(net netip.Prefix, n uint32) netip.Addr {
	b := net.Addr().AsSlice()
	b[len(b)-1] = byte(n)
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// demo collects conversations, each a list of frames.
type demo struct {
	random        *rand.Rand
	conversations [][][]byte
	flows         int
}

func (d *demo) conversation(frames [][]byte) { d.conversations = append(d.conversations, frames) }

// interleave merges the conversations at random, a busy stretch of few at a time.
func (d *demo) interleave() (all [][]byte) {
	waiting := d.conversations
	d.random.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
	const atOnce = 8
	for len(waiting) > 0 {
		i := d.random.IntN(min(atOnce, len(waiting)))
		all = append(all, waiting[i][0])
		if waiting[i] = waiting[i][1:]; len(waiting[i]) == 0 {
			waiting = append(waiting[:i], waiting[i+1:]...)
		}
	}
	return all
}

func (d *demo) frame(t Tuple, vlan, payload int, change func(*datagram)) []byte {
	g := datagram{Tuple: t, srcMAC: DefaultSrcMAC, dstMAC: DefaultDstMAC, vlan: vlan, id: uint16(d.random.Uint32()), payload: make([]byte, payload)}
	for i := range g.payload {
		g.payload[i] = byte('a' + i%26)
	}
	change(&g)
	b := g.appendTo(nil)
	return append(b, make([]byte, max(0, packet.MinFrameData-len(b)))...)
}

// tcp is a connection: handshake, a request, an answer of some segments, close.
func (d *demo) tcp(client, server netip.Addr, vlan int) {
	there := Tuple{packet.ProtoTCP, netip.AddrPortFrom(client, d.port()), netip.AddrPortFrom(server, 8080)}
	back := there.Reversed()
	clientSeq, serverSeq := d.random.Uint32(), d.random.Uint32()
	var frames [][]byte
	send := func(t Tuple, own, other *uint32, flags uint8, payload int) {
		frames = append(frames, d.frame(t, vlan, payload, func(g *datagram) {
			g.tcpFlags, g.seq = flags, *own
			if flags&packet.TCPAck != 0 {
				g.ack = *other
			}
		}))
		*own += uint32(payload)
		if flags&(packet.TCPSyn|packet.TCPFin) != 0 {
			*own++ // both take a sequence number. Source: RFC 9293 3.4
		}
	}
	const ack, data = packet.TCPAck, packet.TCPAck | tcpPsh
	send(there, &clientSeq, &serverSeq, packet.TCPSyn, 0)
	send(back, &serverSeq, &clientSeq, packet.TCPSyn|ack, 0)
	send(there, &clientSeq, &serverSeq, ack, 0)
	send(there, &clientSeq, &serverSeq, data, 200+d.random.IntN(300))
	for range 1 + d.random.IntN(3) {
		send(back, &serverSeq, &clientSeq, data, 1000+d.random.IntN(400))
		send(there, &clientSeq, &serverSeq, ack, 0)
	}
	send(there, &clientSeq, &serverSeq, packet.TCPFin|ack, 0)
	send(back, &serverSeq, &clientSeq, packet.TCPFin|ack, 0)
	send(there, &clientSeq, &serverSeq, ack, 0)
	d.flows++
	d.conversation(frames)
}

// dns is a question for an address and its answer.
func (d *demo) dns(client, server netip.Addr, vlan int) {
	t := Tuple{packet.ProtoUDP, netip.AddrPortFrom(client, d.port()), netip.AddrPortFrom(server, 53)}
	// Header and question, with recursion desired. Source: RFC 1035 4.1.
	const name = "\x03www\x07example\x03net\x00"
	question := func(flags uint16, answers byte, id uint16) []byte {
		b := []byte{byte(id >> 8), byte(id), byte(flags >> 8), byte(flags), 0, 1, 0, answers, 0, 0, 0, 0}
		return append(append(b, name...), 0, 1, 0, 1)
	}
	id := uint16(d.random.Uint32())
	ask := func(g *datagram) { g.payload = question(0x0100, 0, id) }
	answer := func(g *datagram) {
		address := hostOf(DemoServers4, 7).As4()
		record := append([]byte{0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4}, address[:]...)
		g.payload = append(question(0x8180, 1, id), record...)
	}
	d.flows++
	d.conversation([][]byte{d.frame(t, vlan, 0, ask), d.frame(t.Reversed(), vlan, 0, answer)})
}

// ping is three echo requests with their replies.
func (d *demo) ping(client, server netip.Addr, vlan int) {
	protocol, request, reply := uint8(packet.ProtoICMP), uint8(packet.ICMPEchoRequest), uint8(packet.ICMPEchoReply)
	if client.Is6() {
		protocol, request, reply = packet.ProtoICMPv6, packet.ICMPv6EchoRequest, packet.ICMPv6EchoReply
	}
	id := d.port()
	t := Tuple{protocol, netip.AddrPortFrom(client, id), netip.AddrPortFrom(server, id)}
	var frames [][]byte
	for seq := range uint16(3) {
		frames = append(frames,
			d.frame(t, vlan, 56, func(g *datagram) { g.icmpType, g.id = request, seq }),
			d.frame(t.Reversed(), vlan, 56, func(g *datagram) { g.icmpType, g.id = reply, seq }))
	}
	d.flows++
	d.conversation(frames)
}

// traceroute is probes with a TTL that does not get them past the switch, and one
// with a TTL that does.
func (d *demo) traceroute(client, server netip.Addr) {
	var frames [][]byte
	t := Tuple{packet.ProtoUDP, netip.AddrPortFrom(client, d.port()), netip.AddrPortFrom(server, 33434)}
	for _, ttl := range []uint8{1, 1, 1, 2} {
		frames = append(frames, d.frame(t, 0, 32, func(g *datagram) { g.ttl = ttl }))
	}
	d.flows++
	d.conversation(frames)
}

func (d *demo) port() uint16 { return uint16(32768 + d.random.IntN(28000)) }

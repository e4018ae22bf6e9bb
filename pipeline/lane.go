package pipeline

import (
	"encoding/binary"

	"ffwd/fib"
	"ffwd/packet"
)

// lane takes a run of packets, all of one family and untagged, from the route lookup to
// the device's queue: way, check, depart. What it knows of them are their heads and a few arrays;
// no packet.Packet is touched.
//
// It makes the checks that Route, TTL, MTU and Rewrite make, before it writes anything,
// and ends at the first packet that one of them would keep or that has a choice of ways:
// this one and all behind it take the stages. So packets leave in the order they came.
//
// It belongs to the stages that find such runs, Express and Depart, and like them to one
// worker. Source: FF-1, FF-5, FF-7, FF-9, FF-12, FF-14.
type lane struct {
	*Worker
	at, n int        // the packets of the run that leave next: from at on, up to n
	ipv6  bool       // their family
	run   packet.Run // behind Depart, of Heads only Data
	to    [packet.MaxBurst]fib.AdjacencyIndex

	oneHop, oneWay bool // they have one next hop; leave by one interface
}

// open tells whether packets may leave by the lane: nothing that stands between Route and
// Confirm asks for more than it does, and there is one routing table.
func (s *Snapshot) open() bool { return s.mayShorten() && len(s.Tables) == 1 }

// direct is open where somebody asks the rules at hook out.
func (s *Snapshot) direct() bool { return s.forwards() && len(s.Tables) == 1 }

// way finds the next hops of the run.
func (l *lane) way() {
	table := l.snap.Tables[0]
	if l.ipv6 {
		table.ResolveBatch6(l.run.Dst6[:l.n], l.to[:])
	} else {
		table.ResolveBatch4(l.run.Dst4[:l.n], l.to[:])
	}
}

// check ends the run, whose hop limits are above 1, before the first packet that is not just
// forwarded.
func (l *lane) check() {
	n, oneHop, oneWay := l.snap.Tables[0].Straight(l.to[l.at:l.n], l.run.Size[l.at:l.n])
	l.n, l.oneHop, l.oneWay = l.at+n, oneHop, oneWay
}

// depart sends off the run, whose frames are in mbufs.
func (l *lane) depart(mbufs []*packet.Mbuf) {
	if len(mbufs) == 0 {
		return
	}
	lines, to := l.snap.Tables[0].Lines(), l.to[l.at:l.n]
	first, bytes := &lines[to[0]], l.rewrite(mbufs, lines)
	if l.oneHop {
		l.counts[0].Add(first, uint64(len(mbufs)), bytes)
	} else {
		l.counts[0].AddBurst(lines, to, l.run.Size[l.at:l.n])
	}
	if l.counter.FastForwarded += uint64(len(mbufs)); l.oneWay {
		l.queueAll(mbufs, first.Iface, bytes+uint64(len(mbufs)*packet.EthernetLen))
		return
	}
	for i, m := range mbufs {
		l.queue(l.snap.Interfaces[lines[to[i]].Iface].Port, m, 0)
	}
}

// rewritePlain is rewrite in Go.
func (l *lane) rewritePlain(mbufs []*packet.Mbuf, lines []fib.Adjacency) (bytes uint64) {
	le, ipv6 := binary.LittleEndian, l.ipv6
	sizes, heads, to := l.run.Size[l.at:][:len(mbufs)], l.run.Heads[l.at:][:len(mbufs)], l.to[l.at:][:len(mbufs)]
	for i, m := range mbufs {
		a, f := &lines[to[i]], (*packet.PlainFrame4)(heads[i].Data)
		if ipv6 {
			f[packet.EthernetLen+7]--
		} else {
			(*packet.IPv4)(f[packet.EthernetLen:]).DecrementTTL()
		}
		le.PutUint64(f[0:], le.Uint64(a.L2[0:]))
		le.PutUint32(f[8:], le.Uint32(a.L2[8:]))
		seal(m, packet.EthernetLen+sizes[i])
		bytes += uint64(sizes[i])
	}
	return bytes
}

// queueAll queues frames, of bytes altogether, that leave by one interface.
func (l *lane) queueAll(mbufs []*packet.Mbuf, egress uint16, bytes uint64) {
	port := l.snap.Interfaces[egress].Port
	t := &l.tx[port]
	if t.n+len(mbufs) > len(t.mbufs) {
		l.send(port)
	}
	t.bytes += bytes
	copy(t.mbufs[t.n:], mbufs)
	if t.n += len(mbufs); t.n == len(t.mbufs) {
		l.send(port)
	}
}

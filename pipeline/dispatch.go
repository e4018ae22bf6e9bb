package pipeline

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"ffwd/ct"
	"ffwd/packet"
)

// Dispatch tells which worker a frame from the slow path is for: the one that
// owns its flow, so that both directions meet one table. Any goroutine may ask.
// Source: CT-1.
type Dispatch struct {
	Snapshot *atomic.Pointer[Snapshot]
	Secret   *ct.Secret
	Workers  int
	Spread   func(fold uint16) int // see Config.Spread

	singles sync.Pool // of *single

	mu   sync.Mutex // guards sent
	sent map[uint16]*ct.Latest
}

// single is a burst of one packet, that it takes to compute a tuple.
type single struct {
	burst packet.Burst
	mbuf  packet.Mbuf // says nothing of checksums
	parse Parse
}

// Owner returns the worker. A frame without a flow goes to the first.
func (d *Dispatch) Owner(iface uint16, frame []byte) int {
	if d.Workers < 2 || len(frame) < packet.EthernetLen {
		return 0
	}
	s, _ := d.singles.Get().(*single)
	if s == nil {
		s = new(single)
	}
	defer d.singles.Put(s)
	snap := d.Snapshot.Load()
	b := &s.burst
	b.N = 1
	p := &b.Pkts[0]
	*p = packet.Packet{
		Head: packet.Head{Data: unsafe.Pointer(unsafe.SliceData(frame)), Len: uint16(len(frame)), L3: packet.EthernetLen},
		Mbuf: &s.mbuf, Ingress: iface,
	}
	s.parse.network(p, &snap.Interfaces[iface])
	if p.Verdict != packet.Continue {
		return 0
	}
	switch {
	case !p.Is(packet.IsFragment):
		d.Secret.Tuples(b, snap.Zones)
	case p.Is(packet.LaterFragment):
		d.follow(p)
	default:
		d.Secret.FirstKey(p, snap.Zones[iface])
		d.follow(p)
	}
	switch {
	case p.Key1 == 0:
		return 0
	case d.Spread != nil:
		return d.Spread(ct.FlowFold(p))
	}
	return ct.Owner(p.Hash, d.Workers)
}

// follow leads the fragments of a datagram where its first one goes.
func (d *Dispatch) follow(p *packet.Packet) {
	d.mu.Lock()
	defer d.mu.Unlock()
	latest := d.sent[p.Ingress]
	if latest == nil {
		if d.sent == nil {
			d.sent = map[uint16]*ct.Latest{}
		}
		latest = new(ct.Latest)
		d.sent[p.Ingress] = latest
	}
	latest.Follow(p)
}

package queue

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"ffwd/epoch"
	"ffwd/packet"
	"ffwd/queue/client"
)

// bench is a switch of these tests: workers that have no pipeline, a server, and an
// epoch. The test's goroutine is every worker's thread.
type bed struct {
	t       testing.TB
	set     *Set
	server  *Server
	workers []*Worker
	members []*epoch.Member
	epoch   *epoch.Domain
	path    string
	nowNs   int64
	out     map[*packet.Mbuf]bool // mbufs that are in a queue
	free    []*packet.Mbuf
	salt    uint64
}

func plain(number uint16) Options {
	return Options{Number: number, MaxPackets: 64, MaxBytes: 1 << 16, Timeout: time.Hour, Stall: time.Hour}
}

func newBed(t testing.TB, workers int, options ...Options) *bed {
	t.Helper()
	set, err := NewSet(options, workers)
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, set: set, epoch: &epoch.Domain{}, path: filepath.Join(t.TempDir(), "q"), nowNs: 1_000_000_000, out: map[*packet.Mbuf]bool{}}
	for i := range workers {
		b.workers = append(b.workers, set.NewWorker(i, [2]uint64{1, 2}))
		b.members = append(b.members, b.epoch.Join())
		b.members[i].Online()
	}
	socket, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: b.path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	b.server = Serve(set, socket, b.epoch, slog.New(slog.NewTextHandler(io.Discard, nil)))
	t.Cleanup(b.close)
	return b
}

// close checks that nothing was lost: every packet came back, and the figures add up.
func (b *bed) close() {
	b.server.Close()
	for _, w := range b.workers {
		w.Drain()
		for w.Held() > 0 {
			b.release(w, packet.MaxBurst)
		}
	}
	if len(b.out) != 0 {
		b.t.Errorf("%d mbufs did not come back", len(b.out))
	}
	for i, q := range b.set.queues {
		s := b.stats(i)
		sum := uint64(s.Packets)
		for o, n := range s.Outcomes {
			if packet.QueueOutcome(o) != packet.OutcomeReevaluated {
				sum += n
			}
		}
		if s.Offered != sum || s.Packets != 0 || s.Bytes != 0 {
			b.t.Errorf("queue %d: %d packets offered, %d accounted for; %d with %d bytes wait: %v", q.Number, s.Offered, sum, s.Packets, s.Bytes, s.Outcomes)
		}
	}
	for _, m := range b.members {
		m.Offline()
	}
	for waiting := 1; waiting > 0; {
		_, waiting = b.epoch.Reclaim()
	}
}

func (b *bed) stats(queue int) (sum Stats) {
	for _, w := range b.workers {
		var s Stats
		w.Stats(queue, &s)
		sum.Add(&s)
	}
	return sum
}

const bufferBytes = 2048

// packet makes an IPv4 packet of a flow with so many bytes, the last two of which are a
// number.
func (b *bed) packet(flow, number, size int) packet.Packet {
	var m *packet.Mbuf
	if n := len(b.free); n > 0 {
		m, b.free = b.free[n-1], b.free[:n-1]
	} else {
		m = &packet.Mbuf{BufAddr: unsafe.Pointer(&make([]byte, bufferBytes)[0]), BufLen: bufferBytes}
	}
	m.DataOff, m.NbSegs = 128, 1
	m.DataLen, m.PktLen = uint16(14+size), uint32(14+size)
	p := packet.Packet{Mbuf: m, DataOff: 128, Ingress: 1, Egress: 2, Head: packet.Head{Data: m.Data(), L3: 14, L4: 20, Len: uint16(14 + size), State: packet.CtNew}}
	if flow > 0 {
		p.Key0, p.Key1, p.Hash = uint64(flow), uint64(flow), uint64(flow)*0x9e3779b97f4a7c15
	}
	n := p.Network()
	clear(n)
	n[0] = 0x45
	binary.BigEndian.PutUint32(n[12:], uint32(flow))
	binary.BigEndian.PutUint16(n[size-2:], uint16(number))
	return p
}

func number(data []byte) int { return int(binary.BigEndian.Uint16(data[len(data)-2:])) }

// push offers a packet to a queue, and keeps book of its mbuf.
func (b *bed) push(w *Worker, p packet.Packet, q packet.Queueing) packet.Verdict {
	b.t.Helper()
	v := w.Push(&p, q, b.nowNs)
	if v == packet.Held {
		if b.out[p.Mbuf] {
			b.t.Fatal("an mbuf with two owners")
		}
		b.out[p.Mbuf] = true
	} else {
		b.free = append(b.free, p.Mbuf)
	}
	return v
}

// release takes what comes back, counting as the pipeline would.
func (b *bed) release(w *Worker, most int) []packet.Released {
	b.t.Helper()
	dst := make([]packet.Released, most)
	dst = dst[:w.Release(dst, b.nowNs)]
	for _, r := range dst {
		if !b.out[r.Mbuf] {
			b.t.Fatal("a packet came back that was not in the queue")
		}
		delete(b.out, r.Mbuf)
		b.free = append(b.free, r.Mbuf)
		if r.Cause != packet.CauseVerdict {
			continue
		}
		switch r.Decision {
		case packet.QueueDrop:
			w.Count(r.Queue, packet.OutcomeDropped)
		case packet.QueueTake:
			w.Count(r.Queue, packet.OutcomeTaken)
		default:
			w.Count(r.Queue, packet.OutcomeConfirmed)
		}
	}
	return dst
}

// poll is one turn of every worker's loop.
func (b *bed) poll() (all []packet.Released) {
	b.t.Helper()
	for i, w := range b.workers {
		all = append(all, b.release(w, packet.MaxBurst)...)
		w.Flush(b.nowNs)
		b.members[i].Quiescent()
	}
	b.epoch.Reclaim()
	return all
}

// until polls until a condition holds, and returns what came back meanwhile.
func (b *bed) until(what string, done func() bool) (all []packet.Released) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Microsecond) {
		all = append(all, b.poll()...)
		if done() {
			return all
		}
		if time.Now().After(end) {
			b.t.Fatalf("waited for %s in vain", what)
		}
	}
}

// listen opens a listener, and returns when the workers know of it.
func (b *bed) listen(queue uint16, options ...client.Option) *client.Listener {
	b.t.Helper()
	var l *client.Listener
	b.until("the queue to be free", func() bool {
		var err error
		l, err = client.Open(context.Background(), b.path, queue, options...)
		var refused *client.Refused
		if err != nil && !errors.As(err, &refused) {
			b.t.Fatal(err)
		}
		return err == nil
	})
	b.t.Cleanup(func() { l.Close() })
	b.until("the binding", b.set.Lookup(queue).Listening)
	b.poll()
	return l
}

// receive returns the packets that are there for a listener.
func (b *bed) receive(l *client.Listener, n int) []client.Packet {
	b.t.Helper()
	var all []client.Packet
	for len(all) < n {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		packets := make([]client.Packet, n-len(all))
		got, err := l.Receive(ctx, packets)
		cancel()
		if err != nil {
			b.t.Fatalf("receive: %v after %d of %d packets", err, len(all), n)
		}
		all = append(all, packets[:got]...)
	}
	return all
}

func (b *bed) decide(l *client.Listener, p *client.Packet, v client.Verdict) {
	b.t.Helper()
	if err := l.Decide(p, v); err != nil {
		b.t.Fatal(err)
	}
}

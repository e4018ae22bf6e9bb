package ct

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"ffwd/packet"
)

// chunkBytes is one chunk on the wire.
func chunkBytes(kind, flags uint8, value ...byte) []byte {
	b := append([]byte{kind, flags, 0, uint8(4 + len(value))}, value...)
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

// sctpPeers draws packets of one association, most of them plausible.
type sctpPeers struct {
	rng  *rand.Rand
	port uint16
	tag  [2]uint32 // that each side asked for
	log  []string
	dead bool
}

func (s *sctpPeers) draw(step int) (dir int, l4 []byte) {
	kinds := []uint8{chunkInit, chunkInitAck, chunkCookieEcho, chunkCookieAck}
	var kind uint8
	if step < len(kinds) && s.rng.IntN(12) > 0 {
		dir, kind = step%2, kinds[step]
	} else {
		dir = s.rng.IntN(2)
		kind = pick(s.rng, uint8(0), 3, chunkHeartbeat, chunkHeartbeatAck, chunkAbort, chunkShutdown, chunkShutdown,
			chunkShutdownAck, chunkShutdownAck, chunkError, chunkCookieEcho, chunkCookieAck, chunkShutdownComplete)
	}
	tag, flags := s.tag[1-dir], uint8(0)
	var value []byte
	switch kind {
	case chunkInit:
		tag = 0
		fallthrough
	case chunkInitAck:
		value = make([]byte, 16)
		binary.BigEndian.PutUint32(value, s.tag[dir])
		value[8], value[10] = 255, 1
	}
	if step > 0 && s.rng.IntN(12) == 0 && kind != chunkShutdownAck && kind != chunkHeartbeat && kind != chunkHeartbeatAck { // the kernel lets those through with any tag
		tag ^= 1 << 9
	}
	l4 = append(make([]byte, sctpHeaderLen), chunkBytes(kind, flags, value...)...)
	binary.BigEndian.PutUint32(l4[4:], tag)
	s.log = append(s.log, fmt.Sprintf("%s chunk %d tag %x", [2]string{">", "<"}[dir], kind, tag))
	return dir, l4
}

// CT-4: SCTP associations, packet by packet, as the kernel sees them.
func TestSCTPAgainstTheKernel(t *testing.T) {
	const scripts, steps = 300, 10
	k := newKernelRouter(t)
	o := &ours{newTable(t, 4096, 0), time.Now()}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var all []*sctpPeers
	for i := range scripts {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		all = append(all, &sctpPeers{rng: rng, port: uint16(3000 + i), tag: [2]uint32{rng.Uint32() | 1, rng.Uint32() | 1}})
	}
	for step := range steps {
		for _, s := range all {
			if s.dead {
				continue
			}
			dir, l4 := s.draw(step)
			p := playToBoth(t, k, o, tuple{kernelClient, kernelServer, s.port, 9899, packet.ProtoSCTP}, dir, l4)
			// Ours begins with INIT or HEARTBEAT; the kernel takes others for closed
			// associations.
			s.dead = step == 0 && p.State != packet.CtNew || step == 0 && dir == Reply
		}
		theirs, mine := k.list(t, "sctp"), o.list()
		for _, s := range all {
			a, b := theirs[int(s.port)], mine[int(s.port)]
			near := a.expires-b.expires <= 2 && b.expires-a.expires <= 2
			a.expires, b.expires = 0, 0
			if s.dead || a == b && near {
				continue
			}
			s.dead = true
			t.Errorf("kernel %+v, ours %+v, near %v, after\n\t%s", theirs[int(s.port)], mine[int(s.port)], near, strings.Join(s.log, "\n\t"))
		}
	}
}

// CT-4: UDP flows live as long as the kernel's, unreplied, answered and as streams.
func TestUDPAgainstTheKernel(t *testing.T) {
	k := newKernelRouter(t)
	o := &ours{newTable(t, 4096, 0), time.Now()}
	of := tuple{kernelClient, kernelServer, 4000, 53, packet.ProtoUDP}
	for step, dir := range []int{0, 0, 1, 0, 1, 0, 1} {
		if step == 4 { // a stream is one that lasts longer than two seconds
			for time.Since(o.start) < 2200*time.Millisecond {
				time.Sleep(10 * time.Millisecond)
			}
		}
		one := of
		if dir == Reply {
			one = of.reversed()
		}
		l4 := make([]byte, 28)
		binary.BigEndian.PutUint16(l4, one.sport)
		binary.BigEndian.PutUint16(l4[2:], one.dport)
		binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
		ip := ipPacket(one, l4)
		k.send(t, dir, ip)
		o.send(one, ip)
		a, b := k.list(t, "udp")[4000], o.list()[4000]
		b.state = "" // the kernel prints none
		near := a.expires-b.expires <= 2 && b.expires-a.expires <= 2
		a.expires, b.expires = 0, 0
		if a != b || !near {
			t.Errorf("packet %d: kernel %+v, ours %+v, near %v", step, a, b, near)
		}
	}
}

package ct

import (
	"encoding/binary"
	"testing"
	"time"

	"ffwd/packet"
)

// sctpPacket is one packet of a written association: from the side that began it ('>') or
// from the other ('<'), its verification tag, and its one chunk. asks is the tag that INIT
// and INIT ACK ask for.
type sctpPacket struct {
	from byte
	tag  uint32
	kind uint8
	asks uint32
}

func (s sctpPacket) bytes() []byte {
	var value []byte
	if s.kind == chunkInit || s.kind == chunkInitAck {
		value = make([]byte, 16)
		binary.BigEndian.PutUint32(value, s.asks)
		value[8], value[10] = 255, 1
	}
	l4 := append(make([]byte, sctpHeaderLen), chunkBytes(s.kind, 0, value...)...)
	binary.BigEndian.PutUint32(l4[4:], s.tag)
	return l4
}

func (s sctpPacket) dir() int {
	if s.from == '<' {
		return Reply
	}
	return Original
}

const chunkData = 0

// An association between a side that has the tag 11 and one that has 22.
var sctpOpen = []sctpPacket{
	{'>', 0, chunkInit, 11}, {'<', 11, chunkInitAck, 22}, {'>', 22, chunkCookieEcho, 0}, {'<', 11, chunkCookieAck, 0},
}

func then(first []sctpPacket, more ...sctpPacket) []sctpPacket {
	return append(first[:len(first):len(first)], more...)
}

// CT-4: an association that an endpoint restarts, one whose ends begin at once, one that
// moved here with its tags, and packets that come twice: as the kernel sees them.
func TestSCTPRestartsAgainstTheKernel(t *testing.T) {
	scripts := map[string][]sctpPacket{
		"restart": then(sctpOpen, sctpPacket{'>', 0, chunkInit, 55}, sctpPacket{'<', 55, chunkInitAck, 66},
			sctpPacket{'>', 66, chunkCookieEcho, 0}, sctpPacket{'<', 55, chunkCookieAck, 0},
			sctpPacket{'>', 66, chunkData, 0}, sctpPacket{'<', 55, chunkData, 0}, sctpPacket{'<', 11, chunkData, 0}, sctpPacket{'>', 22, chunkData, 0}),
		"restart by the other end": then(sctpOpen, sctpPacket{'<', 0, chunkInit, 66}, sctpPacket{'>', 66, chunkInitAck, 55},
			sctpPacket{'<', 55, chunkCookieEcho, 0}, sctpPacket{'>', 66, chunkCookieAck, 0}, sctpPacket{'<', 55, chunkData, 0}),
		"again after the end": then(sctpOpen, sctpPacket{'>', 22, chunkShutdown, 0}, sctpPacket{'<', 11, chunkShutdownAck, 0},
			sctpPacket{'>', 22, chunkShutdownComplete, 0}, sctpPacket{'>', 0, chunkInit, 33}, sctpPacket{'<', 33, chunkInitAck, 44},
			sctpPacket{'>', 44, chunkCookieEcho, 0}, sctpPacket{'<', 33, chunkCookieAck, 0}),
		"both begin": {{'>', 0, chunkInit, 11}, {'<', 0, chunkInit, 22}, {'>', 22, chunkInitAck, 11}, {'<', 11, chunkInitAck, 22},
			{'>', 22, chunkCookieEcho, 0}, {'<', 11, chunkCookieEcho, 0}, {'>', 22, chunkCookieAck, 0}, {'<', 11, chunkCookieAck, 0}},
		"both begin, one answers": {{'>', 0, chunkInit, 11}, {'<', 0, chunkInit, 22}, {'<', 11, chunkInitAck, 22},
			{'>', 22, chunkCookieEcho, 0}, {'<', 11, chunkCookieAck, 0}},
		"all twice": {{'>', 0, chunkInit, 11}, {'>', 0, chunkInit, 11}, {'<', 11, chunkInitAck, 22}, {'<', 11, chunkInitAck, 22},
			{'>', 22, chunkCookieEcho, 0}, {'>', 22, chunkCookieEcho, 0}, {'<', 11, chunkCookieAck, 0}, {'<', 11, chunkCookieAck, 0}},
		"refused, and again": {{'>', 0, chunkInit, 11}, {'<', 11, chunkAbort, 0}, {'>', 0, chunkInit, 12}, {'<', 12, chunkInitAck, 22}},
		"moved here with other tags": then(sctpOpen, sctpPacket{'>', 77, chunkHeartbeat, 0}, sctpPacket{'<', 88, chunkHeartbeatAck, 0},
			sctpPacket{'>', 77, chunkHeartbeat, 0}, sctpPacket{'<', 88, chunkData, 0}, sctpPacket{'>', 77, chunkData, 0}),
		"a heartbeat of nobody's": then(sctpOpen, sctpPacket{'>', 77, chunkHeartbeat, 0}, sctpPacket{'<', 11, chunkData, 0},
			sctpPacket{'>', 22, chunkData, 0}, sctpPacket{'>', 78, chunkHeartbeatAck, 0}),
	}
	k := newKernelRouter(t)
	o := &ours{newTable(t, 4096, 0), time.Now()}
	port := uint16(3000)
	for name, script := range scripts {
		port++
		for step, s := range script {
			playToBoth(t, k, o, tuple{kernelClient, kernelServer, port, 9899, packet.ProtoSCTP}, s.dir(), s.bytes())
			a, b := k.list(t, "sctp")[int(port)], o.list()[int(port)]
			near := a.expires-b.expires <= 2 && b.expires-a.expires <= 2
			a.expires, b.expires = 0, 0
			if a != b || !near {
				t.Errorf("%s, packet %d, %+v: kernel %+v, ours %+v, near %v", name, step, s, a, b, near)
				break
			}
		}
	}
}

// CT-4: where the kernel believes what anybody can forge, or holds endpoints to the last
// of several answers, we do not. Source: RFC 9260 3.3.2, 5.2
func TestSCTPBelievesNoForgery(t *testing.T) {
	both := []sctpPacket{{'>', 22, chunkData, 0}, {'<', 11, chunkData, 0}}
	for name, c := range map[string]struct {
		script  []sctpPacket
		refused int // of its packets from the last but so many on
	}{
		"forged INIT":                  {append(then(sctpOpen, sctpPacket{'>', 0, chunkInit, 55}), both...), 0},
		"forged INIT, INIT ACK":        {append(then(sctpOpen, sctpPacket{'>', 0, chunkInit, 55}, sctpPacket{'<', 55, chunkInitAck, 66}), both...), 0},
		"forged heartbeat and answer":  {append(then(sctpOpen, sctpPacket{'>', 77, chunkHeartbeat, 0}, sctpPacket{'<', 88, chunkHeartbeatAck, 0}), both...), 0},
		"ABORT of what was forged":     {append(then(sctpOpen, sctpPacket{'>', 0, chunkInit, 55}, sctpPacket{'<', 55, chunkAbort, 0}), both...), 0},
		"INIT that asks for no tag":    {then(sctpOpen, sctpPacket{'>', 0, chunkInit, 0}), 1},
		"COOKIE ACK without the echo":  {then(sctpOpen, sctpPacket{'>', 0, chunkInit, 55}, sctpPacket{'<', 55, chunkCookieAck, 0}), 1},
		"data of a proposed one":       {then(sctpOpen, sctpPacket{'>', 0, chunkInit, 55}, sctpPacket{'<', 55, chunkData, 0}), 1},
		"answer to no heartbeat":       {then(sctpOpen, sctpPacket{'<', 88, chunkHeartbeatAck, 0}), 1},
		"the first of two INIT ACKs":   {append(then(sctpOpen[:2], sctpPacket{'<', 11, chunkInitAck, 23}), sctpOpen[2:]...), 0},
		"the second of two INIT ACKs":  {then(sctpOpen[:2], sctpPacket{'<', 11, chunkInitAck, 23}, sctpPacket{'>', 23, chunkCookieEcho, 0}, sctpPacket{'<', 11, chunkCookieAck, 0}), 0},
		"old packets after a restart":  {then(sctpOpen, sctpPacket{'>', 0, chunkInit, 55}, sctpPacket{'<', 55, chunkInitAck, 66}, sctpPacket{'>', 66, chunkCookieEcho, 0}, sctpPacket{'<', 55, chunkCookieAck, 0}, both[0]), 1},
		"old packets during a restart": {append(then(sctpOpen, sctpPacket{'>', 0, chunkInit, 55}, sctpPacket{'<', 55, chunkInitAck, 66}, sctpPacket{'>', 66, chunkCookieEcho, 0}), both[1], sctpPacket{'<', 55, chunkCookieAck, 0}), 0},
	} {
		o := &ours{newTable(t, MinFlows, 0), time.Now()}
		for i, s := range c.script {
			of := tuple{kernelClient, kernelServer, 3000, 9899, packet.ProtoSCTP}
			if s.dir() == Reply {
				of = of.reversed()
			}
			l4 := s.bytes()
			binary.BigEndian.PutUint16(l4, of.sport)
			binary.BigEndian.PutUint16(l4[2:], of.dport)
			p := o.send(of, ipPacket(of, l4))
			if got, want := p.State == packet.CtInvalid, i >= len(c.script)-c.refused; got != want {
				t.Errorf("%s: packet %d, %+v: refused %v, want %v", name, i, s, got, want)
			}
		}
		if f := o.list()[3000]; f.state != "ESTABLISHED" || !f.assure {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

package ct

import "ffwd/packet"

// Return joins a packet that waited outside of the pipeline to its flow again. The
// index it had may be another flow's by now.
//
// A packet whose flow was not confirmed when it went joins one that another packet
// confirmed meanwhile, and counts there; joined says so. A packet whose flow was, has
// been counted already. One whose flow has ended is as if it came now.
// Owner worker only. Source: VQ-3, CT-6.
func (t *Table) Return(p *packet.Packet, nowNs int64, timeouts *Timeouts) (joined bool) {
	fresh := p.Flow == 0
	p.Flow = 0
	if p.Key1 == 0 || fresh && p.State != packet.CtNew {
		return false
	}
	flow := t.find(p)
	switch {
	case fresh && (flow == 0 || !joins && !p.Is(packet.LaterFragment)):
	case fresh && p.Is(packet.LaterFragment):
		t.join(p, flow, Tick(nowNs), timeouts)
	case fresh:
		t.Joined[p.Waited]++
		t.join(p, flow, Tick(nowNs), timeouts)
		return p.Flow != 0
	case flow == 0:
		p.Flags &^= packet.ReplyDir
		t.miss(p)
	default:
		p.Flow = flow
		p.Flags &^= packet.ReplyDir
		if t.flow(flow).direction(p.Is(packet.KeySwapped)) == Reply {
			p.Flags |= packet.ReplyDir
		}
	}
	return false
}

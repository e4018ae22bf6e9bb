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
	own := p.Translation
	if !fresh {
		own, p.Translation = 0, 0 // it may be another flow's by now
	}
	joined = t.rejoin(p, fresh, nowNs, timeouts)
	t.settleTwin(p, own)
	return joined
}

// rejoin is Return for a packet that may have a flow.
func (t *Table) rejoin(p *packet.Packet, fresh bool, nowNs int64, timeouts *Timeouts) (joined bool) {
	entry := t.find(p)
	switch flow, dir, ok := t.owner(entry, p.Is(packet.KeySwapped)); {
	case entry != 0 && !ok:
		t.refuse(p)
	case fresh && (flow == 0 || !joins && !p.Is(packet.LaterFragment)):
	case fresh && p.Is(packet.LaterFragment):
		t.join(p, flow, dir, Tick(nowNs), timeouts)
	case fresh:
		t.Joined[p.Waited]++
		t.join(p, flow, dir, Tick(nowNs), timeouts)
		return p.Flow != 0
	case flow == 0:
		p.Flags &^= packet.ReplyDir
		t.miss(p)
	default:
		p.Flow, p.Translation = flow, t.translation(flow)
		p.Flags &^= packet.ReplyDir
		if dir == Reply {
			p.Flags |= packet.ReplyDir
		}
	}
	return false
}

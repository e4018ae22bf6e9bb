package pipeline

import "ffwd/packet"

// Divert punts what only the slow path can forward, now that both hooks have
// seen it: or an option in its header would carry a packet past every rule.
//
// Needs:  Parse, Route, both hooks.
// Drops:  martian, for neighbour discovery that would leave its link.
// Punts:  options, extension.
// Source: FF-3, FF-6, FF-14; RFC 4861 section 7.1.
type Divert struct{}

// Process handles the burst; in most there is nothing to do.
func (*Divert) Process(b *packet.Burst) {
	if !b.Divert {
		return
	}
	for i := range b.Live() {
		p := &b.Pkts[i]
		switch {
		case !p.Diverted():
		case p.Reason == packet.PuntDiscovery:
			p.DropFor(packet.Martian)
		default:
			p.Verdict = packet.Punt
		}
	}
}

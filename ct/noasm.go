//go:build !amd64

package ct

import "ffwd/packet"

// These are in Go on processors for which there is no assembly.

var vector = false

func (t *Table) match(heads packet.Heads, found *candidates) { t.matchPlain(heads, found) }

func (t *Table) matchSought(heads packet.Heads, found *candidates) {
	t.matchPlain(heads, found)
}

func (t *Table) touch(heads packet.Heads, candidates []uint32, now uint32, timeouts *Timeouts) int {
	return t.touchPlain(heads, candidates, now, timeouts)
}

func (t *Table) touchTCP(heads packet.Heads, candidates []uint32, now uint32, timeouts *Timeouts) int {
	return t.touchTCPPlain(heads, candidates, now, timeouts)
}

func (t *Table) keysAndHomes(run *packet.Run, n int, zone uint16) {
	t.secret.plainKeys4(run.Heads[:n], zone)
}

func (t *Table) joinPlain(run *packet.Run, at, n int, now uint32, timeouts *Timeouts) int {
	return t.touchAny(packet.HeadsAlone(run.Heads[at:n]), t.sought[at:], now, timeouts)
}

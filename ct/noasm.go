//go:build !amd64

package ct

import "ffwd/packet"

// These are in Go on processors for which there is no assembly.

func (t *Table) match(heads packet.Heads, found *[packet.MaxBurst]uint32) { t.matchPlain(heads, found) }

func (t *Table) matchSought(heads packet.Heads, found *[packet.MaxBurst]uint32) {
	t.matchPlain(heads, found)
}

func (t *Table) touch(heads packet.Heads, candidates []uint32, now uint32, timeouts *Timeouts) int {
	return t.touchPlain(heads, candidates, now, timeouts)
}

func (t *Table) touchTCP(heads packet.Heads, candidates []uint32, now uint32, timeouts *Timeouts) int {
	return t.touchTCPPlain(heads, candidates, now, timeouts)
}

func (t *Table) keysAndHomes(heads []packet.Head, zone uint16) { t.secret.plainKeys4(heads, zone) }

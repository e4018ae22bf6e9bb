package ct

import "ffwd/packet"

// Latest remembers the flows of the datagrams whose first fragments came last. That is
// enough where one sender sends the fragments of each datagram in order and without delay, as
// the host's kernel does: nothing waits, and nothing is checked but whose they are. The zero
// Latest knows none. Its owner's alone. Source: CT-5, SP-1.
type Latest struct{ of [8]datagram }

// Follow notes a first fragment, which has its key if it can have one, and gives later ones of
// the same datagram that key.
func (l *Latest) Follow(p *packet.Packet) {
	f, ok := readPiece(p)
	if !ok {
		return
	}
	k := datagramOf(p, &f, 0)
	d := &l.of[int(f.id)%len(l.of)]
	switch {
	case !p.Is(packet.LaterFragment):
		d.datagramKey = k
		d.know(p)
	case d.datagramKey == k && d.flowKey[1] != 0:
		d.give(p)
	}
}

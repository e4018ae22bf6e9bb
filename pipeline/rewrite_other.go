//go:build !amd64

package pipeline

import (
	"ffwd/fib"
	"ffwd/packet"
)

// rewrite writes hop limits and link headers of a run that is not empty, and tells its mbufs
// of the lengths. It returns the bytes of L3.
func (l *lane) rewrite(mbufs []*packet.Mbuf, lines []fib.Adjacency) (bytes uint64) {
	return l.rewritePlain(mbufs, lines)
}

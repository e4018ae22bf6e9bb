//go:build !amd64

package ct

import "ffwd/packet"

// match is matchPlain on processors for which there is no assembly.
func (t *Table) match(heads packet.Heads) { t.matchPlain(heads) }

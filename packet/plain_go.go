//go:build !amd64

package packet

var vector = false

// Plain4 finds the headers of plain IPv4 frames in mbufs, from the at-th on up to the first
// that is not plain. mac is as MACBytes has it. It returns how many there are, the bytes
// received in them, and their protocols' bits.
func (r *Run) Plain4(mbufs []*Mbuf, at int, mac uint64) (n int, bytes uint64, protocols uint8) {
	return r.plain4(mbufs, at, mac)
}

// sixteens4 finds none on processors for which there is no assembly.
func (r *Run) sixteens4([]*Mbuf, int, uint64) (n int, bytes uint64, protocols uint8) { return 0, 0, 0 }

// sixteens6 is sixteens4 for IPv6.
func (r *Run) sixteens6([]*Mbuf, int, uint64) (n int, bytes uint64, protocols uint8) { return 0, 0, 0 }

package ct

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Info is a flow as listings show it.
type Info struct {
	Proto    uint8
	Zone     uint16
	State    State
	Original Tuple
	Reply    Tuple
	Packets  [2]uint64 // Original, Reply
	Bytes    [2]uint64 // L3 bytes
	Mark     uint32
	Policy   uint16 // timeout policy, 0 is none
	Replied  bool
	Assured  bool          // early drop spares it
	Age      time.Duration // since confirmation
	Expires  time.Duration // until the deadline; below zero while expiry catches up
}

// Info describes the flow at index i. Owner worker only.
func (t *Table) Info(i uint32, nowNs int64) Info {
	f, c, now := t.flow(i), &t.cold[i], Tick(nowNs)
	low, high := t.ends(i)
	original := Tuple{low, high, f.lowPort(), f.hiPort()}
	reply := Tuple{high, low, f.hiPort(), f.lowPort()}
	if f.flags&origSwapped != 0 {
		original, reply = reply, original
	}
	if f.flags&translated != 0 {
		reply = t.replyOf(i)
	}
	info := Info{
		Proto: f.proto(), Zone: f.zone(), State: f.state, Original: original, Reply: reply,
		Bytes: f.bytes, Mark: f.mark, Policy: f.policy, Replied: f.flags&seenReply != 0, Assured: f.flags&assured != 0,
		Age:     time.Duration(startOf(nowNs)-c.start) << startShift,
		Expires: time.Duration(int32(f.deadline-now)) << tickShift,
	}
	for dir := range info.Packets {
		info.Packets[dir] = uint64(c.packetsHigh[dir])<<32 | uint64(f.packets[dir])
	}
	return info
}

// ends returns a flow's addresses in key order.
func (t *Table) ends(i uint32) (low, high netip.Addr) {
	if t.isIPv6(i) {
		a := &t.addresses[i-t.first6]
		return netip.AddrFrom16(a.low), netip.AddrFrom16(a.high)
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], t.flow(i).k0)
	return netip.AddrFrom4([4]byte(b[:4])), netip.AddrFrom4([4]byte(b[4:]))
}

// Walk calls visit for each flow among the next budget entries from index from
// on, until it returns false. It returns where to go on, behind the flow that
// ended it, or 0 at the end.
//
// A dump is a series of walks between bursts, so that no worker stops for it.
// Flows may come and go in between; one that stays is visited once. Owner worker
// only. Source: CT-9.
func (t *Table) Walk(from uint32, budget int, visit func(i uint32) bool) uint32 {
	i := max(1, from)
	for more := true; more && budget > 0; budget-- {
		if i >= t.free[0].fresh && i < t.first6 { // never used yet
			i = t.first6
		}
		if i >= t.free[1].fresh {
			return 0
		}
		more = t.flows[i].k1 == 0 || visit(i)
		i++
	}
	return i
}

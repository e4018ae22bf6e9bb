package slowpath

import (
	"encoding/binary"
	"slices"

	"ffwd/fib"
)

// hopSetID names a distinct set of hops; 0 is the empty one.
type hopSetID uint32

// hopSet is the hops that any number of routes share, and what they are to us
// now.
type hopSet struct {
	vrf     uint16
	nexthop uint32 // of a nexthop object; then hops is empty
	hops    []kernelHop
	key     string

	resolution
	serial uint32 // changes whenever resolution does
}

// resolution is what a set of hops is to the FIB.
type resolution struct {
	outcome Outcome
	route   fib.RouteType
	hops    []fib.Hop
}

func (r *resolution) equal(o *resolution) bool {
	return r.outcome == o.outcome && r.route == o.route && slices.Equal(r.hops, o.hops)
}

// hopSets interns hops. A set stays while the view of routes it was made for
// does: sweep drops those that no route names.
type hopSets struct {
	sets   map[hopSetID]*hopSet
	byKey  map[string]hopSetID
	last   hopSetID
	serial uint32

	nexthops map[uint32]nexthopMessage
	scratch  []byte
}

func newHopSets() hopSets {
	return hopSets{
		sets: map[hopSetID]*hopSet{}, byKey: map[string]hopSetID{}, nexthops: map[uint32]nexthopMessage{},
		serial: firstSerial,
	}
}

// intern returns the ID of a set of hops, resolved by r when it is new.
func (h *hopSets) intern(vrf uint16, nexthop uint32, hops []kernelHop, twins *twins) hopSetID {
	if nexthop != 0 {
		hops = nil // what they are is told by the object
	}
	key := h.scratch[:0]
	key = binary.NativeEndian.AppendUint16(key, vrf)
	key = binary.NativeEndian.AppendUint32(key, nexthop)
	for i := range hops {
		key = hops[i].appendTo(key)
	}
	h.scratch = key
	if id, known := h.byKey[string(key)]; known {
		return id
	}
	h.last++
	s := &hopSet{vrf: vrf, nexthop: nexthop, hops: slices.Clone(hops), key: string(key)}
	h.sets[h.last], h.byKey[s.key] = s, h.last
	s.resolution = h.resolve(s, twins)
	s.serial = h.nextSerial()
	return h.last
}

func (h *hopSets) nextSerial() uint32 {
	h.serial++
	return h.serial
}

func (h *kernelHop) appendTo(b []byte) []byte {
	b = binary.NativeEndian.AppendUint32(b, h.ifIndex)
	b = binary.NativeEndian.AppendUint32(b, h.weight)
	flags := byte(h.via.BitLen()) // 0, 32 or 128
	if h.dead {
		flags |= 1
	}
	if h.encap {
		flags |= 2
	}
	via := h.via.As16()
	if !h.via.IsValid() {
		via = [16]byte{}
	}
	return append(append(b, flags), via[:]...)
}

// review resolves every set anew and returns those that are something else now.
func (h *hopSets) review(twins *twins) map[hopSetID]struct{} {
	changed := map[hopSetID]struct{}{}
	for id, s := range h.sets {
		if now := h.resolve(s, twins); !now.equal(&s.resolution) {
			s.resolution, s.serial = now, h.nextSerial()
			changed[id] = struct{}{}
		}
	}
	return changed
}

// resolve says what a set of hops is to the FIB.
//
// Hops over our twins forward. If there is none, but one over another device or
// into a tunnel, the kernel alone knows the way and gets the packets. Hops whose
// device is down count as little for us as for the kernel.
func (h *hopSets) resolve(s *hopSet, twins *twins) resolution {
	hops := s.hops
	if s.nexthop != 0 {
		var blackhole bool
		if hops, blackhole = h.expand(s.nexthop); blackhole {
			return resolution{outcome: Installed, route: fib.RouteBlackhole}
		}
		if len(hops) == 0 {
			return resolution{outcome: NoNexthop}
		}
	}
	r := resolution{outcome: Installed}
	foreign, heaviest := 0, uint32(0)
	for i := range hops {
		k := &hops[i]
		iface, vrf, ours := twins.byIndex(k.ifIndex)
		switch {
		case k.dead:
		case !ours || vrf != s.vrf || k.encap:
			foreign++
		default:
			heaviest = max(heaviest, k.weight)
			r.hops = append(r.hops, fib.Hop{Via: k.via, Iface: iface, Weight: int(k.weight)})
		}
	}
	switch {
	case len(r.hops) > fib.MaxHops:
		return resolution{outcome: TooManyHops}
	case len(r.hops) == 0 && foreign > 0:
		r.route = fib.RoutePunt
	case len(r.hops) == 0:
		return resolution{outcome: Dead}
	}
	if heaviest > maxWeight { // of a nexthop object
		for i := range r.hops {
			r.hops[i].Weight = max(1, r.hops[i].Weight*maxWeight/int(heaviest))
		}
	}
	return r
}

const maxWeight = 256 // of fib.Hop

// expand lists the hops of a nexthop object; none: the object, or all of a
// group's, are not there.
func (h *hopSets) expand(id uint32) (hops []kernelHop, blackhole bool) {
	object := h.nexthops[id]
	if len(object.group) == 0 {
		if object.id == 0 || object.blackhole {
			return nil, object.blackhole
		}
		return []kernelHop{object.hop}, false
	}
	for _, m := range object.group { // a group has no groups in it
		member := h.nexthops[m.id]
		if member.blackhole {
			return nil, true // the kernel has no group of a blackhole and others
		}
		if member.id != 0 && len(member.group) == 0 {
			hop := member.hop
			hop.weight = m.weight
			hops = append(hops, hop)
		}
	}
	return hops, false
}

// sweep forgets the sets that are in no use.
func (h *hopSets) sweep(used map[hopSetID]struct{}) {
	for id, s := range h.sets {
		if _, stays := used[id]; !stays {
			delete(h.byKey, s.key)
			delete(h.sets, id)
		}
	}
}

// concerns reports whether a device is one that hops lead over.
func (h *hopSets) concerns(ifIndex uint32) bool {
	over := func(k kernelHop) bool { return k.ifIndex == ifIndex }
	for _, s := range h.sets {
		if slices.ContainsFunc(s.hops, over) {
			return true
		}
	}
	for _, n := range h.nexthops {
		if over(n.hop) {
			return true
		}
	}
	return false
}

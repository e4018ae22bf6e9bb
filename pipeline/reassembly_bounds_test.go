package pipeline

import (
	"net/netip"
	"testing"

	"ffwd/ct"
	"ffwd/packet"
)

func withFragments(l ct.FragmentLimits) option { return func(c *Config, _ *world) { c.Fragments = l } }

// small are limits that tests reach.
var small = ct.FragmentLimits{Datagrams: 8, SourceDatagrams: 4, Packets: 8, SourcePackets: 4, Bytes: 1 << 17, SourceBytes: 1 << 16}

// hosts returns n sources behind the LAN port.
func hosts(n int) (all []netip.Addr) {
	for a := a4; len(all) < n; a = a.Next() {
		all = append(all, a)
	}
	return all
}

// CT-5: within its bounds a source that floods pushes out its own datagrams, oldest first,
// and no other's: neither those that wait nor those whose first fragment has been seen.
func TestFragmentFloodOfOneSource(t *testing.T) {
	w := newWorld(t, withFragments(small))
	good, bad := hosts(2)[0], hosts(2)[1]
	payload := datagram(1000, 2000, 300)
	w.send(0, part(good, b4, 1, 17, payload, inThree[0]), part(good, b4, 2, 17, payload, inThree[1]))
	for id := range uint32(500) {
		w.send(0, part(bad, b4, id, 17, payload, inThree[0]), part(bad, b4, 10_000+id, 17, payload, inThree[1]))
	}
	c, _ := w.worker.Counters()
	if c.Held != 5 || c.Reassembly.Datagrams != 10 || c.Drops[packet.FragmentSource] != 496 || c.Reassembly.Evicted != 2*496 {
		t.Errorf("held %d, %d dropped, %+v", c.Held, c.Drops[packet.FragmentSource], c.Reassembly)
	}
	out := w.send(0, part(good, b4, 1, 17, payload, inThree[1]), part(good, b4, 1, 17, payload, inThree[2]),
		part(good, b4, 2, 17, payload, inThree[0]), part(good, b4, 2, 17, payload, inThree[2]))
	if len(out[1]) != 5 {
		t.Errorf("%d of the other's fragments left", len(out[1]))
	}
	// The flood's latest are still there, its first are not.
	if out := w.send(0, part(bad, b4, 10_499, 17, payload, inThree[0])); len(out[1]) != 2 {
		t.Errorf("%d left of the latest datagram", len(out[1]))
	}
	if out := w.send(0, part(bad, b4, 10_000, 17, payload, inThree[0])); len(out[1]) != 1 {
		t.Errorf("%d left of a datagram that gave way", len(out[1]))
	}
}

// CT-5: a flood from many sources keeps within the bounds of all, and one kind of it leaves
// datagrams of the other kind alone; the table recovers by itself.
func TestFragmentFloodOfManySources(t *testing.T) {
	for name, flood := range map[string]struct {
		of, other extent
		reason    packet.Reason
		lost      int // fragments that wait, of the flood
	}{
		"of first fragments": {inThree[0], inThree[1], 0, 0},
		"of later fragments": {inThree[1], inThree[0], packet.FragmentFull, 192},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withFragments(small))
			payload := datagram(1000, 2000, 300)
			all := hosts(201)
			w.send(0, part(all[200], b4, 1, 17, payload, flood.other))
			for _, src := range all[:200] {
				w.send(0, part(src, b4, 1, 17, payload, flood.of))
				if s := w.worker.reassembly.store.FragmentStats; s.Held > 8 || s.Datagrams > 9 {
					t.Fatalf("%+v", s)
				}
			}
			if n := w.drops(packet.FragmentFull); n != uint64(flood.lost) {
				t.Errorf("%d gave way, want %d", n, flood.lost)
			}
			rest := 0
			for _, c := range inThree {
				if c != flood.other {
					rest += len(w.send(0, part(all[200], b4, 1, 17, payload, c))[1])
				}
			}
			if rest < 2 {
				t.Errorf("%d fragments of the good datagram left", rest)
			}
			out := w.send(0, part(all[200], b4, 2, 17, payload, inThree[2]), part(all[200], b4, 2, 17, payload, inThree[1]), part(all[200], b4, 2, 17, payload, inThree[0]))
			if len(out[1]) != 3 {
				t.Errorf("%d of a datagram after the flood left", len(out[1]))
			}
		})
	}
}

// CT-5: what waits is bounded in bytes, of one source and of all, to the last packet that
// fits.
func TestFragmentBytes(t *testing.T) {
	f := part(a4, b4, 1, 17, datagram(1000, 2000, 300), inThree[1])
	limits := ct.FragmentLimits{Datagrams: 64, SourceDatagrams: 64, Packets: 64, SourcePackets: 64, Bytes: 20 * len(f), SourceBytes: 6*len(f) - 1}
	w := newWorld(t, withFragments(limits))
	for i, src := range hosts(6) {
		for id := range uint32(8) {
			w.send(0, part(src, b4, id, 17, datagram(1000, 2000, 300), inThree[1]))
			if s := w.worker.reassembly.store; s.HeldBytes != s.Held*uint64(len(f)) || s.Held != min(20, uint64(5*i)+min(5, uint64(id)+1)) {
				t.Fatalf("source %d, datagram %d: %+v", i, id, s.FragmentStats)
			}
		}
	}
}

// CT-5: what does not become whole in time is given up, each family in its own time; a
// fragment that comes later begins anew.
func TestFragmentsTimeOut(t *testing.T) {
	w := newWorld(t)
	store := w.worker.reassembly.store
	payload := datagram(1000, 2000, 300)
	w.send(0, part(a4, b4, 1, 17, payload, inThree[1]), part(a6, b6, 1, 17, payload, inThree[1]), part(a4, b4, 2, 17, payload, inThree[0]))
	now := w.worker.burst.NowNs
	for _, step := range []struct {
		seconds         int64
		datagrams, held uint64
	}{{29, 3, 2}, {31, 1, 1}, {59, 1, 1}, {61, 0, 0}} {
		w.worker.snap = w.current.Load()
		w.worker.expireFragments(now + step.seconds*1e9)
		w.worker.flush()
		if store.Datagrams != step.datagrams || store.Held != step.held {
			t.Errorf("after %d s: %+v", step.seconds, store.FragmentStats)
		}
	}
	if n := w.drops(packet.FragmentTimeout); n != 2 || store.TimedOut != 3 {
		t.Errorf("%d dropped, %+v", n, store.FragmentStats)
	}
	if out := w.send(0, part(a4, b4, 1, 17, payload, inThree[0]), part(a4, b4, 1, 17, payload, inThree[1])); len(out[1]) != 2 {
		t.Errorf("%d left", len(out[1]))
	}
}

// CT-5, CT-1: fragments that come to different workers meet at one, and leave by the owner
// of their flow, which counts them in the flow that whole packets have.
func TestFragmentsReachTheOwner(t *testing.T) {
	for name, spread := range map[string]func(uint16) int{
		"software": nil,
		"hardware": func(fold uint16) int { return int(fold) & 1 }, // as a device that hashes ports
	} {
		t.Run(name, func(t *testing.T) {
			w := pair(t, 1024, func(c *Config, _ *world) {
				if spread != nil {
					c.Steered, c.Spread = []bool{false, false}, spread
				}
			})
			payload := datagram(1000, 2000, 300)
			const datagrams = 100
			for i, src := range hosts(datagrams) {
				for n, at := range []int{2, 0, 1} {
					to := w[(i+n)%2]
					to.rx[0].frames = append(to.rx[0].frames, part(src, b4, uint32(i), 17, payload, inThree[at]))
				}
			}
			for range 20 {
				w[0].worker.poll(true)
				w[1].worker.poll(true)
			}
			if sent := len(w[0].tx[1].frames) + len(w[1].tx[1].frames); sent != 3*datagrams {
				t.Errorf("%d left", sent)
			}
			for i := range w {
				if n := w[i].worker.Table().Flows4; n < datagrams/4 {
					t.Errorf("worker %d has %d flows", i, n)
				}
				for at := uint32(1); at != 0; {
					at = w[i].worker.Table().Walk(at, 1000, func(f uint32) bool {
						info := w[i].worker.Table().Info(f, 0)
						if info.Packets[0] != 3 {
							t.Errorf("worker %d: %+v", i, info)
						}
						return true
					})
				}
			}
			if spread == nil {
				return
			}
			for i := range w { // each flow is where the device leads whole packets of it
				for at := uint32(1); at != 0; {
					at = w[i].worker.Table().Walk(at, 1000, func(f uint32) bool {
						src := w[i].worker.Table().Info(f, 0).Original.Src.As4()
						fold := uint16(src[0])<<8 ^ uint16(src[1]) ^ uint16(src[2])<<8 ^ uint16(src[3]) ^ 0x0a02 ^ 0x0202 ^ 1000 ^ 2000
						if spread(fold) != i {
							t.Errorf("the flow from %v is worker %d's", src, i)
						}
						return true
					})
				}
			}
		})
	}
}

// Workers that stop while fragments wait and move between them lose none.
func TestStopWithFragments(t *testing.T) {
	w := pair(t, 64)
	payload := datagram(1000, 2000, 300)
	for i, src := range hosts(200) {
		for n, at := range []int{2, 1, 0}[:1+i%3] {
			w[(i+n)%2].rx[0].frames = append(w[(i+n)%2].rx[0].frames, part(src, b4, uint32(i), 17, payload, inThree[at]))
		}
	}
	runPair(t, w, 300)
	var sum Counters
	for i := range w {
		c, _ := w[i].worker.Counters()
		sum.Add(&c)
	}
	if sum.Held != 0 || sum.HandedOver != sum.TakenOver || w[0].worker.config.Group.Backlog() != 0 {
		t.Errorf("held %d, handed over %d, taken over %d", sum.Held, sum.HandedOver, sum.TakenOver)
	}
	if sum.Drops[packet.FragmentTimeout] == 0 || sum.Transmitted == 0 {
		t.Errorf("%d given up, %d left", sum.Drops[packet.FragmentTimeout], sum.Transmitted)
	}
}

package pipeline

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"ffwd/ct"
	"ffwd/packet"
	"ffwd/policy"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"
)

// extent is one fragment of a datagram's payload.
type extent struct {
	offset, length int
	more           bool
}

// datagram is the payload of a UDP datagram of n bytes, header included.
func datagram(srcPort, dstPort uint16, n int) []byte {
	b := data(n)
	binary.BigEndian.PutUint16(b[0:], srcPort)
	binary.BigEndian.PutUint16(b[2:], dstPort)
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	return b
}

// part is the frame of a fragment from src to dst, of either family and either direction.
func part(src, dst netip.Addr, id uint32, proto uint8, payload []byte, c extent) []byte {
	body := bytes.Clone(payload[c.offset : c.offset+c.length])
	make := frame
	if src == b4 || src == b6 {
		make = back
	}
	if src.Is4() {
		h := ip4(src, dst, layers.IPProtocol(proto))
		h.Id, h.FragOffset = uint16(id), uint16(c.offset/8)
		if c.more {
			h.Flags = layers.IPv4MoreFragments
		}
		return make(h, gopacket.Payload(body))
	}
	header := []byte{proto, 0, 0, 0, 0, 0, 0, 0} // RFC 8200 4.5
	field := uint16(c.offset)
	if c.more {
		field |= 1
	}
	binary.BigEndian.PutUint16(header[2:], field)
	binary.BigEndian.PutUint32(header[4:], id)
	return make(ip6(src, dst, layers.IPProtocolIPv6Fragment), gopacket.Payload(append(header, body...)))
}

// seenAs reads what part wrote, behind the link header.
func seenAs(f []byte) (id uint32, c extent) {
	l3 := f[14:]
	if l3[0]>>4 == 4 {
		h := (*packet.IPv4)(l3)
		c = extent{8 * int(h.FragField()&packet.IPv4OffsetMask), h.TotalLen() - 20, h.FragField()&packet.IPv4MoreFragments != 0}
		return uint32(binary.BigEndian.Uint16(h[4:])), c
	}
	field := binary.BigEndian.Uint16(l3[42:])
	return binary.BigEndian.Uint32(l3[44:]), extent{int(field &^ 7), len(l3) - 48, field&1 != 0}
}

// inThree cuts 300 bytes in three.
var inThree = []extent{{0, 104, true}, {104, 96, true}, {200, 100, false}}

var families = map[string][2]netip.Addr{"ipv4": {a4, b4}, "ipv6": {a6, b6}}

// onlyPort accepts UDP to a port and established flows, and drops all else.
func onlyPort(w *world, port uint16) {
	w.setRules(2, policy.Defaults{In: policy.Drop, Out: policy.Accept},
		policy.Rule{Hook: policy.HookIn, Protocol: policy.AnyProtocol, States: policy.States(policy.Established, policy.Related), Action: policy.Accept},
		policy.Rule{Hook: policy.HookIn, Protocol: 17, DstPorts: []policy.PortRange{{First: port, Last: port}}, States: policy.States(policy.New), Action: policy.Accept})
}

// CT-5: all fragments are of their datagram's flow, whatever the order they come in; a
// rule on ports is about all of them, and they leave as they came, the first one first.
func TestFragmentsHaveTheirFlow(t *testing.T) {
	orders := [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}
	for family, ends := range families {
		for _, order := range orders {
			for _, together := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%v/%v", family, order, together), func(t *testing.T) {
					w := newWorld(t)
					onlyPort(w, 53)
					send := func(port int, src, dst netip.Addr, id uint32, payload []byte) (left [][]byte) {
						var frames [][]byte
						for _, i := range order {
							frames = append(frames, part(src, dst, id, 17, payload, inThree[i]))
						}
						if together {
							return w.send(port, frames...)[1-port]
						}
						for _, f := range frames {
							left = append(left, w.send(port, f)[1-port]...)
						}
						return left
					}
					out := send(0, ends[0], ends[1], 7, datagram(1000, 53, 300))
					if len(out) != 3 {
						t.Fatalf("%d fragments left", len(out))
					}
					if _, c := seenAs(out[0]); c.offset != 0 {
						t.Errorf("the first to leave was at %d", c.offset)
					}
					// The same identification means nothing in the other direction.
					if out := send(1, ends[1], ends[0], 7, datagram(53, 1000, 300)); len(out) != 3 {
						t.Errorf("%d fragments of the answer left", len(out))
					}
					if out := send(0, ends[0], ends[1], 8, datagram(1000, 54, 300)); len(out) != 0 {
						t.Errorf("%d fragments to another port left", len(out))
					}
					if dropped := w.drops(packet.PolicyIn); dropped != 3 {
						t.Errorf("rules dropped %d", dropped)
					}
					if c, flows := w.worker.Counters(); flows.Flows4+flows.Flows6 != 1 || flows.Joined != [packet.NumWaits]uint64{} || c.Reassembly.Completed != 3 || c.Reassembly.Datagrams != 0 || c.Held != 0 {
						t.Errorf("%+v %+v", flows, c.Reassembly)
					}
					if info := w.worker.Table().Info(w.onlyFlow(), 0); info.Packets != [2]uint64{3, 3} || info.Original.DstPort != 53 {
						t.Errorf("%+v", info)
					}
				})
			}
		}
	}
}

// onlyFlow is the index of the only flow.
func (w *world) onlyFlow() (flow uint32) {
	for at := uint32(1); at != 0; {
		at = w.worker.Table().Walk(at, 1000, func(f uint32) bool { flow = f; return true })
	}
	return flow
}

// CT-5: an echo of many fragments is one flow by its identifier; fragments of a message
// that is no query are invalid.
func TestFragmentsOfICMP(t *testing.T) {
	echo := append([]byte{8, 0, 0, 0, 0x12, 0x34, 0, 1}, data(292)...)
	w := newWorld(t)
	for _, c := range []extent{inThree[2], inThree[0], inThree[1]} {
		w.send(0, part(a4, b4, 1, 1, echo, c))
	}
	answer := slices.Concat([]byte{0}, echo[1:])
	if out := w.send(1, part(b4, a4, 1, 1, answer, inThree[0]), part(b4, a4, 1, 1, answer, inThree[1]), part(b4, a4, 1, 1, answer, inThree[2])); len(out[0]) != 3 {
		t.Errorf("%d fragments of the answer left", len(out[0]))
	}
	if info := w.worker.Table().Info(w.onlyFlow(), 0); info.Packets != [2]uint64{3, 3} {
		t.Errorf("%+v", info)
	}
	w.setRules(2, policy.Defaults{In: policy.Accept, Out: policy.Accept},
		policy.Rule{Hook: policy.HookIn, Protocol: policy.AnyProtocol, States: policy.States(policy.Invalid), Action: policy.Drop})
	unreachable := append([]byte{3, 1}, data(298)...)
	for _, c := range inThree {
		w.send(0, part(a4, b4, 2, 1, unreachable, c))
	}
	if n := w.drops(packet.PolicyIn); n != 3 {
		t.Errorf("%d fragments of an error were invalid", n)
	}
}

// CT-3, CT-5: the tracker reads the header of a first fragment, and nothing of the others;
// these neither begin a connection nor end one.
func TestFragmentsOfTCP(t *testing.T) {
	w := newWorld(t)
	w.send(0, tcpFrame("S"))
	w.send(1, tcpBack("SA"))
	w.send(0, tcpFrame("A"))
	segment := tcpFrame("A")[14+20:]
	payload := append(bytes.Clone(segment[:20]), bytes.Repeat([]byte{0xff}, 400)...) // each flag is set, in a header's place
	pieces := []extent{{0, 104, true}, {104, 104, true}, {208, 212, false}}
	for _, i := range []int{2, 0, 1} {
		w.send(0, part(a4, b4, 9, 6, payload, pieces[i]))
	}
	info := w.worker.Table().Info(w.onlyFlow(), 0)
	if info.Packets != [2]uint64{5, 1} || info.State != ct.TCPEstablished {
		t.Errorf("%+v", info)
	}
}

// What is dropped of datagrams that no sender makes. Every row's fragments come in order;
// passing are those that leave, and of the others each is counted.
func TestHostileFragments(t *testing.T) {
	const size = 65536 + 64
	many := func(n, step, length int, first bool) (all []extent) {
		if first {
			all = append(all, extent{0, 8, true})
		}
		for i := range n {
			all = append(all, extent{16 + i*step, length, true})
		}
		return all
	}
	for _, tc := range []struct {
		name    string
		proto   uint8
		cuts    []extent
		passing int
		drops   map[packet.Reason]uint64
		family4 bool // only there
	}{
		// RFC 5722 section 4: all of the datagram is discarded, what has not come yet too.
		{"overlap before the first", 17, []extent{{8, 16, true}, {16, 16, true}, {0, 8, true}, {32, 8, false}}, 0, map[packet.Reason]uint64{packet.FragmentOverlap: 4}, false},
		{"overlap with the first", 17, []extent{{0, 24, true}, {16, 16, true}, {32, 8, false}}, 1, map[packet.Reason]uint64{packet.FragmentOverlap: 2}, false},
		{"overlap from below", 17, []extent{{0, 8, true}, {24, 16, true}, {16, 16, true}}, 2, map[packet.Reason]uint64{packet.FragmentOverlap: 1}, false},
		{"a larger one over a smaller", 17, []extent{{0, 8, true}, {16, 8, true}, {8, 24, true}}, 2, map[packet.Reason]uint64{packet.FragmentOverlap: 1}, false},
		// RFC 8200 4.5, errata 3089 and Linux: an exact repetition alone is discarded.
		{"duplicate", 17, []extent{{0, 16, true}, {0, 16, true}, {16, 8, true}, {16, 8, true}, {24, 8, false}}, 3, map[packet.Reason]uint64{packet.FragmentDuplicate: 2}, false},
		{"duplicate of one that waits", 17, []extent{{16, 8, true}, {16, 8, true}, {0, 16, true}}, 2, map[packet.Reason]uint64{packet.FragmentDuplicate: 1}, false},
		{"inside what has been seen", 17, []extent{{0, 16, true}, {16, 16, true}, {8, 16, true}}, 2, map[packet.Reason]uint64{packet.FragmentDuplicate: 1}, false},
		// Two fragments each of which claims to be the last, or one beyond it.
		{"two ends", 17, []extent{{0, 8, true}, {16, 8, false}, {24, 8, false}}, 2, map[packet.Reason]uint64{packet.FragmentOverlap: 1}, false},
		{"beyond the end", 17, []extent{{0, 8, true}, {16, 8, false}, {24, 8, true}}, 2, map[packet.Reason]uint64{packet.FragmentOverlap: 1}, false},
		{"an end before what has been seen", 17, []extent{{0, 8, true}, {16, 8, true}, {8, 8, false}}, 2, map[packet.Reason]uint64{packet.FragmentOverlap: 1}, false},
		// RFC 8200 4.5: not a multiple of 8; RFC 791 3.1: longer than a datagram can be.
		{"in the middle, 12 bytes", 17, []extent{{0, 12, true}}, 0, map[packet.Reason]uint64{packet.FragmentMalformed: 1}, false},
		{"empty", 17, []extent{{8, 0, false}, {8, 0, true}}, 0, map[packet.Reason]uint64{packet.FragmentMalformed: 2}, false},
		{"up to the largest", 17, []extent{{0, 8, true}, {65504, 11, false}}, 2, nil, true},
		{"one byte beyond the largest", 17, []extent{{0, 8, true}, {65504, 12, false}}, 1, map[packet.Reason]uint64{packet.FragmentMalformed: 1}, true},
		{"a datagram of 65536 bytes", 17, []extent{{65528, 8, false}}, 0, map[packet.Reason]uint64{packet.FragmentMalformed: 1}, false},
		// RFC 1858 3.2.1 and RFC 7112: the first fragment has the whole L4 header.
		{"tiny TCP", 6, []extent{{0, 16, true}, {16, 64, false}}, 0, map[packet.Reason]uint64{packet.TinyFragment: 2}, false},
		{"tiny TCP, last", 6, []extent{{16, 64, false}, {0, 16, true}}, 0, map[packet.Reason]uint64{packet.TinyFragment: 2}, false},
		{"TCP with its whole header", 6, []extent{{0, 24, true}, {24, 64, false}}, 2, nil, false},
		{"tiny SCTP", 132, []extent{{0, 8, true}}, 0, map[packet.Reason]uint64{packet.TinyFragment: 1}, false},
		// RFC 3128: a fragment over the TCP flags.
		{"TCP at 8", 6, []extent{{8, 64, false}}, 0, map[packet.Reason]uint64{packet.TinyFragment: 1}, true},
		{"24 parts with gaps", 17, many(23, 16, 8, true), 24, nil, false},
		{"25 parts with gaps", 17, many(24, 16, 8, true), 24, map[packet.Reason]uint64{packet.FragmentPieces: 1}, false},
		{"256 pieces", 17, append([]extent{{0, 8, true}, {8, 8, true}}, many(254, 8, 8, false)...), 256, nil, false},
		{"257 pieces", 17, append([]extent{{0, 8, true}, {8, 8, true}}, many(256, 8, 8, false)...), 256, map[packet.Reason]uint64{packet.FragmentPieces: 2}, false},
	} {
		for family, ends := range families {
			if tc.family4 && family != "ipv4" {
				continue
			}
			t.Run(tc.name+"/"+family, func(t *testing.T) {
				w := newWorld(t)
				payload := datagram(1000, 2000, size)
				if tc.proto == 6 {
					copy(payload[12:], []byte{5 << 4, packet.TCPSyn})
				}
				passing := 0
				for _, c := range tc.cuts {
					passing += len(w.send(0, part(ends[0], ends[1], 5, tc.proto, payload, c))[1])
				}
				if passing != tc.passing {
					t.Errorf("%d left, want %d", passing, tc.passing)
				}
				for reason := range packet.NumReasons {
					if got := w.drops(reason); got != tc.drops[reason] {
						t.Errorf("%d dropped as %v, want %d", got, reason, tc.drops[reason])
					}
				}
			})
		}
	}
}

// fragmentModel is the oracle: what is to become of the fragments of one datagram, by a map of
// every byte.
type fragmentModel struct {
	seen            [2000]bool
	end             int // -1: not known
	known, refused  bool
	waiting, passed []extent
}

func newFragmentModel() *fragmentModel { return &fragmentModel{end: -1} }

// take returns whether the datagram is whole.
func (m *fragmentModel) take(c extent) (whole bool) {
	if m.refused {
		return false
	}
	high, covered := 0, 0
	for i, is := range m.seen {
		if is {
			high = i + 1
			if i >= c.offset && i < c.offset+c.length {
				covered++
			}
		}
	}
	end := c.offset + c.length
	conflict := m.end >= 0 && (c.more && end > m.end || !c.more && end != m.end) || !c.more && end < high
	switch {
	case !conflict && covered == c.length:
		return false
	case conflict, covered > 0:
		m.refused, m.waiting = true, nil
		return false
	}
	for i := range c.length {
		m.seen[c.offset+i] = true
	}
	if !c.more {
		m.end = end
	}
	switch {
	case c.offset == 0:
		m.passed = append(append(m.passed, c), m.waiting...)
		m.known, m.waiting = true, nil
	case m.known:
		m.passed = append(m.passed, c)
	default:
		m.waiting = append(m.waiting, c)
	}
	return m.end >= 0 && !slices.Contains(m.seen[:m.end], false)
}

// CT-5: random datagrams, cut and mixed at random, some fragments repeated, some moved over
// others: those leave that the model says, in its order, as one flow per datagram's ports,
// and nothing else is held.
func TestFragmentsOracle(t *testing.T) {
	w := newWorld(t)
	rapid.Check(t, func(rt *rapid.T) {
		w.worker.reassembly.store.Clear()
		w.worker.releaseFragments(0)
		type of struct {
			family string
			id     uint32
		}
		type piece struct {
			of
			extent
		}
		models, passed, ports := map[of]*fragmentModel{}, map[of][][]extent{}, map[of]uint16{}
		var all []piece
		for i := range rapid.IntRange(1, 4).Draw(rt, "datagrams") {
			o := of{rapid.SampledFrom([]string{"ipv4", "ipv6"}).Draw(rt, "family"), uint32(i)}
			models[o], ports[o] = newFragmentModel(), uint16(2000+rapid.IntRange(0, 1).Draw(rt, "port"))
			size := 8 * rapid.IntRange(2, 200).Draw(rt, "units")
			size -= rapid.IntRange(0, 7).Draw(rt, "odd")
			for at := 0; at < size; {
				n := min(8*rapid.IntRange(1, 60).Draw(rt, "length"), size-at)
				c := extent{at, n, at+n < size}
				all = append(all, piece{o, c})
				if rapid.IntRange(0, 9).Draw(rt, "again") == 0 {
					all = append(all, piece{o, c})
				}
				if rapid.IntRange(0, 19).Draw(rt, "astray") == 0 && c.more && at > 0 {
					all = append(all, piece{o, extent{at - 8, n, true}})
				}
				at += n
			}
		}
		all = rapid.Permutation(all).Draw(rt, "order")
		for len(all) > 0 {
			n := min(len(all), rapid.SampledFrom([]int{1, 2, 10, 100}).Draw(rt, "burst"))
			var frames [][]byte
			for _, p := range all[:n] {
				ends := families[p.family]
				frames = append(frames, part(ends[0], ends[1], p.id, 17, datagram(1000, ports[p.of], 2000), p.extent))
				m := models[p.of]
				before := len(m.passed)
				whole := m.take(p.extent)
				if len(passed[p.of]) == 0 {
					passed[p.of] = [][]extent{nil}
				}
				latest := &passed[p.of][len(passed[p.of])-1]
				*latest = append(*latest, m.passed[before:]...)
				if whole { // what comes now is of another datagram, and may overtake the last
					models[p.of] = newFragmentModel()
					passed[p.of] = append(passed[p.of], nil)
				}
			}
			all = all[n:]
			for _, f := range w.send(0, frames...)[1] {
				id, c := seenAs(f)
				o := of{map[byte]string{4: "ipv4", 6: "ipv6"}[f[14]>>4], id}
				i := slices.IndexFunc(passed[o], func(next []extent) bool { return len(next) > 0 && next[0] == c })
				if i < 0 {
					rt.Fatalf("%v left of %v, want %v", c, o, passed[o])
				}
				passed[o][i] = passed[o][i][1:]
			}
			for o, all := range passed {
				for _, rest := range all {
					if len(rest) > 0 {
						rt.Fatalf("%v of %v did not leave", rest, o)
					}
				}
			}
			waiting := 0
			for _, m := range models {
				waiting += len(m.waiting)
			}
			if c, _ := w.worker.Counters(); int(c.Held) != waiting || int(c.Reassembly.Held) != waiting {
				rt.Fatalf("%d are held, want %d", c.Held, waiting)
			}
		}
		w.checkBalance()
	})
}

// FuzzFragments gives arbitrary fragments of a few datagrams to a worker: whatever they are, they
// leave, wait within bounds, or are counted, and every mbuf comes back.
func FuzzFragments(f *testing.F) {
	f.Add([]byte{0, 0, 13, 1, 0, 13, 12, 0}, false)
	f.Add([]byte{1, 13, 12, 0, 1, 0, 13, 1, 1, 13, 12, 0}, true)
	limits := ct.FragmentLimits{Datagrams: 3, SourceDatagrams: 2, Packets: 4, SourcePackets: 3, Bytes: 1 << 16, SourceBytes: 1 << 16}
	w := newWorld(f, withFragments(limits))
	f.Fuzz(func(t *testing.T, script []byte, ipv6 bool) {
		w.t, w.pool.t = t, t
		defer func() { w.t, w.pool.t = f, f }()
		ends := families["ipv4"]
		if ipv6 {
			ends = families["ipv6"]
		}
		src := [2]netip.Addr{ends[0], ends[0].Next()}
		for len(script) >= 4 {
			id, offset, length, flags := script[0], int(script[1])*8, int(script[2])*8+int(script[3]>>4), script[3]
			script = script[4:]
			proto := []uint8{17, 6, 1, 58, 132, 47}[flags>>1&7%6]
			w.send(0, part(src[id&1], ends[1], uint32(id), proto, datagram(1, 2, 5000), extent{offset, length, flags&1 != 0}))
			c, _ := w.worker.Counters()
			if c.Held > 4 || c.Reassembly.Datagrams > 7 || c.Held != c.Reassembly.Held {
				t.Fatalf("%+v", c.Reassembly)
			}
		}
		w.checkConservation()
		if s := w.worker.reassembly.store.FragmentStats; s.Held+s.HeldBytes != 0 {
			t.Fatalf("%+v after the end", s)
		}
		w.worker.reassembly.closed = false
	})
}

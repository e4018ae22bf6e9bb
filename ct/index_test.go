package ct

import (
	"testing"

	"ffwd/packet"
)

// CT-1, CT-6: a flow that lies outside of its home bucket, with one other or with many, is found by its key, and by
// its tag; one that is not there is not.
func TestFlowsOutsideTheirBuckets(t *testing.T) {
	outside := map[bool]int{}
	for round := range 600 {
		table := newTable(t, MinFlows, 0)
		for i := range MinFlows {
			send(table, 0, DefaultTimeouts(), udp4(round<<8|i))
		}
		for i := range 2 * MinFlows {
			var p packet.Packet
			load(&p, &table.secret, udp4(round<<8|i), 0)
			flow := table.find(&p)
			if there := i < MinFlows; there != (flow != 0) || there && table.seek(p.Hash) == 0 {
				t.Fatalf("flow %d is %d by its key, %d by its tag", i, flow, table.seek(p.Hash))
			}
			if home := table.bucket(table.home(p.Hash)); flow != 0 && !holds(home, flow) {
				outside[home.passing == 1]++
			}
		}
		table.Close()
	}
	if outside[true] == 0 || outside[false] == 0 {
		t.Errorf("outside of their buckets, alone and not: %v", outside)
	}
}

func holds(b *bucket, flow uint32) bool {
	for used := ^b.match(0) & (1<<slots - 1); used != 0; used &= used - 1 {
		for slot := range slots {
			if used>>slot&1 != 0 && b.flow(slot) == flow {
				return true
			}
		}
	}
	return false
}

// CT-10, CT-4: the key that is made of a tuple alone, for answers and for what ICMP errors quote, is that which its packets
// have, in either direction; zones tell flows apart in both families. Fragments of either direction have one home.
func TestKeysOfTuples(t *testing.T) {
	secret := NewSecret()
	for i := range 200 {
		for _, tu := range []tuple{udp4(i), udp6(i), udp4(i).reversed(), udp6(i).reversed()} {
			seen := map[key]bool{}
			for _, zone := range []uint16{0, 1, 0x8000, 0xffff} {
				var p, back packet.Packet
				load(&p, &secret, tu, zone)
				load(&back, &secret, tu.reversed(), zone)
				o := oneWay{src: endpoint{portLE: uint16(p.PortsLE)}, dst: endpoint{portLE: uint16(p.PortsLE >> 16)}}
				copy(o.src.addr[:], tu.src.AsSlice())
				copy(o.dst.addr[:], tu.dst.AsSlice())
				k, hash, swapped := secret.keyOf(&o, tu.proto, zone, tu.src.Is6())
				if k != (key{p.Key0, p.Key1}) || hash != p.Hash || swapped != p.Is(packet.KeySwapped) || k.zone() != zone {
					t.Fatalf("%+v in zone %d: %+v, its packets have %x %x", tu, zone, k, p.Key0, p.Key1)
				}
				if (key{back.Key0, back.Key1}) != k || back.Is(packet.KeySwapped) == swapped {
					t.Fatalf("%+v in zone %d: its answers have %x %x", tu, zone, back.Key0, back.Key1)
				}
				if seen[k] {
					t.Fatalf("%+v: zone %d has the key of another", tu, zone)
				}
				seen[k] = true
				if a, b := secret.FragmentHome(&p, uint32(zone)), secret.FragmentHome(&back, uint32(zone)); a != b {
					t.Fatalf("%+v: fragments of both directions have homes %x and %x", tu, a, b)
				}
			}
		}
	}
}

package pipeline

import (
	"bytes"
	"encoding/binary"
	"testing"

	"ffwd/packet"
	"ffwd/policy"

	"github.com/gopacket/gopacket/layers"
)

// ifMirror is an interface on a third port.
const ifMirror = 4

// mirrorWorld is a world with a third port, which gets copies of what a rule matches.
type mirrorWorld struct {
	*world
	mirror *testTx
}

func teeRule(hook policy.Hook, to uint16) policy.Rule {
	return policy.Rule{Hook: hook, Action: policy.Tee, Mirror: policy.Mirror{To: to, Only: true}, Protocol: policy.AnyProtocol}
}

func newMirrorWorld(t *testing.T, others ...option) *mirrorWorld {
	t.Helper()
	m := &mirrorWorld{}
	third := func(c *Config, w *world) {
		m.mirror = &testTx{pool: w.pool, room: -1}
		w.snapshot.Interfaces = append(w.snapshot.Interfaces, Interface{Name: "mirror", Port: 2, MTU: 1500})
		w.snapshot.Zones = append(w.snapshot.Zones, 0)
		w.snapshot.Ports = append(w.snapshot.Ports, PortMap{Untagged: ifMirror})
		w.publish()
		c.Tx = append(c.Tx, m.mirror)
	}
	m.world = newWorld(t, append([]option{third}, others...)...)
	return m
}

func (m *mirrorWorld) copies() [][]byte {
	f := m.mirror.frames
	m.mirror.frames = nil
	return f
}

func (m *mirrorWorld) counts() (mirrored, lost uint64) {
	c, _ := m.worker.Counters()
	return c.Mirrored, c.MirrorsLost
}

// Copies are the frames that came in, of every packet of a flow, from both hooks, and
// also of packets that a later rule drops. Source: VQ-6, FF-6
func TestTeeToPort(t *testing.T) {
	padded := append(udp4(1), 0xaa, 0xbb, 0xcc) // what is behind the network packet
	tagged := serialise(&layers.Ethernet{SrcMAC: macA[:], DstMAC: macLAN[:], EthernetType: layers.EthernetTypeDot1Q},
		&layers.Dot1Q{VLANIdentifier: 7, Priority: 5, Type: layers.EthernetTypeIPv4}, ip4(a4, b4, layers.IPProtocolUDP), udp(5, 6), data(30))
	for _, hook := range []policy.Hook{policy.HookIn, policy.HookOut} {
		for _, last := range []policy.Rule{{Hook: hook, Action: policy.Accept, Protocol: policy.AnyProtocol}, dropRule(hook)} {
			m := newMirrorWorld(t, withRules(teeRule(hook, ifMirror), last))
			plain := newWorld(t, withRules(last))
			for name, f := range map[string][]byte{"udp4": udp4(100), "udp6": udp6(100), "padded": padded, "tagged": tagged} {
				for range 3 {
					out, want := m.send(0, f), plain.send(0, f)
					if got := m.copies(); len(got) != 1 || !bytes.Equal(got[0], f) {
						t.Errorf("%s, %s, %s: copies %x of %x", hook, last.Action, name, got, f)
					}
					if len(out[1]) != len(want[1]) || len(out[1]) == 1 && !bytes.Equal(out[1][0], want[1][0]) {
						t.Errorf("%s, %s, %s: left %x, want %x", hook, last.Action, name, out[1], want[1])
					}
				}
			}
			if mirrored, lost := m.counts(); mirrored != 12 || lost != 0 {
				t.Errorf("%d mirrored, %d lost", mirrored, lost)
			}
		}
	}
}

// A tag that the device took off is in the copy again, with its priority. Source: VQ-6
func TestTeeRestoresTag(t *testing.T) {
	m := newMirrorWorld(t, withRules(teeRule(policy.HookIn, ifMirror)))
	const tci = 3<<13 | 7
	m.rx[0].flags, m.rx[0].tci = packet.RxVLANStripped, tci
	f := udp4(40)
	m.send(0, f)
	want := bytes.Clone(f[:12])
	want = binary.BigEndian.AppendUint16(want, 0x8100)
	want = binary.BigEndian.AppendUint16(want, tci)
	want = append(want, f[12:]...)
	if got := m.copies(); len(got) != 1 || !bytes.Equal(got[0], want) {
		t.Errorf("copies %x, want %x", got, want)
	}
}

// What has no copy goes on all the same, and is counted: for want of a buffer, on its own
// port, and longer than the copy's port. Conservation is checked behind each.
// Source: VQ-6, FF-12
func TestTeeLoses(t *testing.T) {
	for name, c := range map[string]struct {
		to     uint16
		change func(m *mirrorWorld)
		lost   uint64
		copies int
	}{
		"nothing":     {ifMirror, func(*mirrorWorld) {}, 0, 4},
		"own port":    {ifLAN, func(*mirrorWorld) {}, 4, 0},
		"no buffers":  {ifMirror, func(m *mirrorWorld) { m.pool.limit = 6 }, 2, 2}, // 4 received, 2 more
		"MTU":         {ifMirror, func(m *mirrorWorld) { m.snapshot.Interfaces[ifMirror].MTU = 28 + 100; m.publish() }, 0, 4},
		"beyond MTU":  {ifMirror, func(m *mirrorWorld) { m.snapshot.Interfaces[ifMirror].MTU = 28 + 99; m.publish() }, 4, 0},
		"device full": {ifMirror, func(m *mirrorWorld) { m.mirror.room = 3 }, 0, 3},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMirrorWorld(t, withRules(teeRule(policy.HookIn, c.to)))
			m.send(0, udp4(100)) // the flow; its copy is not looked at
			m.copies()
			_, before := m.counts()
			c.change(m)
			out := m.send(0, udp4(100), udp4(100), udp4(100), udp4(100))
			_, lost := m.counts()
			if len(out[1]) != 4 || len(out[0]) != 0 || lost-before != c.lost || len(m.copies()) != c.copies {
				t.Errorf("%d packets left, %d came back, %d copies lost", len(out[1]), len(out[0]), lost-before)
			}
			if name == "device full" && m.drops(packet.TxFull) != 1 {
				t.Errorf("%d dropped", m.drops(packet.TxFull))
			}
		})
	}
}

// Each rule that matches makes its own copy; a copy may leave by the packet's own way out.
// Source: VQ-6
func TestTeeTwice(t *testing.T) {
	m := newMirrorWorld(t, withRules(teeRule(policy.HookIn, ifMirror), teeRule(policy.HookOut, ifMirror), teeRule(policy.HookOut, ifWAN)))
	f := udp4(9)
	out := m.send(0, f)
	if got := m.copies(); len(got) != 2 || len(out[1]) != 2 || !bytes.Equal(out[1][0], f) || bytes.Equal(out[1][1], f) {
		t.Errorf("%d copies, %x left", len(got), out[1])
	}
}

// One rule may copy to a listener and to a port. Source: VQ-6
func TestTeeToBoth(t *testing.T) {
	r := queueTo(policy.HookIn, policy.QueueTo{})
	r.Action, r.Mirror = policy.Tee, policy.Mirror{To: ifWAN}
	q := newQueueWorld(t, r)
	f := udp4(100)
	if out := q.send(0, f); len(out[1]) != 2 || !bytes.Equal(out[1][0], f) {
		t.Errorf("left %x", out[1])
	}
	if p := q.receive(1)[0]; !p.IsCopy() || !bytes.Equal(p.Data, f[14:]) {
		t.Errorf("%+v", p)
	}
}

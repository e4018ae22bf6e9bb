package pipeline

import (
	"testing"

	"ffwd/ct"
	"ffwd/packet"
	"ffwd/policy"

	"github.com/gopacket/gopacket/layers"
)

// CT-6: the first packets of one flow that meet before it is entered end as one flow, all
// of them delivered and counted in it, wherever they met; the cause is counted.
func TestFirstPacketsMeet(t *testing.T) {
	again := func(size int) []byte { // the same flow, from the other port
		return back(ip4(a4, b4, layers.IPProtocolUDP), udp(1000, 2000), data(size))
	}
	answer := back(ip4(b4, a4, layers.IPProtocolUDP), udp(2000, 1000), data(9))
	for _, c := range []struct {
		name     string
		ports    [2][][]byte
		left     [2]int
		packets  [2]uint64
		together uint64 // joined at confirmation
	}{
		{"in one burst", [2][][]byte{{udp4(1), udp4(2), udp4(3)}, nil}, [2]int{0, 3}, [2]uint64{3, 0}, 2},
		{"from two ports in one poll", [2][][]byte{{udp4(1)}, {again(2)}}, [2]int{0, 2}, [2]uint64{2, 0}, 0},
		{"question and answer in one poll", [2][][]byte{{udp4(1)}, {answer}}, [2]int{1, 1}, [2]uint64{1, 1}, 0},
		{"both", [2][][]byte{{udp4(1), udp4(2)}, {again(3), again(4), answer}}, [2]int{1, 4}, [2]uint64{4, 1}, 1},
	} {
		w := newWorld(t)
		for port, frames := range c.ports {
			w.rx[port].frames = frames
		}
		w.worker.poll(true)
		if len(w.tx[0].frames) != c.left[0] || len(w.tx[1].frames) != c.left[1] {
			t.Errorf("%s: %d and %d left, want %v", c.name, len(w.tx[0].frames), len(w.tx[1].frames), c.left)
		}
		_, flows := w.worker.Counters()
		if flows.Created != 1 || flows.Flows4 != 1 || flows.Joined != [packet.NumWaits]uint64{c.together} {
			t.Errorf("%s: %+v", c.name, flows)
		}
		if info := w.worker.Table().Info(onlyFlow(w), 0); info.Packets != c.packets {
			t.Errorf("%s: the flow counts %v packets, want %v", c.name, info.Packets, c.packets)
		}
	}
}

func onlyFlow(w *world) (flow uint32) {
	w.worker.Table().Walk(1, 10_000, func(i uint32) bool { flow = i; return true })
	return flow
}

// CT-6, VQ-3: a packet that waits for a verdict while another one, which need not wait,
// begins the flow, becomes one of it; so does its answer that comes before the verdict.
func TestFirstPacketMeetsItsFlowBehindTheQueue(t *testing.T) {
	fromLAN := queueTo(policy.HookIn, policy.QueueTo{})
	fromLAN.InPorts = []uint16{ifLAN}
	q := newQueueWorld(t, fromLAN)
	q.send(0, udp4(1), udp4(2))
	waiting := q.receive(2)
	overtaking := back(ip4(a4, b4, layers.IPProtocolUDP), udp(1000, 2000), data(3))
	answer := back(ip4(b4, a4, layers.IPProtocolUDP), udp(2000, 1000), data(4))
	if out := q.send(1, overtaking, answer); len(out[1]) != 1 || len(out[0]) != 1 {
		t.Fatalf("%d and %d left", len(out[0]), len(out[1]))
	}
	left := 0
	for i := range waiting {
		left += len(q.decide(waiting[i], accept)[1])
	}
	_, flows := q.worker.Counters()
	want := [packet.NumWaits]uint64{packet.WaitNone: 1, packet.WaitQueue: 2} // the answer met the question in its burst
	if left != 2 || flows.Created != 1 || flows.Flows4 != 1 || flows.Joined != want {
		t.Errorf("%d left, %+v", left, flows)
	}
	if info := q.worker.Table().Info(onlyFlow(q.world), 0); info.Packets != [2]uint64{ct.Original: 3, ct.Reply: 1} {
		t.Errorf("the flow counts %v packets", info.Packets)
	}
}

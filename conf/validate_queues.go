package conf

import "time"

// Bounds of queues.
const (
	maxQueueNumber  = 1<<16 - 1
	maxQueuePackets = 1 << 15   // a packet's place has 16 bits in its id
	maxQueueBytes   = 256 << 20 // of packets, and of the ring that shows them
	minQueueBytes   = maxMTU
	maxQueueWait    = time.Minute // a packet that waits longer is of no use to anybody
)

func (v *validator) queues() {
	v.queue = map[int]bool{}
	for i := range v.c.Queues {
		q, at := &v.c.Queues[i], element("queues", i)
		v.within(at+".number", q.Number, 0, maxQueueNumber, "")
		if v.queue[q.Number] {
			v.faults.add(at+".number", "%d is there twice", q.Number)
		}
		v.queue[q.Number] = true
		v.within(at+".max_packets", q.MaxPackets, 1, maxQueuePackets, "")
		v.within(at+".max_bytes", q.MaxBytes, minQueueBytes, maxQueueBytes, "")
		v.within(at+".copy_bytes", q.CopyBytes, 0, maxMTU, "")
		for _, wait := range []struct {
			name string
			d    Duration
		}{{"timeout", q.Timeout}, {"stall", q.Stall}} {
			switch d := time.Duration(wait.d); {
			case d < minTimeout:
				v.faults.add(at+"."+wait.name, "%s is below %s", wait.d, Duration(minTimeout))
			case d > maxQueueWait:
				v.faults.add(at+"."+wait.name, "%s is above %s", wait.d, Duration(maxQueueWait))
			case d%minTimeout != 0:
				v.faults.add(at+"."+wait.name, "%s is not in whole milliseconds", wait.d)
			}
		}
	}
	if len(v.c.Queues) > 0 && v.c.Control.QueueSocket == "" {
		v.faults.add("control.queue_socket", "is empty, so that nobody can listen to the queues")
	}
}

// ruleQueue checks what rules say of queues. Only those that are configured have room.
func (v *validator) ruleQueue(at string, r *Rule) {
	asks := r.Action == ActionQueue || r.Action == ActionDivert
	first, last, given := r.Queue.Bounds()
	switch {
	case !asks && r.Action != ActionTee && given:
		v.faults.add(at+".queue", "needs action queue, divert or tee; this is %s", r.Action)
	case asks && !given:
		v.faults.add(at+".queue", "is missing; want the number of one of [[queues]]")
	case r.Action == ActionTee && !given && r.TeePort == "":
		v.faults.add(at+".action", "tee copies to nobody; want tee_port, or queue with the number of one of [[queues]]")
	case given:
		for n := int(first); n <= int(last); n++ {
			if !v.queue[n] {
				v.faults.add(at+".queue", "%s is not in [[queues]]: add one with number = %d", r.Queue, n)
				break
			}
		}
	}
	v.teePort(at+".tee_port", r)
	for _, key := range []struct {
		name string
		set  bool
	}{{"bypass", r.Bypass}, {"fail_open", r.FailOpen}} {
		if key.set && !asks {
			v.faults.add(at+"."+key.name, "needs action queue or divert; this is %s", r.Action)
		}
	}
}

// teePort checks where copies leave. A sub-port would say that they get its tag, but they
// leave with those that they came with.
func (v *validator) teePort(at string, r *Rule) {
	if r.TeePort == "" {
		return
	}
	i, known := v.portIndex[r.TeePort]
	switch {
	case r.Action != ActionTee:
		v.faults.add(at, "needs action tee; this is %s", r.Action)
	case !known:
		v.faults.add(at, "%s", v.unknownPort(r.TeePort))
	case v.c.Ports[i].IsVLAN():
		v.faults.add(at, "%s is a VLAN sub-port; want %s: copies leave with the tags they came with", r.TeePort, v.c.Ports[i].Parent)
	}
}

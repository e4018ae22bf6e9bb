package bench

import (
	"fmt"
	"os"
	"path/filepath"

	"ffwd/capture"
)

// captures makes the files of a load.
type captures struct {
	dir  string
	seed uint64
}

// make writes one capture per worker. Both directions of a flow are in one file, and
// all files of a load together hold what the one file of a single worker would.
func (c captures) make(l load) (files []string, err error) {
	for queue := range l.workers {
		path := filepath.Join(c.dir, fmt.Sprintf("%d-flows-queue-%d-of-%d.pcap", l.flows, queue, l.workers))
		if err := c.write(path, l, queue); err != nil {
			c.remove(files)
			return nil, fmt.Errorf("bench: capture of %d flows: %w", l.flows, err)
		}
		files = append(files, path)
	}
	return files, nil
}

func (c captures) write(path string, l load, queue int) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = spec(l, queue, c.seed).Write(file)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		os.Remove(path)
	}
	return err
}

// spec describes the capture of one queue of a load.
func spec(l load, queue int, seed uint64) capture.Spec {
	s := capture.Spec{Flows: l.flows, Replies: l.replies, Seed: seed, SrcNet: clientNet, DstNet: serverNet,
		Destinations: l.destinations, FrameBytes: l.frameBytes, IPv6: l.ipv6}
	if l.ipv6 {
		s.SrcNet, s.DstNet = clientNet6, serverNet6
	}
	if l.tcp {
		s.Protocol = capture.TCP
	}
	if l.hidden {
		s.Hidden = sinkAddress.Addr()
	}
	if l.workers > 1 {
		s.Owner = func(t capture.Tuple) bool { return queueOf(t, l.workers) == queue }
	}
	return s
}

// queueOf spreads flows over queues by the ports of their first packet.
func queueOf(t capture.Tuple, queues int) int {
	mixed := (uint32(t.Src.Port())<<16 | uint32(t.Dst.Port())) * 0x9e3779b1 // 2^32 by the golden ratio
	return int(mixed>>16) % queues
}

func (c captures) remove(files []string) {
	for _, f := range files {
		os.Remove(f) // the directory goes at the end in any case
	}
}

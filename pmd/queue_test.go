package pmd

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"ffwd/bindings"
	"ffwd/packet"
)

const burst = 64

// mbufArray returns an array of mbufs outside Go's heap, as workers use.
func mbufArray(t testing.TB, n int) (unsafe.Pointer, []*packet.Mbuf) {
	array := bindings.NewMbufArray(n)
	t.Cleanup(func() { bindings.FreeMbufArray(array) })
	return array, unsafe.Slice((**packet.Mbuf)(array), n)
}

func frameOf(m *packet.Mbuf) []byte { return unsafe.Slice((*byte)(m.Data()), int(m.DataLen)) }

// FF-1: what a worker takes from one port and sends on another arrives byte for byte.
func TestCaptureInToCaptureOut(t *testing.T) {
	checkPools(t)
	frames := someFrames(1000, 60, 9014)
	out := filepath.Join(t.TempDir(), "out.pcap")
	in := openPort(t, PortConfig{Name: "in", MTUBytes: 9000, Device: "net_pcap0,rx_pcap=" + writeCapture(t, frames)})
	to := openPort(t, PortConfig{Name: "out", MTUBytes: 9000, Device: "net_pcap1,rx_pcap=" + writeCapture(t, nil) + ",tx_pcap=" + out})

	array, mbufs := mbufArray(t, burst)
	seen := 0
	for {
		n := in.RxQueues()[0].Rx(array, burst)
		if n == 0 {
			break
		}
		for _, m := range mbufs[:n] {
			if m.NbSegs != 1 || int(m.PktLen) != len(frames[seen]) || !bytes.Equal(frameOf(m), frames[seen]) {
				t.Fatalf("frame %d: %d segments, %d bytes, want %d bytes", seen, m.NbSegs, m.PktLen, len(frames[seen]))
			}
			if m.Port != in.ID() {
				t.Fatalf("frame %d: port %d, want %d", seen, m.Port, in.ID())
			}
			seen++
		}
		if sent := to.TxQueues()[0].Tx(array, n); sent != n {
			t.Fatalf("sent %d of %d", sent, n)
		}
	}
	if seen != len(frames) {
		t.Fatalf("received %d frames, want %d", seen, len(frames))
	}
	stats, err := to.Stats()
	if err != nil || stats.TxPackets != uint64(len(frames)) {
		t.Errorf("stats: %+v, %v; want %d sent", stats, err, len(frames))
	}
	xstats, err := in.XStats()
	if err != nil || xstats["rx_good_packets"] != uint64(len(frames)) {
		t.Errorf("xstats: rx_good_packets %d, %v; want %d", xstats["rx_good_packets"], err, len(frames))
	}
	if err := to.Close(); err != nil { // flushes the file
		t.Fatal(err)
	}
	for i, frame := range readCapture(t, out) {
		if !bytes.Equal(frame, frames[i]) {
			t.Fatalf("frame %d differs in the capture", i)
		}
	}
}

// A frame longer than an mbuf arrives chained; the worker never sees it.
func TestOversizedFrameIsCounted(t *testing.T) {
	checkPools(t)
	room := testRuntime.Pools()[0].FrameBytes()
	frames := append(someFrames(3, room-1, room+1), someFrames(1, 60, 60)...)
	p := openPort(t, PortConfig{Name: "in", Device: "net_pcap0,rx_pcap=" + writeCapture(t, frames)})
	array, mbufs := mbufArray(t, burst)
	n := p.RxQueues()[0].Rx(array, burst)
	if n != 3 {
		t.Fatalf("received %d frames, want 3", n)
	}
	for i, want := range [][]byte{frames[0], frames[1], frames[3]} {
		if !bytes.Equal(frameOf(mbufs[i]), want) {
			t.Errorf("frame %d has %d bytes, want %d", i, mbufs[i].DataLen, len(want))
		}
	}
	testRuntime.Pools()[0].Free(array, n)
	if stats, err := p.Stats(); err != nil || stats.RxOversized != 1 {
		t.Errorf("rx oversized %d, %v; want 1", stats.RxOversized, err)
	}
}

// A frame in pieces that fits one mbuf arrives in one.
func TestChainedFrameIsGathered(t *testing.T) {
	checkPools(t)
	p := openPort(t, PortConfig{Name: "ring", Device: "net_ring0"})
	array, mbufs := mbufArray(t, 3)
	if !testRuntime.Pool(0).Alloc(array, 3) {
		t.Fatal("pool is empty")
	}
	for i, m := range mbufs {
		m.DataLen, m.PktLen = 100, 100
		for j := range frameOf(m) {
			frameOf(m)[j] = byte(100*i + j)
		}
	}
	want := slices.Concat(frameOf(mbufs[0]), frameOf(mbufs[2]))
	if !bindings.Chain(unsafe.Pointer(mbufs[0]), unsafe.Pointer(mbufs[2])) {
		t.Fatal("no chain")
	}
	if n := p.TxQueues()[0].Tx(array, 2); n != 2 {
		t.Fatalf("sent %d of 2", n)
	}
	if n := p.RxQueues()[0].Rx(array, 3); n != 2 {
		t.Fatalf("received %d of 2", n)
	}
	if m := mbufs[0]; m.NbSegs != 1 || m.PktLen != 200 || !bytes.Equal(frameOf(m), want) {
		t.Errorf("%d segments, %d bytes", m.NbSegs, m.PktLen)
	}
	testRuntime.Pool(0).Free(array, 2)
	if stats, err := p.Stats(); err != nil || stats.RxLinearized != 1 || stats.RxOversized != 0 {
		t.Errorf("%d gathered, %d oversized, %v; want 1, 0", stats.RxLinearized, stats.RxOversized, err)
	}
}

// A frame in a buffer that is not the mbuf's own, as vhost and mlx5 can give, is copied:
// the worker may write in front of it and forget its flags.
func TestAttachedFrameIsCopied(t *testing.T) {
	checkPools(t)
	p := openPort(t, PortConfig{Name: "ring", Device: "net_ring0"})
	array, mbufs := mbufArray(t, 2)
	if !testRuntime.Pool(0).Alloc(array, 2) {
		t.Fatal("pool is empty")
	}
	owner, attached := mbufs[0], mbufs[1]
	owner.DataLen, owner.PktLen = 100, 100
	copy(frameOf(owner), "a frame")
	want := slices.Clone(frameOf(owner))
	bindings.Attach(unsafe.Pointer(attached), unsafe.Pointer(owner))
	if n := p.TxQueues()[0].Tx(array, 2); n != 2 {
		t.Fatalf("sent %d of 2", n)
	}
	if n := p.RxQueues()[0].Rx(array, 2); n != 2 {
		t.Fatalf("received %d of 2", n)
	}
	if mbufs[0].BufAddr == mbufs[1].BufAddr {
		t.Error("two mbufs in one buffer")
	}
	for i, m := range mbufs {
		if m.RefCnt != 1 || !bytes.Equal(frameOf(m), want) {
			t.Errorf("mbuf %d: %d references, %d bytes", i, m.RefCnt, m.DataLen)
		}
		m.OlFlags = 0 // as the pipeline does
	}
	testRuntime.Pool(0).Free(array, 2)
}

func TestPoolAllocIsAllOrNothing(t *testing.T) {
	checkPools(t)
	pool := testRuntime.Pool(0)
	array, mbufs := mbufArray(t, pool.Size()+1)
	if pool.Alloc(array, pool.Size()+1) {
		t.Fatal("more mbufs than the pool has")
	}
	if pool.Available() != pool.Size() {
		t.Fatal("a refused allocation kept mbufs")
	}
	if !pool.Alloc(array, pool.Size()) {
		t.Fatal("the pool does not give all it has")
	}
	for _, m := range mbufs[:pool.Size()] {
		if m.DataOff != bindings.Headroom || m.DataLen != 0 || m.PktLen != 0 || m.NbSegs != 1 || m.RefCnt != 1 || m.OlFlags != 0 {
			t.Fatalf("not fresh: %+v", m)
		}
		m.DataLen, m.PktLen, m.OlFlags = 100, 100, packet.RxIPCksumBad
	}
	pool.Free(array, pool.Size())
}

// CT-1, FF-1: every worker has a way out, also of a device with fewer queues.
func TestTxQueuesAreSharedWhereTheDeviceHasTooFew(t *testing.T) {
	tests := []struct {
		device               string
		rxWanted, txWanted   int
		rx, tx, sharedQueues int
	}{
		{"net_pcap0,rx_pcap=IN", 3, 3, 1, 3, 3},
		{"net_pcap0,rx_pcap=IN,rx_pcap=IN", 3, 3, 2, 3, 2},
		{"net_pcap0,rx_pcap=IN,tx_pcap=OUT,tx_pcap=OUT", 1, 5, 1, 5, 5},
		{"net_null0", 2, 4, 2, 4, 0},
		{"net_ring0", 1, 2, 1, 2, 0},
		{"net_ring0", 4, 64, 4, 64, 64},
	}
	// Not in the subtests: their directories' names have commas, which no device
	// argument may have.
	files := strings.NewReplacer("IN", writeCapture(t, someFrames(1, 60, 60)), "OUT", filepath.Join(t.TempDir(), "out.pcap"))
	for _, tt := range tests {
		t.Run(tt.device, func(t *testing.T) {
			checkPools(t)
			device := files.Replace(tt.device)
			p := openPort(t, PortConfig{Name: "p", Device: device, RxQueues: tt.rxWanted, TxQueues: tt.txWanted})
			shared := 0
			for i, q := range p.TxQueues() {
				if q.Index() != i || q.Port() != p {
					t.Errorf("tx queue %d is %d of %s", i, q.Index(), q.Port().Name())
				}
				if q.Shared() {
					shared++
				}
			}
			if len(p.RxQueues()) != tt.rx || len(p.TxQueues()) != tt.tx || shared != tt.sharedQueues {
				t.Errorf("%d rx, %d tx, %d of them shared; want %d, %d, %d",
					len(p.RxQueues()), len(p.TxQueues()), shared, tt.rx, tt.tx, tt.sharedQueues)
			}
			if p.SymmetricRSS() {
				t.Error("a software device claims symmetric RSS")
			}
		})
	}
}

// Frames that wait in a ring at close are not lost to the pool.
func TestRingIsDrainedAtStop(t *testing.T) {
	checkPools(t)
	p := openPort(t, PortConfig{Name: "ring", Device: "net_ring0", RxQueues: 2, TxQueues: 2})
	array, _ := mbufArray(t, burst)
	for _, q := range p.TxQueues() {
		if !testRuntime.Pool(0).Alloc(array, burst) {
			t.Fatal("pool is empty")
		}
		if n := q.Tx(array, burst); n != burst {
			t.Fatalf("sent %d of %d", n, burst)
		}
	}
	if n := p.RxQueues()[0].Rx(array, burst); n != burst {
		t.Fatalf("received %d of %d", n, burst)
	}
	testRuntime.Pool(0).Free(array, burst)
}

// A burst that the device takes in part leaves the rest to the caller.
func TestTxReturnsWhatWasNotSent(t *testing.T) {
	checkPools(t)
	p := openPort(t, PortConfig{Name: "ring", Device: "net_ring0"})
	const more = 1100 // the driver's rings hold 1023
	array, _ := mbufArray(t, more)
	if !testRuntime.Pool(0).Alloc(array, more) {
		t.Fatal("pool is empty")
	}
	sent := p.TxQueues()[0].Tx(array, more)
	if sent <= 0 || sent >= more {
		t.Fatalf("sent %d of %d, want a part", sent, more)
	}
	testRuntime.Pool(0).Free(unsafe.Add(array, sent*8), more-sent)
}

// The user may give a device fewer queues than it has; the workers share them.
func TestDeviceTxQueuesAreBounded(t *testing.T) {
	for bound, shared := range map[int]bool{0: false, 1: true, 2: false, 3: false} {
		checkPools(t)
		p := openPort(t, PortConfig{Name: "null", Device: "net_null0", RxQueues: 2, TxQueues: 2, DeviceTxQueues: bound})
		if queues := p.TxQueues(); len(queues) != 2 || queues[0].Shared() != shared || queues[1].Shared() != shared {
			t.Errorf("bound %d: %d tx queues, shared: want %t", bound, len(queues), shared)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

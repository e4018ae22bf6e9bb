package pmd

import (
	"runtime"
	"strconv"
	"testing"
)

// benchmarkFrame is a plausible packet: 64 bytes on the wire, IPv4 and UDP.
func benchmarkFrame() []byte {
	return append([]byte{
		2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0,
		0x45, 0, 0, 46, 0, 1, 0, 0, 64, 17, 0x66, 0xbd, 10, 0, 0, 1, 10, 0, 0, 2,
		4, 0, 0, 53, 0, 26, 0, 0,
	}, make([]byte, 18)...)
}

// The I/O floor: receive a burst, send it, nothing between. net_pcap copies a packet from
// memory into a fresh mbuf, and frees what it is to send. Beside it, for comparison:
//
//	dpdk-testpmd ... --vdev net_pcap0,rx_pcap=in.pcap,infinite_rx=1 -- --forward-mode=io --burst=64
func BenchmarkReceiveAndSend(b *testing.B) {
	in := writeCapture(b, [][]byte{benchmarkFrame()}) // not below: no '=' in a device's path
	for _, size := range []int{1, 8, 32, 64, 256} {
		b.Run("burst="+strconv.Itoa(size), func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if err := testRuntime.RegisterThread(); err != nil {
				b.Fatal(err)
			}
			defer testRuntime.UnregisterThread()
			p := openPort(b, PortConfig{Name: "loop", Device: "net_pcap0,infinite_rx=1,rx_pcap=" + in})
			array, _ := mbufArray(b, size)
			rx, tx := p.RxQueues()[0], p.TxQueues()[0]
			packets := 0
			for b.Loop() {
				n := rx.Rx(array, size)
				if tx.Tx(array, n) != n {
					b.Fatal("not all sent")
				}
				packets += n
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(packets), "ns/pkt")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// Workers' per-thread mempool cache against the shared ring, which is what a thread that
// is not registered gets.
func BenchmarkAllocAndFree(b *testing.B) {
	for _, registered := range []bool{true, false} {
		b.Run("registered="+strconv.FormatBool(registered), func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if registered {
				if err := testRuntime.RegisterThread(); err != nil {
					b.Fatal(err)
				}
				defer testRuntime.UnregisterThread()
			}
			pool := testRuntime.Pool(0)
			array, _ := mbufArray(b, burst)
			for b.Loop() {
				if !pool.Alloc(array, burst) {
					b.Fatal("pool is empty")
				}
				pool.Free(array, burst)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*burst), "ns/pkt")
			b.ReportMetric(0, "ns/op")
		})
	}
}

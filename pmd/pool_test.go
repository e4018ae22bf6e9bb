package pmd

import (
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"ffwd/bindings"
)

// A pool that is closed while somebody holds mbufs says how many.
func TestMissingMbufsAreReported(t *testing.T) {
	mempool, err := bindings.NewMempool("leaky", 63, 8, dataRoomFor(1500), bindings.AnySocket)
	if err != nil {
		t.Fatal(err)
	}
	pool := &Pool{mempool: mempool}
	array, _ := mbufArray(t, 3)
	if !pool.Alloc(array, 3) {
		t.Fatal("pool is empty")
	}
	wantRefusal(t, pool.close(), nil, "mempool leaky: 3 of 63 mbufs missing")
}

func TestMempoolRefuses(t *testing.T) {
	tests := []struct {
		name               string
		mempool            string
		n, cache, dataRoom int
		words              string
	}{
		{"no mbufs", "refused", 0, 0, 2176, "refused"},
		{"negative mbufs", "refused", -1, 0, 2176, "refused"},
		{"data room below the headroom", "refused", 63, 0, bindings.Headroom - 1, "data room"},
		{"data room above 16 bits", "refused", 63, 0, 65536, "data room"},
		{"cache above 2/3", "refused", 63, 60, 2176, "refused"},
		{"a name that is taken", "mbufs", 63, 0, 2176, "mbufs"},
		{"a name that is too long", strings.Repeat("x", 64), 63, 0, 2176, "xxx"},
		{"more than the memory", "refused", 1 << 20, 0, 2176, "refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := bindings.NewMempool(tt.mempool, tt.n, tt.cache, tt.dataRoom, bindings.AnySocket)
			wantRefusal(t, err, nil, "create mempool", tt.words)
		})
	}
}

func TestDataRoom(t *testing.T) {
	tests := []struct{ mtuBytes, want int }{
		{68, 128 + 2048}, // several drivers want 2 KiB
		{1500, 128 + 2048},
		{2048 - 128 - 26, 128 + 2048},
		{2048 - 128 - 25, 128 + 3072},
		{9000, 128 + 9216},
		{MaxMTUBytes, 128 + 63*1024},
	}
	for _, tt := range tests {
		if got := dataRoomFor(tt.mtuBytes); got != tt.want {
			t.Errorf("mtu %d: data room %d, want %d", tt.mtuBytes, got, tt.want)
		}
	}
}

// FF-12: workers that share a device queue lose and double nothing.
func TestSharedTxQueueUnderLoad(t *testing.T) {
	checkPools(t)
	const workers, bursts = 4, 2000
	p := openPort(t, PortConfig{Name: "out", Device: "net_pcap0,rx_pcap=" + writeCapture(t, someFrames(1, 60, 60)), TxQueues: workers})
	var wg sync.WaitGroup
	for _, q := range p.TxQueues() {
		array, _ := mbufArray(t, burst)
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if err := testRuntime.RegisterThread(); err != nil {
				t.Error(err)
				return
			}
			defer testRuntime.UnregisterThread()
			for range bursts {
				if !testRuntime.Pool(0).Alloc(array, burst) {
					t.Error("pool is empty")
					return
				}
				sent := q.Tx(array, burst)
				testRuntime.Pool(0).Free(unsafe.Add(array, sent*8), burst-sent)
				if sent != burst {
					t.Errorf("sent %d of %d", sent, burst)
				}
			}
		})
	}
	wg.Wait()
	if stats, err := p.Stats(); err != nil || stats.TxErrors+stats.TxPackets != workers*bursts*burst {
		t.Errorf("%+v, %v; want %d sent", stats, err, workers*bursts*burst)
	}
}

func TestCacheSizeDefaults(t *testing.T) {
	for _, tc := range []struct{ mbufs, size, want int }{
		{0, 0, DefaultPoolCache}, {300, 0, 200}, {0, NoCache, 0}, {0, 32, 32},
	} {
		o, err := Options{Mbufs: tc.mbufs, CacheSize: tc.size}.withDefaults()
		if err != nil || o.CacheSize != tc.want {
			t.Errorf("cache of %d for %d mbufs: %d, %v; want %d", tc.size, tc.mbufs, o.CacheSize, err, tc.want)
		}
	}
}

package control

import (
	"testing"

	"ffwd/conf"
	"ffwd/pipeline"
)

// A pool holds what lies in every ring and in every worker's hands at once, so that
// none runs dry.
func TestPoolHoldsEverything(t *testing.T) {
	c := conf.Config{
		Workers: conf.Workers{Cores: []int{0, 1, 2, 3}, Burst: 64, HandoffRing: 4096},
		Pool:    conf.Pool{Cache: 256},
		Ports: []conf.Port{
			{Name: "a", MTU: 9000, RxDescriptors: 2048, TxDescriptors: 1024},
			{Name: "b", MTU: 1500, RxDescriptors: 2048, TxDescriptors: 1024, RxQueues: 2},
			{Name: "a.5", Parent: "a", VLAN: 5, MTU: 9000},
		},
		Queues: []conf.Queue{{MaxPackets: 10_000}},
	}
	const workers = 4
	least := 4*(2048+1024) + 2*2048 + 4*1024 + // descriptors
		workers*3*4096 + workers*10_000 + // rings and verdict queues
		workers*(pipeline.MbufsInHand(2, 64, 9000)+256)
	if n := mbufsFor(&c); n < least || n > 4*least || n&(n+1) != 0 {
		t.Errorf("a pool of %d mbufs, want at least %d, of the form 2^k-1", n, least)
	}
}

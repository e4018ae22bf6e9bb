package pmd

import (
	"math/bits"
	"slices"
	"testing"

	"ffwd/bindings"
)

// A device is believed to keep flows together only with our key, which is symmetric: one
// that refused it hashes by its own. net_null stands in for a NIC. CT-1
func TestSymmetricRSSNeedsOurKey(t *testing.T) {
	checkPools(t)
	p := openPort(t, PortConfig{Name: "p", Device: "net_null0", RxQueues: 2, TxQueues: 2})
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	nic := p.info
	nic.Bus = "pci"
	sent, _, err := p.id.RSS(len(p.rssKey)) // it has a key of its own; as if that had been ours
	if err != nil {
		t.Fatal(err)
	}
	if p.rssKey = sent; !p.verifySymmetricRSS(nic) {
		t.Error("a device with our key, types and table is not believed")
	}
	for name, key := range map[string][]byte{"none": nil, "another": slices.Concat(sent[:39], []byte{sent[39] ^ 1})} {
		if p.rssKey = key; p.verifySymmetricRSS(nic) {
			t.Errorf("a device is believed whose key is not what was sent: %s", name)
		}
	}
	p.rssKey = sent
	for name, change := range map[string]func(*bindings.DeviceInfo){
		"software": func(i *bindings.DeviceInfo) { i.Bus = "vdev" },
		"no table": func(i *bindings.DeviceInfo) { i.RETASize = 0 },
	} {
		info := nic
		if change(&info); p.verifySymmetricRSS(info) {
			t.Errorf("a device is believed: %s", name)
		}
	}
}

// The table that the switch steers by has the queues in turn, and ports are hashed. CT-1
func TestKeepsFlows(t *testing.T) {
	for _, tt := range []struct {
		name  string
		types uint64
		table []uint16
		want  bool
	}{
		{"in turn", bindings.RSSIPTCPUDP, []uint16{0, 1, 2, 0, 1, 2, 0, 1}, true},
		{"the last entry", bindings.RSSIPTCPUDP, []uint16{0, 1, 2, 0, 1, 2, 0, 2}, false},
		{"the first entry", bindings.RSSIPTCPUDP, []uint16{1, 1, 2, 0, 1, 2, 0, 1}, false},
		{"without one kind of flow", bindings.RSSIPTCPUDP &^ (1 << bits.TrailingZeros64(bindings.RSSFlowTypes)), []uint16{0, 1, 2}, false},
	} {
		if got := keepsFlows(tt.types, tt.table, 3); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}

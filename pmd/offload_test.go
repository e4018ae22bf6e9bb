package pmd

import (
	"testing"

	"ffwd/bindings"
)

// CT-2, FF-2: what devices are asked to verify.
func TestOffloadsAskedFor(t *testing.T) {
	const ip, l4 = bindings.RxOffloadIPv4Cksum, bindings.RxOffloadUDPCksum | bindings.RxOffloadTCPCksum
	for _, c := range []struct {
		bus, driver string
		can         uint64
		checksums   bool
		want        uint64
	}{
		{"pci", "net_ixgbe", ip | l4, false, ip},
		{"pci", "net_ixgbe", ip | l4, true, ip | l4},
		{"pci", "net_ixgbe", ip | 1<<40, true, ip},
		{"pci", "net_e1000", 0, true, 0},
		{"pci", "net_virtio", l4, true, 0},
		{"vdev", "net_tap", ip | l4, true, 0},
	} {
		if got := rxOffloads(bindings.DeviceInfo{Bus: c.bus, Driver: c.driver, RxOffloads: c.can}, c.checksums); got != c.want {
			t.Errorf("%+v: %x", c, got)
		}
	}
}

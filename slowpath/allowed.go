package slowpath

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Allowed says why this process may not make twins, or nil if it may.
func Allowed() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("capabilities cannot be read: %w", err)
	}
	if sets[unix.CAP_NET_ADMIN/32].Effective&(1<<(unix.CAP_NET_ADMIN%32)) == 0 {
		return errors.New("the process has not CAP_NET_ADMIN: run it as root, or give it the capability")
	}
	file, err := os.OpenFile(tunDevice, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("%w: load the module tun, and give a container the device", err)
	}
	return file.Close()
}

package slowpath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const sysctlDir = "/proc/sys/net"

// twinSysctls make a twin that of a router's port, whatever the namespace's
// defaults are. What RFC 1812 asks of a forwarding router is done by the fast
// path; here stands what the kernel needs to do its part.
var twinSysctls = [...]struct{ family, key, value string }{
	{"ipv4", "forwarding", "1"},     // packets with options are the kernel's to forward
	{"ipv4", "rp_filter", "0"},      // packets come by the twin of their port, and may leave by another
	{"ipv4", "send_redirects", "0"}, // the fast path says who redirects
	{"ipv6", "disable_ipv6", "0"},   // a namespace may have it off for the interfaces under us
	{"ipv6", "accept_dad", "0"},     // our addresses answer at once
	{"ipv6", "accept_ra", "0"},      // a router announces itself, and believes no other
	{"ipv6", "forwarding", "1"},
	{"ipv6", "keep_addr_on_down", "1"}, // somebody may set a twin down and up again
}

// configureSysctls sets up an interface of the calling thread's namespace. A
// kernel without IPv6 is left without.
func configureSysctls(name string) error {
	for _, s := range twinSysctls {
		err := setSysctl(filepath.Join(sysctlDir, s.family, "conf", name, s.key), s.value)
		if s.family == "ipv6" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// setSysctl writes a value unless it is there already, because /proc/sys may be
// read-only in a container that was set up with care.
func setSysctl(path, value string) error {
	now, err := os.ReadFile(path)
	if err == nil && strings.TrimSpace(string(now)) == value {
		return nil
	}
	if err == nil {
		err = os.WriteFile(path, []byte(value), 0)
	}
	if err != nil {
		return fmt.Errorf("set %s to %s: %w", path, value, err)
	}
	return nil
}

// silentSysctls keep the kernel from answering on an interface, though the twins'
// addresses are in its namespace. It sees the frames too where a packet socket
// reads them, and would take each one a second time.
var silentSysctls = [...]struct{ family, key, value string }{
	{"ipv4", "rp_filter", "1"},  // strict: no route leads back by this interface, so nobody is believed
	{"ipv4", "arp_ignore", "8"}, // for no address
	{"ipv6", "disable_ipv6", "1"},
}

// Silence keeps the kernel of the calling thread's namespace from taking what
// comes in by an interface, which a port stands on. restore puts back what was.
func Silence(name string) (restore func() error, err error) {
	var undo []func() error
	restore = func() error {
		var errs []error
		for _, f := range slices.Backward(undo) {
			errs = append(errs, f())
		}
		return errors.Join(errs...)
	}
	for _, s := range silentSysctls {
		path := filepath.Join(sysctlDir, s.family, "conf", name, s.key)
		before, err := os.ReadFile(path)
		if s.family == "ipv6" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = setSysctl(path, s.value)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("silence %s: %w", name, err), restore())
		}
		undo = append(undo, func() error {
			if err := setSysctl(path, strings.TrimSpace(string(before))); !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil // the interface is gone
		})
	}
	return restore, nil
}

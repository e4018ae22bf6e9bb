package slowpath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

package pmd

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"ffwd/bindings"
)

// device is a parsed device string: a name, DPDK's arguments, and what is known of
// its driver.
type device struct {
	name   string // "net_pcap0", "0000:03:00.0"
	args   []string
	pci    bool
	driver driver
}

// pciAddress is domain:bus:device.function; DPDK and lspci let the domain 0000 go.
var pciAddress = regexp.MustCompile(`^(?:[0-9a-fA-F]{4}:)?[0-9a-fA-F]{2}:[01][0-9a-fA-F]\.[0-7]$`)

func parseDevice(text string) (device, error) {
	if text == "" {
		return device{}, errors.New("no device given: name a PCI address (0000:03:00.0) or a software device (net_pcap0,rx_pcap=in.pcap)")
	}
	if i := strings.IndexFunc(text, unicode.IsControl); i >= 0 {
		return device{}, fmt.Errorf("device %q contains a control character", text)
	}
	words := strings.Split(text, ",")
	d := device{name: words[0], args: words[1:]}
	if d.pci = pciAddress.MatchString(d.name); d.pci {
		if strings.Count(d.name, ":") == 1 {
			d.name = "0000:" + d.name
		}
		d.name = strings.ToLower(d.name)
		return d, nil
	}
	d.driver = driverOf(d.name)
	return d, nil
}

// String gives the device as DPDK takes it.
func (d device) String() string { return strings.Join(append([]string{d.name}, d.args...), ",") }

// kernelInterface returns the kernel interface that the device stands on, or "".
func (d device) kernelInterface() string {
	if !d.driver.kernelInterface {
		return ""
	}
	name, _ := argValue(d.args, "iface")
	return name
}

// check finds the faults that DPDK reports in a roundabout way, or not at all.
func (d device) check(hugePages bool) error {
	if d.pci {
		return checkPCI("/sys/bus/pci", d.name, hugePages)
	}
	if d.driver.kernelInterface {
		name := d.kernelInterface()
		if name == "" {
			return fmt.Errorf("%s needs iface=, a kernel interface", d.driver.name)
		}
		if _, err := net.InterfaceByName(name); err != nil {
			return refusal{fmt.Sprintf("interface %s does not exist in this network namespace: see 'ip link'", name), fs.ErrNotExist}
		}
	}
	for _, arg := range d.args {
		if strings.Count(arg, "=") > 1 {
			return fmt.Errorf("argument %q: DPDK takes no second '=', not even in a path", arg)
		}
		if file, ok := strings.CutPrefix(arg, "rx_pcap="); ok {
			if _, err := os.Stat(file); err != nil {
				return fmt.Errorf("capture file: %w", err)
			}
		}
	}
	return d.checkSocket()
}

// checkFrames says whether what net_null makes up fits an mbuf: it does not look. The size
// is read as the driver reads it.
func (d device) checkFrames(most int) error {
	text, ok := argValue(d.args, "size")
	if d.driver.name != "net_null" || !ok {
		return nil
	}
	if size, err := strconv.ParseUint(text, 0, 64); err != nil || size < 1 || size > uint64(most) {
		return fmt.Errorf("size=%s is not within 1 and %d, the bytes of an mbuf: the largest mtu of all ports decides that", text, most)
	}
	return nil
}

// hint says what to look at when a probe made no port.
func (d device) hint() string {
	if d.driver.name == "" {
		return "is the driver for this device installed?"
	}
	return fmt.Sprintf("%s takes %s", d.driver.name, strings.Join(d.driver.args, ", "))
}

// checkPCI says whether the device exists and is bound to a driver that DPDK can use.
// root is /sys/bus/pci, a parameter so that tests need no NIC.
//
// Without an IOMMU between, the device is told physical addresses. Of memory that is not in
// huge pages DPDK tells virtual ones, and the device writes there, whoever's that is.
func checkPCI(root, address string, hugePages bool) error {
	dir := filepath.Join(root, "devices", address)
	if _, err := os.Stat(dir); err != nil {
		return refusal{fmt.Sprintf("no PCI device %s: see 'dpdk-devbind.py --status-dev net'", address), fs.ErrNotExist}
	}
	class, _ := os.ReadFile(filepath.Join(dir, "class"))
	if !strings.HasPrefix(string(class), "0x02") && len(class) > 0 {
		return fmt.Errorf("PCI device %s is no network device (class %s)", address, strings.TrimSpace(string(class)))
	}
	target, err := os.Readlink(filepath.Join(dir, "driver"))
	if err != nil {
		return fmt.Errorf("PCI device %s is bound to no driver: 'dpdk-devbind.py -b vfio-pci %s'", address, address)
	}
	group, _ := os.ReadFile(filepath.Join(dir, "iommu_group", "name"))
	physical := strings.TrimSpace(string(group)) == "vfio-noiommu"
	switch name := filepath.Base(target); name {
	case "uio_pci_generic", "igb_uio":
		physical = true
		fallthrough
	case "vfio-pci", "mlx4_core", "mlx5_core", "mana", "bnxt_en":
		if physical && !hugePages {
			return fmt.Errorf("PCI device %s is bound to %s without an IOMMU, which takes huge pages: reserve some (/sys/kernel/mm/hugepages/*/nr_hugepages), or boot with an IOMMU and bind it to vfio-pci", address, name)
		}
		return nil
	default:
		return fmt.Errorf("PCI device %s is in use by kernel driver %s: 'ip link set dev ... down' and 'dpdk-devbind.py -b vfio-pci %s'", address, name, address)
	}
}

// refusal is an error in words for the user. It unwraps to its cause, whose own text
// would only confuse: drivers answer "Operation not supported" to a typo.
type refusal struct {
	text  string
	cause error
}

func (r refusal) Error() string { return r.text }
func (r refusal) Unwrap() error { return r.cause }

// explain turns a failed probe into what the user can do about it.
func (d device) explain(err error) error {
	failed, ok := errors.AsType[*bindings.Error](err)
	if !ok {
		return err
	}
	if key, found := d.driver.unknownArg(d.args); found {
		return refusal{fmt.Sprintf("unknown argument %q: %s", key, d.hint()), failed}
	}
	switch {
	case d.pci && strings.Contains(failed.Reason, "error 12 "): // ENOMEM, which the kernel gives beyond RLIMIT_MEMLOCK
		return refusal{failed.Reason + ": the memory must be locked, allow it with 'ulimit -l unlimited' (LimitMEMLOCK=infinity in systemd)", failed}
	case d.pci && (errors.Is(err, fs.ErrPermission) || strings.Contains(failed.Reason, "Permission denied")):
		return refusal{failed.Reason + ": run as root, or give this user the device's file in /dev/vfio and 'ulimit -l unlimited'", failed}
	case strings.Contains(failed.Reason, "failed to parse device"):
		return refusal{fmt.Sprintf("%q is neither a PCI address nor a software device: try one of %s", d.name, driverNames()), failed}
	case errors.Is(err, fs.ErrPermission) || strings.Contains(failed.Reason, "not permitted") || failed.Errno == 0 && os.Geteuid() != 0:
		return refusal{failed.Reason + ": run as root or with CAP_NET_ADMIN and CAP_NET_RAW", failed}
	case strings.HasPrefix(failed.Reason, "Driver cannot attach"):
		return refusal{"the driver does not accept the arguments: " + d.hint(), failed}
	case failed.Reason != "" && len(d.args) == 0 && d.driver.name != "":
		return refusal{failed.Reason + ": " + d.hint(), failed}
	case failed.Reason != "":
		return refusal{failed.Reason, failed}
	}
	return failed.Errno
}

func driverNames() string {
	names := make([]string, len(drivers))
	for i, d := range drivers {
		names[i] = d.name
	}
	return strings.Join(names, ", ")
}

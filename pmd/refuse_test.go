package pmd

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ffwd/bindings"
)

// wantRefusal checks an error: one line that contains every word, and of a kind.
func wantRefusal(t *testing.T, err error, is error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("accepted")
	}
	text := err.Error()
	t.Log(text)
	if strings.ContainsAny(text, "\r\n") {
		t.Errorf("more than one line: %q", text)
	}
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%q does not say %q", text, word)
		}
	}
	if is != nil && !errors.Is(err, is) {
		t.Errorf("%q is not %q", text, is)
	}
}

// Every refusal names the port and what is wrong, leaves nothing behind, and does not
// stop the next, right attempt.
func TestOpenRefuses(t *testing.T) {
	good := "net_pcap0,rx_pcap=" + writeCapture(t, someFrames(1, 60, 60))
	tests := []struct {
		name   string
		config PortConfig
		is     error
		words  []string
	}{
		{"missing capture file", PortConfig{Device: "net_pcap0,rx_pcap=/nowhere/in.pcap"}, fs.ErrNotExist, []string{"/nowhere/in.pcap"}},
		{"capture out to nowhere", PortConfig{Device: good + ",tx_pcap=/nowhere/out.pcap"}, nil, []string{"/nowhere/out.pcap"}},
		{"no capture file", PortConfig{Device: "net_pcap0,rx_pcap=/dev/null"}, nil, []string{"/dev/null"}},
		{"no argument at all", PortConfig{Device: "net_pcap0"}, nil, []string{"No rx or tx queues", "net_pcap takes rx_pcap"}},
		{"unknown software device", PortConfig{Device: "net_foo0"}, nil, []string{`"net_foo0"`, "net_pcap"}},
		{"unknown argument", PortConfig{Device: good + ",speed=1"}, nil, []string{`"speed"`, "net_pcap takes rx_pcap"}},
		{"unknown argument of net_null", PortConfig{Device: "net_null0,speed=1"}, nil, []string{`"speed"`, "net_null takes size"}},
		{"frames above an mbuf", PortConfig{Device: "net_null0,size=60000,copy=1"}, nil, []string{"size=60000", "mbuf"}},
		{"frames above an mbuf by a byte", PortConfig{Device: "net_null0,size=9217"}, nil, []string{"within 1 and 9216"}},
		{"frames of no bytes", PortConfig{Device: "net_null0,size=0"}, nil, []string{"size=0"}},
		{"frames of words", PortConfig{Device: "net_null0,size=abc"}, nil, []string{"size=abc"}},
		{"vhost to nowhere", PortConfig{Device: "net_vhost0,iface=/nowhere/s"}, fs.ErrNotExist, []string{"/nowhere", "make the directory"}},
		{"too many queues of vhost", PortConfig{Device: "net_vhost0,iface=/tmp/ffwd-refused,queues=9999"}, nil, []string{"no DPDK driver made a port", "net_vhost takes"}},
		{"a role that memif has not", PortConfig{Device: "net_memif0,role=x"}, nil, []string{"Unknown role: x"}},
		{"unknown PCI address", PortConfig{Device: "0000:7f:1f.7"}, fs.ErrNotExist, []string{"0000:7f:1f.7", "dpdk-devbind.py"}},
		{"short PCI address", PortConfig{Device: "7f:1f.7"}, fs.ErrNotExist, []string{"0000:7f:1f.7"}},
		{"two equals signs", PortConfig{Device: "net_pcap0,rx_pcap=/tmp/a=b.pcap"}, nil, []string{"'='", "/tmp/a=b.pcap"}},
		{"no device", PortConfig{}, nil, []string{"no device"}},
		{"line break", PortConfig{Device: "net_null0\nnet_null1"}, nil, []string{"control character"}},
		{"unknown interface", PortConfig{Device: "net_af_packet0,iface=nowhere0"}, fs.ErrNotExist, []string{"nowhere0", "ip link"}},
		{"no interface", PortConfig{Device: "net_af_xdp0"}, nil, []string{"net_af_xdp needs iface="}},
		{"no rx queues", PortConfig{Device: good, RxQueues: -1}, nil, []string{"rx queues"}},
		{"no tx queues", PortConfig{Device: good, TxQueues: -1}, nil, []string{"tx queues"}},
		{"too many descriptors", PortConfig{Device: good, RxDesc: 65536}, nil, []string{"descriptors"}},
		{"mtu below IPv4's", PortConfig{Device: good, MTUBytes: 67}, nil, []string{"mtu: 67", "RFC 791"}},
		{"mtu above the pool's", PortConfig{Device: good, MTUBytes: 9001}, nil, []string{"mtu: 9001", "9000"}},
		{"multicast mac", PortConfig{Device: good, MAC: net.HardwareAddr{1, 2, 3, 4, 5, 6}}, nil, []string{"mac", "01:02:03:04:05:06"}},
		{"short mac", PortConfig{Device: good, MAC: net.HardwareAddr{2, 2, 3}}, nil, []string{"mac"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checkPools(t)
			c := tt.config
			c.Name = "wan"
			// -1 stands for none at all, for the two that have no default.
			c.RxQueues = max(c.RxQueues+1, 0)
			c.TxQueues = max(c.TxQueues+1, 0)
			_, err := testRuntime.Open(c)
			wantRefusal(t, err, tt.is, append(tt.words, "port wan: ")...)
		})
	}
	t.Run("and then accepts", func(t *testing.T) {
		checkPools(t)
		openPort(t, PortConfig{Name: "wan", Device: good})
	})
}

func TestOpenRefusesSecondOfAName(t *testing.T) {
	checkPools(t)
	openPort(t, PortConfig{Name: "wan", Device: "net_null0"})
	_, err := testRuntime.Open(PortConfig{Name: "wan", Device: "net_null1", RxQueues: 1, TxQueues: 1})
	wantRefusal(t, err, fs.ErrExist, "port wan: ", "open")
	_, err = testRuntime.Open(PortConfig{Name: "lan", Device: "net_null0,size=100", RxQueues: 1, TxQueues: 1})
	wantRefusal(t, err, fs.ErrExist, "port lan: ", "net_null0", "port wan")
}

func TestOpenRefusesUnnamedPort(t *testing.T) {
	_, err := testRuntime.Open(PortConfig{Device: "net_null0", RxQueues: 1, TxQueues: 1})
	wantRefusal(t, err, nil, "name")
}

func TestClosedPortAnswersWithErrors(t *testing.T) {
	checkPools(t)
	p := openPort(t, PortConfig{Name: "wan", Device: "net_null0"})
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, p.Start(), errClosed, "port wan: start: ")
	_, err := p.Stats()
	wantRefusal(t, err, errClosed, "port wan: stats: ")
	_, err = p.Link()
	wantRefusal(t, err, errClosed, "port wan: link: ")
	if err := p.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestOptionsRefuse(t *testing.T) {
	tests := []struct {
		name    string
		options Options
		words   []string
	}{
		{"negative mbufs", Options{Mbufs: -1}, []string{"mbufs"}},
		{"cache above DPDK's", Options{CacheSize: 513}, []string{"cache", "512"}},
		{"cache above two thirds", Options{Mbufs: 300, CacheSize: 201}, []string{"cache"}},
		{"mtu below IPv4's", Options{MaxMTUBytes: 67}, []string{"mtu: 67"}},
		{"mtu above an mbuf", Options{MaxMTUBytes: MaxMTUBytes + 1}, []string{"mtu"}},
		{"data room below the mtu", Options{MaxMTUBytes: 9000, DataRoom: 2176}, []string{"data room: 2176"}},
		{"unknown PCI device", Options{PCIDevices: []string{"0000:7f:1f.7"}}, []string{"0000:7f:1f.7"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Start(tt.options)
			wantRefusal(t, err, nil, append(tt.words, "start: ")...)
		})
	}
	for _, mtu := range []int{minMTUBytes, 1500, 9000, MaxMTUBytes} {
		if _, err := (Options{MaxMTUBytes: mtu}).withDefaults(); err != nil {
			t.Errorf("mtu %d: %v", mtu, err)
		}
	}
}

// A machine's PCI devices, laid out as the kernel does.
func TestCheckPCI(t *testing.T) {
	root := t.TempDir()
	add := func(address, class, driver string) {
		dir := filepath.Join(root, "devices", address)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "class"), []byte(class+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if driver != "" {
			if err := os.Symlink("../../drivers/"+driver, filepath.Join(dir, "driver")); err != nil {
				t.Fatal(err)
			}
		}
	}
	add("0000:03:00.0", "0x020000", "vfio-pci")
	add("0000:03:00.1", "0x020000", "ixgbe")
	add("0000:03:00.2", "0x020000", "")
	add("0000:03:00.3", "0x010802", "nvme")
	add("0000:03:00.4", "0x020000", "uio_pci_generic")
	add("0000:03:00.5", "0x020000", "vfio-pci")
	group := filepath.Join(root, "devices", "0000:03:00.5", "iommu_group")
	if err := os.Mkdir(group, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(group, "name"), []byte("vfio-noiommu\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"0000:03:00.0", "0000:03:00.4", "0000:03:00.5"} {
		if err := checkPCI(root, address, true); err != nil {
			t.Error(err)
		}
	}
	if err := checkPCI(root, "0000:03:00.0", false); err != nil {
		t.Error(err)
	}
	wantRefusal(t, checkPCI(root, "0000:03:00.4", false), nil, "0000:03:00.4", "uio_pci_generic", "huge pages")
	wantRefusal(t, checkPCI(root, "0000:03:00.5", false), nil, "0000:03:00.5", "vfio-pci without an IOMMU", "huge pages")
	wantRefusal(t, checkPCI(root, "0000:03:00.1", false), nil, "ixgbe", "dpdk-devbind.py -b vfio-pci 0000:03:00.1")
	wantRefusal(t, checkPCI(root, "0000:03:00.2", false), nil, "no driver", "dpdk-devbind.py -b vfio-pci 0000:03:00.2")
	wantRefusal(t, checkPCI(root, "0000:03:00.3", false), nil, "no network device")
	wantRefusal(t, checkPCI(root, "0000:04:00.0", false), fs.ErrNotExist, "0000:04:00.0")
}

// What DPDK says of a device that this user may not have, and what to do about it.
func TestExplainPCI(t *testing.T) {
	d := device{name: "0000:03:00.0", pci: true}
	for _, tt := range []struct{ reason, remedy string }{
		{"Cannot open /dev/vfio/3: Permission denied", "give this user the device's file"},
		{"Cannot set up DMA remapping, error 12 (Cannot allocate memory)", "ulimit -l unlimited"},
	} {
		wantRefusal(t, d.explain(&bindings.Error{Op: "probe", Reason: tt.reason, Errno: 1}), nil, tt.reason+": ", tt.remedy)
	}
}

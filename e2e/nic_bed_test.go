//go:build nic

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// nic is a kind of network device that QEMU emulates, and DPDK's driver for it.
type nic struct {
	model    string
	slot     int // of the one that leads to the client; the server's is 0x10 further
	driver   string
	rxQueues int
	extra    string
}

// A queue of 1024: of two queues that QEMU spreads over, a full one stalls the other.
var virtio = nic{"virtio-net-pci", 5, "net_virtio", 2, ",mq=on,vectors=6,rss=on,rx_queue_size=1024,tx_queue_size=256,iommu_platform=on,disable-legacy=on"}

// Not QEMU's 82540 (e1000): it stops handing frames to DPDK's driver until its cable was out.
var nics = []nic{
	virtio,
	{"e1000e", 6, "net_e1000_em", 1, ""},
	{"vmxnet3", 7, "net_vmxnet3", 1, ""},
}

func (n nic) address(side int) string { return fmt.Sprintf("0000:00:%d%d.0", side, n.slot) }

// nicBed is client and server on two devices of one kind.
type nicBed struct {
	bed
	nic
	guest *guest
}

// tap makes a TAP in the host's namespace, of so many queues, and returns them.
func (h *host) tap(t *testing.T, queues int) (files []*os.File) {
	t.Helper()
	h.do(t, func() error {
		for range queues {
			fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			files = append(files, os.NewFile(uintptr(fd), h.iface))
			request, err := unix.NewIfreq(h.iface)
			if err != nil {
				return err
			}
			flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
			if queues > 1 {
				flags |= unix.IFF_MULTI_QUEUE
			}
			request.SetUint16(flags)
			if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
				return fmt.Errorf("make %s: %w", h.iface, err)
			}
		}
		return nil
	})
	return files
}

// addNIC gives the guest, before it boots, two devices of a kind, between hosts of
// their own.
func (g *guest) addNIC(t *testing.T, n nic) *nicBed {
	t.Helper()
	client, server := newHosts(t)
	b := &nicBed{nic: n, guest: g, bed: bed{t: t, dir: t.TempDir(), client: client, server: server,
		variant: variant{n.model, fmt.Sprintf("0000:00:%%d%d.0%%.0s", n.slot)}}}
	for side, h := range []*host{client, server} {
		quiet(h.namespace)
		var fds []string
		for _, f := range h.tap(t, n.rxQueues) {
			fds = append(fds, fmt.Sprint(g.inherit(f)))
		}
		to := "fd=" + fds[0]
		if len(fds) > 1 {
			to = "fds=" + strings.Join(fds, ":")
		}
		id := fmt.Sprintf("%s-%d", n.model, side)
		g.args = append(g.args, "-netdev", fmt.Sprintf("tap,id=net-%s,vhost=off,%s", id, to),
			"-device", fmt.Sprintf("%s,id=%s,netdev=net-%s,mac=%s,addr=%d%d.0,romfile=%s", n.model, id, id, h.gwMAC, side, n.slot, n.extra))
		h.ip("link set " + h.iface + " address " + h.mac)
	}
	return b
}

// bind gives devices to a kernel driver, as dpdk-devbind.py and driverctl do.
func (g *guest) bind(t *testing.T, driver string, addresses ...string) {
	t.Helper()
	g.sh(t, fmt.Sprintf(`for a in %s; do d=/sys/bus/pci/devices/$a
echo %s >$d/driver_override
[ ! -e $d/driver ] || echo $a >$d/driver/unbind
echo $a >/sys/bus/pci/drivers_probe
[ $(basename $(readlink $d/driver)) = %[2]s ] || exit 1
done`, strings.Join(addresses, " "), driver))
}

// write gives the guest a configuration for these ports; see (*bed).config.
func (b *nicBed) write(t *testing.T, topo topology, replace ...string) {
	t.Helper()
	if topo.clientMTU == 0 {
		topo.clientMTU, topo.serverMTU = 1500, 1500
	}
	topo.cores, topo.resolve, topo.maxFlows = []int{1, 2}, true, 65536
	if topo.hugePages == "" {
		topo.hugePages = "require"
	}
	b.topology = topo
	text, err := os.ReadFile(b.config())
	if err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer(append(replace, b.dir, "/run")...).Replace(string(text))
	b.guest.sh(t, "cat >/run/ffwd.toml <<'END'\n"+config+"\nEND")
}

// refused starts a switch that must not start, and returns what it says.
func (g *guest) refused(t *testing.T, prefix string) string {
	t.Helper()
	out, code := g.try(t, prefix+" timeout -s KILL 60 /run/ffwd run -c /run/ffwd.toml")
	if code != 1 {
		t.Errorf("exit code %d, want 1:\n%s", code, out)
	}
	return out
}

// start runs the switch in the guest and waits for its links, and only then lets the
// hosts speak.
func (b *nicBed) start(t *testing.T) {
	t.Helper()
	for _, h := range []*host{b.client, b.server} {
		h.ip("link set "+h.iface+" down", "addr flush dev "+h.iface)
	}
	b.launch(t)
	for i, h := range []*host{b.client, b.server} {
		h.ip(fmt.Sprintf("link set %s mtu %d", h.iface, []int{b.clientMTU, b.serverMTU}[i]), "link set "+h.iface+" up")
		h.configure(b.topology)
	}
}

func (b *nicBed) launch(t *testing.T) {
	t.Helper()
	b.guest.try(t, "[ -z \"$pid\" ] || { kill -KILL $pid; wait $pid; }") // of a test that failed
	b.guest.sh(t, "/run/ffwd run -c /run/ffwd.toml --json >/run/out 2>/run/err & pid=$!")
	b.awaitLinks(t, true, true)
}

// get asks the running switch.
func (g *guest) get(t *testing.T, path string, answer any) error {
	t.Helper()
	out, code := g.try(t, "kill -0 $pid && curl -s --max-time 15 --unix-socket /run/ffwd.sock http://ffwd"+path)
	switch {
	case strings.Contains(out, "No such process"):
		t.Fatalf("ffwd ended:\n%s", g.sh(t, "cat /run/err"))
	case code != 0:
		return fmt.Errorf("curl: exit code %d", code)
	}
	return json.Unmarshal([]byte(out), answer)
}

func (b *nicBed) report(t *testing.T) *report {
	t.Helper()
	var r report
	if err := b.guest.get(t, "/v1/report", &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// awaitLinks waits until the links of the ports are as told.
func (b *nicBed) awaitLinks(t *testing.T, up ...bool) {
	t.Helper()
	defer func() {
		if t.Failed() {
			out, _ := b.guest.try(t, "cat /run/err; lspci -s "+b.address(0)+"; "+"curl -s --unix-socket /run/ffwd.sock http://ffwd/v1/ports")
			t.Log(out)
		}
	}()
	for deadline := time.Now().Add(guestLimit); ; time.Sleep(100 * time.Millisecond) {
		var r report
		err := b.guest.get(t, "/v1/report", &r)
		var links []bool
		for _, p := range r.Ports {
			links = append(links, p.LinkUp)
		}
		if slices.Equal(links, up) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("links of %s are %v, want %v; %v", b.model, links, up, err)
		}
	}
}

// stop ends the switch and checks what must be true after every run: see (*process).end.
// That no huge page is missing says that DPDK's memory is gone.
func (b *nicBed) stop(t *testing.T) *report {
	t.Helper()
	if _, code := b.guest.try(t, "kill $pid; wait $pid"); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, b.guest.sh(t, "cat /run/err"))
	}
	var r report
	if err := json.Unmarshal([]byte(b.guest.sh(t, "cat /run/out")), &r); err != nil {
		t.Fatal(err)
	}
	r.checkConservation(t)
	b.guest.nothingLeft(t)
	return &r
}

func (g *guest) nothingLeft(t *testing.T) {
	t.Helper()
	const total, free = "/proc/sys/vm/nr_hugepages", "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
	wantMatch(t, g.sh(t, "find /dev/hugepages /run/dpdk -mindepth 1 2>/dev/null; cat "+total+" "+free+" | uniq | wc -l"), `^1\n*$`)
	wantMatch(t, g.sh(t, "ip -o link show type tun | wc -l"), `^0\n*$`)
}

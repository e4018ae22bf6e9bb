package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// memoryDevices are DPDK's devices that reach another process through shared
// memory, each with what the other process opens. @ stands for the socket.
var memoryDevices = []struct {
	name, device, peer string
	peerFirst          bool // the peer makes the socket
	onePeer            bool // DPDK's driver finds no other peer once the first is gone
}{
	{"net_vhost", "net_vhost0,iface=@", "net_virtio_user0,path=@", false, false},
	{"net_vhost client", "net_vhost0,iface=@,client=1", "net_virtio_user0,path=@,server=1", true, false},
	{"net_virtio_user", "net_virtio_user0,path=@", "net_vhost0,iface=@", true, true},
	{"net_memif", "net_memif0,role=server,socket-abstract=no,socket=@", "net_memif0,role=client,socket-abstract=no,socket=@", false, false},
	{"net_memif client", "net_memif0,role=client,socket-abstract=no,socket=@", "net_memif0,role=server,socket-abstract=no,socket=@", true, false},
}

// A virtual machine's or another switch's port: a second DPDK process sends
// through us to itself, ends, and another comes. It needs neither root nor huge pages.
// Source: FF-1, FF-12.
func TestMemoryDevices(t *testing.T) {
	for _, d := range memoryDevices {
		t.Run(d.name, func(t *testing.T) {
			dir := t.TempDir()
			socket := filepath.Join(dir, "port.sock")
			config := hairpin(t, dir, at(d.device, socket))
			if !d.peerFirst { // the socket that it left is no obstacle
				p := launch(t, nil, config)
				eventually(t, "ffwd made no socket", func() bool { return exists(socket) })
				p.cmd.Process.Kill()
				<-p.ended
			}
			var peer *flowgen
			if d.onePeer {
				peer = startFlowgen(t, at(d.peer, socket))
				eventually(t, "the peer made no socket", func() bool { return exists(socket) })
			}
			p := launch(t, nil, config)
			if !d.peerFirst { // a peer that comes before the old socket is gone finds nobody behind it, and ends
				eventually(t, "ffwd does not answer", func() bool {
					var r report
					return p.get("/v1/report", &r) == nil && len(r.Ports) > 0
				})
			}
			for n := 0; n < 2 && (n == 0 || !d.onePeer); n++ {
				if peer == nil {
					peer = startFlowgen(t, at(d.peer, socket))
				}
				p.ready(t)
				before := p.report(t).Ports[0].TxPackets
				eventually(t, "nothing comes back", func() bool { return p.report(t).Ports[0].TxPackets > before+10_000 })
				if received := peer.stop(t); received == 0 {
					t.Errorf("the peer received nothing:\n%s", peer.output.String())
				}
				peer = nil
			}
			r := p.stop(t)
			if port := r.Ports[0]; port.RxPackets < port.TxPackets {
				t.Errorf("received %d, transmitted %d", port.RxPackets, port.TxPackets)
			}
		})
	}
}

func at(device, socket string) string { return strings.ReplaceAll(device, "@", socket) }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// hairpin is a switch with one port, which sends what it receives back to it.
func hairpin(t *testing.T, dir, device string) string {
	t.Helper()
	return writeFile(t, dir, "ffwd.toml", fmt.Appendf(nil, `
[eal]
huge_pages = "off"
[workers]
cores = [%d]
[metrics]
address = ""
[slow_path]
enabled = "off"
[control]
socket = "%s/ffwd.sock"
[[ports]]
name = "peer"
device = %q
promiscuous = true
addresses = ["192.0.2.1/24"]
[[routes]]
prefix = "10.0.0.0/8"
via = "192.0.2.2"
[[neighbours]]
port = "peer"
address = "192.0.2.2"
mac = "02:00:00:00:00:02"
`, workerCore, dir, device))
}

// flowgen is dpdk-testpmd that sends UDP over 64 flows between addresses in
// 10.0.0.0/8, and counts what comes back.
type flowgen struct {
	cmd    *exec.Cmd
	output lockedBuffer
	ended  chan struct{}
}

func startFlowgen(t *testing.T, vdev string) *flowgen {
	t.Helper()
	g := &flowgen{ended: make(chan struct{})}
	prefix := fmt.Sprintf("ffwd-e2e-%d-%d", os.Getpid(), time.Now().UnixNano())
	// Two cores make testpmd keep one for its prompt; floating on all of them it
	// asks for none of its own.
	g.cmd = exec.Command("dpdk-testpmd", "--lcores", "0@"+hostCores+",1@"+hostCores, "--no-huge", "-m", "128", "--no-pci",
		"--file-prefix", prefix, "--vdev", vdev,
		"--", "--forward-mode=flowgen", "--flowgen-flows=64", "--auto-start", "--total-num-mbufs=4096", "--stats-period=1")
	g.cmd.Stdout, g.cmd.Stderr = &g.output, &g.output
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		g.cmd.Wait()
		close(g.ended)
	}()
	t.Cleanup(func() {
		g.cmd.Process.Kill()
		<-g.ended
		if runtime, _ := filepath.Glob("/var/run/dpdk/" + prefix); len(runtime) > 0 {
			os.RemoveAll(runtime[0])
		}
	})
	return g
}

// receivedByFlowgen is in the statistics that testpmd prints when it ends.
var receivedByFlowgen = regexp.MustCompile(`(?s)Accumulated forward statistics.*?RX-packets: (\d+)`)

// stop ends the generator and returns how many packets came back to it.
func (g *flowgen) stop(t *testing.T) int {
	t.Helper()
	g.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-g.ended:
	case <-time.After(commandLimit):
		t.Fatalf("dpdk-testpmd did not end:\n%s", g.output.String())
	}
	m := receivedByFlowgen.FindStringSubmatch(g.output.String())
	if m == nil {
		t.Fatalf("dpdk-testpmd printed no statistics:\n%s", g.output.String())
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

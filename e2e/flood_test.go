package e2e

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// smallTable is what the floods fill.
const smallTable = 8192

// A flood comes in bursts, sent as fast as a core can: some hundred thousand packets a
// second. What comes without a pause fills the wire, where a switch that has to share
// its core is not asked which packets to take. FFWD_FLOOD_PAUSE=0s leaves it out.
const floodBurst = 1000

func floodPause() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("FFWD_FLOOD_PAUSE")); err == nil {
		return d
	}
	return 4 * time.Millisecond
}

// A TCP download that began before a flood and one that begins in the middle of it come
// through whole, by rules that let in nothing but answers. The table is full then: flows
// without an answer give way, those of the downloads do not; memory stays what it was;
// nothing is lost uncounted, which stop checks.
// Source: CT-7, FF-12
func TestDownloadInAFlood(t *testing.T) {
	needRoot(t)
	for _, v := range []variant{kernel, afPacket, afXDP} {
		t.Run(v.name, func(t *testing.T) {
			b := newBed(t, v, topology{policy: stateful, maxFlows: smallTable})
			web := b.webServer(t)
			b.server.host("ip", "netns", "exec", b.server.name, "nft",
				"table inet flood { chain in { type filter hook prerouting priority -500; ip saddr "+floodSources+" drop; }; }")
			memory := uint64(0)
			for _, f := range []struct {
				name    string
				frame   func(*floodFrame)
				newFlow bool // each packet
			}{{"syn", (*floodFrame).syn, true}, {"udp", (*floodFrame).udp, true}, {"fragments", (*floodFrame).fragment, false}} {
				if v == afPacket && !f.newFlow { // for a packet socket the kernel reassembles
					continue
				}
				t.Run(f.name, func(t *testing.T) {
					before := b.report(t)
					early := web.download(t, "20M")
					stop := b.flood(t, f.frame)
					if b.ffwd != nil {
						eventually(t, "there is no flood", func() bool {
							r := b.ffwd.report(t)
							return r.Received > before.Received+2*smallTable && (!f.newFlow || r.Flows.EarlyDropped > before.Flows.EarlyDropped+smallTable)
						})
					}
					web.download(t, "1G").finish(t)
					early.finish(t)
					after := b.report(t)
					t.Logf("%.0f packets sent a second", stop())
					if b.ffwd == nil {
						return
					}
					if after.Flows.IPv4 > smallTable {
						t.Errorf("%d flows in a table of %d", after.Flows.IPv4, smallTable)
					}
					memory = b.ffwd.checkMemory(t, memory)
				})
			}
			b.stop(t)
		})
	}
}

// report is ffwd's, and empty for the kernel.
func (b *bed) report(t *testing.T) *report {
	t.Helper()
	if b.ffwd == nil {
		return &report{}
	}
	return b.ffwd.report(t)
}

// checkMemory returns how much memory the process has, in bytes, and wants it to be
// little more than it was once: with the first flood, buffers have all been used.
func (p *process) checkMemory(t *testing.T, once uint64) (now uint64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kB, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	now = kB << 10
	t.Logf("%d MiB in memory", now>>20)
	const slack = 16 << 20 // the heap of the control side
	if once != 0 && now > once+slack {
		t.Errorf("memory grew from %d to %d bytes", once, now)
	}
	return now
}

// webServer serves a file of the server's.
type webServer struct {
	b   *bed
	sum [sha256.Size]byte
}

const webBytes = 10_000_000

func (b *bed) webServer(t *testing.T) *webServer {
	t.Helper()
	content := make([]byte, webBytes)
	rand.Read(content)
	dir := t.TempDir()
	writeFile(t, dir, "file", content)
	b.server.start(t, "python3", "-m", "http.server", "--directory", dir, "8000")
	b.server.listening(t, "8000")
	return &webServer{b, sha256.Sum256(content)}
}

// download is curl at work.
type download struct {
	cmd *exec.Cmd
	sum [sha256.Size]byte
	got chan []byte
}

// download begins one, at so many bytes a second at most.
func (w *webServer) download(t *testing.T, rate string) *download {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
	t.Cleanup(cancel)
	d := &download{cmd: w.b.client.command(ctx, "curl", "--silent", "--show-error", "--noproxy", "*", "--limit-rate", rate,
		"http://"+net.JoinHostPort(w.b.server.ipv4, "8000")+"/file"), sum: w.sum, got: make(chan []byte, 1)}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	begun := make(chan struct{})
	go func() {
		first := make([]byte, 1)
		io.ReadFull(out, first)
		close(begun)
		rest, _ := io.ReadAll(out)
		d.got <- append(first, rest...)
	}()
	select {
	case <-begun:
	case <-time.After(commandLimit):
		t.Fatal("the download does not begin")
	}
	return d
}

// finish waits for the end and compares what came with what is there.
func (d *download) finish(t *testing.T) {
	t.Helper()
	content := <-d.got
	if err := d.cmd.Wait(); err != nil {
		t.Fatalf("curl: %v", err)
	}
	if sha256.Sum256(content) != d.sum {
		t.Errorf("%d bytes came that are not what was sent", len(content))
	}
}

// flood sends frames from the client, in bursts, until it is stopped.
func (b *bed) flood(t *testing.T, shape func(*floodFrame)) (stop func() (perSecond float64)) {
	t.Helper()
	var fd int
	b.client.do(t, func() (err error) {
		device, err := net.InterfaceByName(b.client.iface)
		if err != nil {
			return err
		}
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: device.Index})
	})
	frame := newFloodFrame(b.client, b.server)
	var ended atomic.Bool
	rate := make(chan float64, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends, and its affinity with it
		pinToHosts()
		begun, n := time.Now(), 0
		for pause := floodPause(); !ended.Load(); time.Sleep(pause) {
			for range floodBurst {
				shape(frame)
				unix.Write(fd, frame[:]) // refused while the wire is full
			}
			n += floodBurst
		}
		rate <- float64(n) / time.Since(begun).Seconds()
	}()
	var perSecond float64
	stop = func() float64 {
		if !ended.Swap(true) {
			perSecond = <-rate
			unix.Close(fd)
		}
		return perSecond
	}
	t.Cleanup(func() { stop() })
	return stop
}

// pinToHosts keeps the calling thread off the worker's core, as command does.
func pinToHosts() {
	var set unix.CPUSet
	for word := range strings.SplitSeq(hostCores, ",") {
		core, _ := strconv.Atoi(word)
		set.Set(core)
	}
	unix.SchedSetaffinity(0, &set)
}

// floodSources is where a flood seems to come from. Source: RFC 2544 appendix C.2.2.
const floodSources = "198.18.0.0/15"

// floodFrame is an IPv4 packet of 40 bytes from a random source.
type floodFrame [14 + 20 + 20]byte

func newFloodFrame(from, to *host) *floodFrame {
	var f floodFrame
	gateway, _ := net.ParseMAC(from.gwMAC)
	source, _ := net.ParseMAC(from.mac)
	copy(f[0:], gateway)
	copy(f[6:], source)
	be := binary.BigEndian
	be.PutUint16(f[12:], 0x0800)
	ip := f[14:]
	ip[0], ip[8] = 0x45, 64
	be.PutUint16(ip[2:], 40)
	copy(ip[16:], net.ParseIP(to.ipv4).To4())
	return &f
}

// next gives the packet another source, ports and identification.
func (f *floodFrame) next(proto byte) (ip, l4 []byte) {
	be := binary.BigEndian
	ip, l4 = f[14:34], f[34:]
	random := mathrand.Uint64()
	ip[9] = proto
	be.PutUint32(ip[12:], 198<<24|18<<16|uint32(random)&0x1ffff)
	be.PutUint16(ip[4:], uint16(random>>17))
	be.PutUint32(l4, uint32(random>>32)) // ports
	return ip, l4
}

// seal writes the checksums; at is where the one of L4 is, and below 0 for none.
func (f *floodFrame) seal(at int) {
	be := binary.BigEndian
	ip, l4 := f[14:34], f[34:]
	be.PutUint16(ip[10:], 0)
	be.PutUint16(ip[10:], ^uint16(onesComplement(ip)))
	if at < 0 {
		return
	}
	be.PutUint16(l4[at:], 0)
	var pseudo [32]byte // RFC 9293 3.1
	copy(pseudo[:8], ip[12:])
	pseudo[9], pseudo[11] = ip[9], byte(len(l4))
	copy(pseudo[12:], l4)
	be.PutUint16(l4[at:], ^uint16(onesComplement(pseudo[:])))
}

func (f *floodFrame) syn() {
	ip, l4 := f.next(syscall.IPPROTO_TCP)
	binary.BigEndian.PutUint16(ip[6:], 0)
	clear(l4[4:])
	l4[12], l4[13], l4[14] = 5<<4, 2, 0xff // no options, SYN, window
	f.seal(16)
}

func (f *floodFrame) udp() {
	ip, l4 := f.next(syscall.IPPROTO_UDP)
	binary.BigEndian.PutUint16(ip[6:], 0)
	clear(l4[4:])
	l4[5] = byte(len(l4))
	f.seal(6)
}

// fragment is a first, middle or last one of a datagram of which nothing else comes.
func (f *floodFrame) fragment() {
	ip, _ := f.next(syscall.IPPROTO_UDP)
	field := [...]uint16{0x2000, 0x2000 | 185, 370}[ip[5]%3]
	binary.BigEndian.PutUint16(ip[6:], field)
	f.seal(-1)
}

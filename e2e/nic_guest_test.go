//go:build nic

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// guestImage is what `make nic-test` has nic/image.sh make.
const guestImage = "../bin/nic"

// guestLimit is what the guest may take for anything, emulated on a busy machine.
const guestLimit = 3 * time.Minute

// guest is a virtual machine whose files are this machine's, read-only, and whose root
// shell does what it is told, one thing at a time. QEMU emulates its processor: the
// file /dev/kvm does not promise that a guest boots.
type guest struct {
	t       *testing.T
	ns      *namespace // QEMU's own; its network devices lead elsewhere
	args    []string
	files   []*os.File // that QEMU inherits, from descriptor 3 on
	cmd     *exec.Cmd
	in      io.Writer
	out     chan []byte
	console string
	monitor *os.File
	replies *json.Decoder
	ended   chan struct{}
	number  int
}

// newGuest prepares a machine of so many cores and MiB; boot starts it.
func newGuest(t *testing.T, cores, megabytes int) *guest {
	t.Helper()
	g := &guest{t: t, ns: newNamespace(t, "qemu"), console: filepath.Join(t.TempDir(), "console"), ended: make(chan struct{})}
	monitor, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	g.monitor = os.NewFile(uintptr(monitor[0]), "monitor")
	g.replies = json.NewDecoder(g.monitor)
	t.Cleanup(func() { g.monitor.Close() })
	g.args = []string{"qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-accel", "tcg,thread=multi", "-cpu", "max", "-machine", "q35", "-smp", strconv.Itoa(cores), "-m", strconv.Itoa(megabytes),
		"-kernel", filepath.Join(guestImage, "vmlinuz"), "-initrd", filepath.Join(guestImage, "initrd"),
		"-append", "console=ttyS0 loglevel=4 panic=-1 intel_iommu=on iommu=pt no_timer_check",
		"-serial", "file:" + g.console,
		"-chardev", "stdio,id=shell,signal=off", "-device", "virtio-serial-pci,addr=1d.0", "-device", "virtserialport,chardev=shell",
		"-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap", "-device", "virtio-9p-pci,fsdev=host,mount_tag=host,addr=1e.0",
		"-chardev", fmt.Sprintf("socket,id=monitor,fd=%d", g.inherit(os.NewFile(uintptr(monitor[1]), "monitor"))), "-mon", "chardev=monitor,mode=control"}
	return g
}

// inherit gives QEMU a file, and returns its descriptor there.
func (g *guest) inherit(f *os.File) int {
	g.files = append(g.files, f)
	return 2 + len(g.files)
}

// boot starts the machine and waits for its shell.
func (g *guest) boot(t *testing.T) *guest {
	t.Helper()
	if _, err := os.Stat(guestImage + "/made"); err != nil {
		t.Fatalf("the guest's kernel is missing, which make nic-test fetches: %v", err)
	}
	g.cmd = g.ns.command(context.Background(), g.args...)
	g.cmd.ExtraFiles = g.files
	var log lockedBuffer
	g.cmd.Stderr = &log
	in, err := g.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := g.cmd.StdoutPipe()
	if err == nil {
		err = g.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range g.files {
		f.Close()
	}
	g.in, g.out = in, make(chan []byte)
	go func() {
		defer close(g.out)
		for {
			buf := make([]byte, 1<<16)
			n, err := out.Read(buf)
			if err != nil {
				return
			}
			g.out <- buf[:n]
		}
	}()
	t.Cleanup(func() {
		g.cmd.Process.Kill()
		for range g.out { //nolint:revive // the reader ends with the pipe
		}
		g.cmd.Wait()
		if t.Failed() {
			console, _ := os.ReadFile(g.console)
			t.Logf("QEMU: %v, printed:\n%s\nthe guest's console:\n%s", g.cmd.ProcessState, log.String(), console)
		}
	})
	var greeting any
	if err := g.replies.Decode(&greeting); err != nil {
		t.Fatalf("QEMU's monitor: %v:\n%s", err, log.String())
	}
	g.qmp(t, "qmp_capabilities", nil)
	g.expect(t, "its shell", regexp.MustCompile(`--shell()()\r?\n`)) // see nic/init
	g.sh(t, "cp "+ffwd+" /run/ffwd")                                 // where every user may have it
	return g
}

// try has the guest's shell do a script and returns what it printed, and its exit code.
// What it starts in the background is the shell's own, for a later script to wait for.
func (g *guest) try(t *testing.T, script string) (string, int) {
	t.Helper()
	g.number++
	mark := fmt.Sprintf("--done-%d", g.number)
	fmt.Fprintf(g.in, "{ %s\n} </dev/null 2>&1; code=$?; echo; echo %s $code\n", script, mark)
	printed, code := g.expect(t, script, regexp.MustCompile(`(?s)^(.*)\n`+mark+` (\d+)\n`))
	exit, _ := strconv.Atoi(code)
	return printed, exit
}

// expect waits until what the guest prints matches the pattern, and returns its two groups.
func (g *guest) expect(t *testing.T, what string, pattern *regexp.Regexp) (first, second string) {
	t.Helper()
	deadline := time.After(guestLimit)
	for text := []byte(nil); ; {
		select {
		case part, more := <-g.out:
			if text = append(text, part...); !more {
				t.Fatalf("the guest ended over %q:\n%s", what, text)
			}
			if m := pattern.FindSubmatch(bytes.ReplaceAll(text, []byte("\r"), nil)); m != nil {
				return string(m[1]), string(m[2])
			}
		case <-deadline:
			t.Fatalf("the guest takes longer than %v for %q:\n%s", guestLimit, what, text)
		}
	}
}

// sh is try for what must succeed.
func (g *guest) sh(t *testing.T, script string) string {
	t.Helper()
	out, code := g.try(t, script)
	if code != 0 {
		t.Fatalf("%s: exit code %d:\n%s", script, code, out)
	}
	return out
}

// qmp gives a command to QEMU's monitor. Source: QEMU Machine Protocol reference.
func (g *guest) qmp(t *testing.T, command string, arguments any) {
	t.Helper()
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := json.NewEncoder(g.monitor).Encode(request); err != nil {
		t.Fatal(err)
	}
	for {
		var reply map[string]any
		if err := g.replies.Decode(&reply); err != nil {
			t.Fatal(err)
		}
		if reply["error"] != nil {
			t.Fatalf("%s %v: %v", command, arguments, reply["error"])
		}
		if _, ok := reply["return"]; ok {
			return // else it is an event
		}
	}
}

// plug puts a network device's cable in or pulls it out.
func (g *guest) plug(t *testing.T, nic string, in bool) {
	t.Helper()
	g.qmp(t, "set_link", map[string]any{"name": nic, "up": in})
}

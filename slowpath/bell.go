package slowpath

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bell wakes a goroutine that sleeps in the kernel.
type bell struct {
	asleep atomic.Uint32
	file   *os.File // an eventfd(2)
	fd     int
}

func newBell() (*bell, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return &bell{file: os.NewFile(uintptr(fd), "eventfd"), fd: fd}, nil
}

// one is what a ring of the bell adds to the eventfd's counter.
var one = binary.NativeEndian.AppendUint64(nil, 1)

// ring wakes the sleeper. A worker calls it: it must not tell the Go scheduler,
// which would take its core for the time of the call, that there is a system call.
func (b *bell) ring() {
	b.asleep.Store(0)
	rawWrite(b.fd, one)
}

// wait sleeps until the bell rings.
func (b *bell) wait() {
	var count [8]byte
	_, _ = b.file.Read(count[:]) // closed: there is nobody to wait for
}

// waitUntil sleeps until the bell rings or a time.
func (b *bell) waitUntil(t time.Time) {
	_ = b.file.SetReadDeadline(t) // only a closed file has none
	b.wait()
}

func (b *bell) close() error { return b.file.Close() }

// rawWrite is write(2) behind the Go scheduler's back, for what never blocks. An
// error means that the counter is full, and so that the bell rings already.
func rawWrite(fd int, b []byte) {
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
}

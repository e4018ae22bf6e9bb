package queue

import (
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ffwd/queue/wire"
)

// binding is what one listener brought: its memory, the way to wake it, and the way to
// be rid of it. The server makes it; a worker uses it in those polls in which it has found
// it in Queue.binding before.
//
// The memory for packets is sealed so that a listener can map it for reading only, and
// can neither shrink it nor punch holes in it. The memory for verdicts the listener maps
// for writing; then it is sealed as well. Linux has no seal that allows to write and forbids
// holes, but one that leaves the mappings for writing that there are and forbids everything
// else: new ones, write(2), fallocate(2), MADV_REMOVE. A worker would pay for a hole with a
// page fault, wait in it as long as holes are being made, and be killed by it where the system
// has no page to give.
//
// The listener is woken through an epoll instance that watches an eventfd of ours. It
// does not get the eventfd itself: whoever has it could make it blocking and fill it
// up, and the next worker to write there would hang.
type binding struct {
	layout   wire.Layout
	packets  []byte
	verdicts []byte
	sleeping *atomic.Uint32
	wake     int           // eventfd, ours alone
	files    []int         // to be sent to the listener: packets, verdicts, epoll
	socket   int           // to be shut down when the listener is sent away; -1: none
	copy     atomic.Uint32 // bytes of each packet
	broken   atomic.Value  // error for which a worker gave it up, a *wire.Corrupt
	pid      int
}

// newBinding maps the memory. The caller closes it, after every worker has let go.
func newBinding(l wire.Layout) (*binding, error) {
	b := &binding{layout: l, wake: -1, socket: -1}
	if err := b.open(); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *binding) open() (err error) {
	const size = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW
	if b.packets, err = b.share("ffwd-packets", b.layout.PacketBytes(), size|whole); err != nil {
		return err
	}
	if b.verdicts, err = b.share("ffwd-verdicts", b.layout.VerdictBytes(), size); err != nil {
		return err
	}
	b.sleeping = wire.Sleeping(b.verdicts)
	if b.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	b.files = append(b.files, epoll)
	// Edge-triggered: the eventfd is never read, each write is an event.
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, b.wake, &event); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// share makes and maps a memory, and seals it after it was mapped for writing.
func (b *binding) share(name string, size, seals int) ([]byte, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("%s: memfd: %w", name, err)
	}
	b.files = append(b.files, fd)
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, fmt.Errorf("%s: %d bytes: %w", name, size, err)
	}
	// Page tables are filled at once: a worker's first lap around the ring does
	// not fault on every page.
	m, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("%s: map %d bytes: %w", name, size, err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: seal: %w (Linux 5.1 or newer is needed)", name, err), unix.Munmap(m))
	}
	return m, nil
}

// whole is the seals after which nothing but the mappings that there are can change a memory.
const whole = unix.F_SEAL_FUTURE_WRITE | unix.F_SEAL_SEAL

// seal ends what the listener may do to the memory for verdicts but write there, fills the
// holes that it may have made before, and closes what was sent to it. It fails if the listener
// has sealed the memory in its own way.
func (b *binding) seal() error {
	if _, err := unix.FcntlInt(uintptr(b.files[verdictsFile]), unix.F_ADD_SEALS, whole); err != nil {
		return fmt.Errorf("ffwd-verdicts: seal: %w", err)
	}
	// Linux before 5.14 knows no such advice; the worker meets the holes then, once.
	if err := unix.Madvise(b.verdicts, unix.MADV_POPULATE_WRITE); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("ffwd-verdicts: populate: %w", err)
	}
	b.closeFiles()
	return nil
}

// verdictsFile is the place of the memory for verdicts among a binding's files.
const verdictsFile = 1

// fail gives the listener up, once, and ends its connection so that the server sees it.
// Worker's thread: shutdown of a local socket does not wait.
func (b *binding) fail(why error) {
	if b.broken.CompareAndSwap(nil, why) && b.socket >= 0 {
		_ = unix.Shutdown(b.socket, unix.SHUT_RD)
	}
}

// closeFiles closes what was sent to the listener and is not needed here any more.
func (b *binding) closeFiles() {
	for _, fd := range b.files {
		unix.Close(fd)
	}
	b.files = nil
}

// close releases everything. No worker may use it any more.
func (b *binding) close() error {
	b.closeFiles()
	var errs []error
	for _, fd := range [...]int{b.wake, b.socket} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	for _, m := range [...][]byte{b.packets, b.verdicts} {
		if m != nil {
			errs = append(errs, unix.Munmap(m))
		}
	}
	return errors.Join(errs...)
}

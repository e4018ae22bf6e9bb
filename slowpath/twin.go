package slowpath

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// How long a twin that went away stays away: the first try to make it again comes
// at once, each further one after twice the pause before.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// Twin is the kernel's side of a port. Any goroutine may call its methods.
type Twin struct {
	config TwinConfig
	ns     *Netns
	log    *slog.Logger
	back   func() // called when the TAP was made again
	counts twinCounts

	mu      sync.RWMutex
	tap     *tap // nil: gone, or closed
	carrier bool
	closed  bool
}

// twinCounts are a twin's counters, each with one writer: the writer's goroutine
// those of frames to the kernel, the twin's reader the others.
type twinCounts struct {
	toKernel, toKernelBytes     atomic.Uint64
	refused                     atomic.Uint64
	fromKernel, fromKernelBytes atomic.Uint64
	overflow, oversized         atomic.Uint64
	remade                      atomic.Uint64
}

// TwinStats is what passed a twin.
type TwinStats struct {
	ToKernel, ToKernelBytes     uint64 // frames that the kernel took
	Refused                     uint64 // and did not take: the TAP was down or gone
	FromKernel, FromKernelBytes uint64 // frames put into a worker's ring
	Overflow                    uint64 // frames that found it full
	Oversized                   uint64 // frames larger than the port's MTU
	Remade                      uint64 // times that the TAP was gone and made again
}

// Name returns the name of the TAP.
func (t *Twin) Name() string { return t.config.Name }

// Iface returns the switch's index of the port.
func (t *Twin) Iface() uint16 { return t.config.Iface }

// Index returns the kernel's index of the TAP, which changes when it is made
// again; 0 while there is none.
func (t *Twin) Index() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.tap == nil {
		return 0
	}
	return t.tap.index
}

// Stats returns the twin's counters.
func (t *Twin) Stats() TwinStats {
	c := &t.counts
	return TwinStats{
		ToKernel: c.toKernel.Load(), ToKernelBytes: c.toKernelBytes.Load(), Refused: c.refused.Load(),
		FromKernel: c.fromKernel.Load(), FromKernelBytes: c.fromKernelBytes.Load(),
		Overflow: c.overflow.Load(), Oversized: c.oversized.Load(), Remade: c.remade.Load(),
	}
}

// SetCarrier makes the TAP's link that of the port.
func (t *Twin) SetCarrier(up bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.carrier = up
	if t.tap == nil {
		return nil // whoever makes it again looks
	}
	return t.tap.setCarrier(up)
}

// write gives the kernel a frame.
func (t *Twin) write(frame []byte) {
	t.mu.RLock()
	tap := t.tap
	ok := tap != nil && tap.write(frame) == nil
	t.mu.RUnlock()
	if !ok {
		t.counts.refused.Add(1)
		return
	}
	t.counts.toKernel.Add(1)
	t.counts.toKernelBytes.Add(uint64(len(frame)))
}

// read takes frames from the kernel until the twin is closed, and makes the TAP
// again when it goes.
func (t *Twin) read(ctx context.Context, to *frames) {
	buffer := make([]byte, to.frameBytes+1) // one more shows what does not fit
	for {
		tap := t.current()
		if tap == nil {
			return
		}
		n, err := tap.file.Read(buffer)
		if err != nil {
			if !t.remake(ctx, err) {
				return
			}
			continue
		}
		switch frame := buffer[:n]; {
		case n > t.config.MTUBytes+linkBytes:
			t.counts.oversized.Add(1)
		case !to.push(t.config.Iface, frame):
			t.counts.overflow.Add(1)
		default:
			t.counts.fromKernel.Add(1)
			t.counts.fromKernelBytes.Add(uint64(n))
		}
	}
}

func (t *Twin) current() *tap {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.tap
}

// remake makes a TAP that is gone again, as often as it takes, and returns false
// when the twin was closed instead.
func (t *Twin) remake(ctx context.Context, cause error) bool {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return false
	}
	gone := t.tap
	t.tap = nil
	t.mu.Unlock()
	t.log.Error("twin is gone: making it again", "tap", t.config.Name, "error", cause)
	_ = gone.close()
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		made, err := openTAP(t.ns, &t.config)
		if err == nil {
			adopted := t.adopt(made)
			t.back()
			return adopted
		}
		if pause == firstRetry { // once, however long it takes
			t.log.Error("twin cannot be made again yet", "error", err)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
	}
}

// adopt makes a new TAP the twin's.
func (t *Twin) adopt(made *tap) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		_ = made.close()
		return false
	}
	if err := made.setCarrier(t.carrier); err != nil {
		t.log.Error("twin's carrier cannot be set", "tap", t.config.Name, "error", err)
	}
	t.tap = made
	t.counts.remade.Add(1)
	t.log.Info("twin is back", "tap", t.config.Name, "index", made.index)
	return true
}

// close removes the TAP. Its reader returns.
func (t *Twin) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.tap == nil {
		return nil
	}
	err := t.tap.close()
	t.tap = nil
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

package control

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"go.uber.org/goleak"

	"ffwd/conf"
)

// endsAt is a context that ends when it is asked for the n-th time whether it has.
type endsAt struct {
	context.Context
	end  context.CancelFunc
	left int
}

func (e *endsAt) Err() error {
	if e.left--; e.left < 0 {
		e.end()
	}
	return e.Context.Err()
}

// A start that is interrupted, wherever that is, goes no further and leaves nothing: no
// socket, no goroutine, no mbuf. More routes than are added at once are no step of their own.
func TestStartIsInterrupted(t *testing.T) {
	c := parse(t, twoPorts+manyRoutes(routesAtOnce+1, "10.2.2.2"))
	before := goleak.IgnoreCurrent()
	attempt := func(asked int) error {
		s := newSwitch(NewLogger(io.Discard, conf.Log{}))
		s.runtime = testRuntime
		inner, end := context.WithCancel(t.Context())
		defer end()
		s.startBy = &endsAt{inner, end, asked}
		if _, err := s.start(c, s.takeSockets, s.assemble, s.begin); err != nil {
			return err
		}
		return s.Stop(context.Background())
	}
	asked := 0
	for ; ; asked++ {
		err := attempt(asked)
		if err == nil {
			break
		}
		if !errors.Is(err, ErrInterrupted) {
			t.Fatalf("interrupted at %d: %v", asked, err)
		}
		if _, err := os.Lstat(c.Control.Socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("interrupted at %d, the socket is left: %v", asked, err)
		}
		if err := goleak.Find(before); err != nil {
			t.Errorf("interrupted at %d: %v", asked, err)
		}
	}
	const steps = 3 + 6 + 5 // takeSockets, assemble and begin, and those of the latter two
	if asked < steps+2 {    // and routes, which are added in two parts
		t.Errorf("a start asks %d times whether it is to end", asked)
	}
}

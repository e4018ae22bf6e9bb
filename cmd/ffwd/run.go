package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ffwd/conf"
	"ffwd/control"
)

// runOptions are the flags of run.
type runOptions struct {
	config   string
	duration time.Duration
	warmup   time.Duration
	idleExit time.Duration
	json     bool
}

func runCommand() *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run -c FILE",
		Short: "Forward packets until a signal",
		Long: `Forward packets until SIGINT or SIGTERM, or until --duration or --idle-exit ends it.
A start is interrupted by them, too, and prints no totals then.
SIGHUP reads the configuration again. A second SIGINT or SIGTERM ends at once.

On a terminal, a table of rates is shown meanwhile; otherwise totals are printed at
the end, as one JSON object with --json. The log goes to standard error.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if o.duration < 0 || o.warmup < 0 || o.idleExit < 0 {
				return usageError{errors.New("--duration, --warmup and --idle-exit must not be negative")}
			}
			config, err := loadConfig(o.config)
			if err != nil {
				return err
			}
			return run(config, o)
		},
	}
	configFlag(c, &o.config)
	c.Flags().DurationVar(&o.duration, "duration", 0, "stop after this long, not counting the warm-up; 0: only on a signal")
	c.Flags().DurationVar(&o.warmup, "warmup", 0, "leave this long out of the counts")
	c.Flags().DurationVar(&o.idleExit, "idle-exit", 0, "stop when no packet arrived for this long; 0: never")
	c.Flags().BoolVar(&o.json, "json", false, "print the totals as one JSON object")
	return c
}

// run starts the switch, waits for its end, stops it, and prints the totals.
func run(config *conf.Config, o runOptions) error {
	screen := newScreen(os.Stdout, os.Stderr, !o.json)
	log := control.NewLogger(screen.log(), config.Log)
	signal.Ignore(syscall.SIGPIPE) // whoever reads our log may go; forwarding goes on
	// Each has a channel of its own: hangups that pile up while a table of a million routes
	// is read again must not leave a signal to end without room.
	end, hangup := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(end)
	defer signal.Stop(hangup)

	sw, err := start(config, end, log)
	if errors.Is(err, control.ErrInterrupted) {
		return nil
	}
	if err != nil {
		return err
	}
	if path, err := filepath.Abs(o.config); err == nil {
		sw.SetSource(path)
	}
	mark := wait(sw, o, end, hangup, screen, log)
	err = stop(sw, end)
	report := sw.ReportSince(mark)
	if o.json {
		return errors.Join(err, json.NewEncoder(os.Stdout).Encode(report))
	}
	screen.clear()
	return errors.Join(err, printTotals(os.Stdout, &report))
}

// start starts the switch. A signal to end interrupts it, a second one ends the process
// where it is. What comes too late for that is for wait to find, and so are hangups: the file
// may be another by then.
func start(config *conf.Config, end chan os.Signal, log *slog.Logger) (*control.Switch, error) {
	ctx, interrupt := context.WithCancel(context.Background())
	defer interrupt()
	started, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for {
			select {
			case <-started:
				return
			case sig := <-end:
				if ctx.Err() != nil {
					endAtOnce()
				}
				log.Info("stopping", "signal", sig.String())
				interrupt()
			}
		}
	}()
	sw, err := control.Start(ctx, config, log)
	close(started)
	<-watched
	if ctx.Err() != nil {
		select {
		case end <- syscall.SIGTERM:
		default: // as many wait already
		}
	}
	return sw, err
}

// endAtOnce is what a second signal asks for.
func endAtOnce() {
	fmt.Fprintln(os.Stderr, "second signal: ending at once")
	os.Exit(exitFault)
}

// wait returns when the run is to end, with the mark that totals count from.
func wait(sw *control.Switch, o runOptions, end, hangup <-chan os.Signal, screen *screen, log *slog.Logger) control.Mark {
	mark := sw.Origin()
	screen.before = mark
	var over <-chan time.Time
	warm := time.After(o.warmup)
	idle := newIdleWatch(sw, o.idleExit)
	defer idle.stop()
	refresh := time.NewTicker(time.Second)
	defer refresh.Stop()
	for {
		select {
		case <-warm:
			if o.warmup > 0 {
				mark = sw.Mark()
			}
			if o.duration > 0 {
				over = time.After(o.duration)
			}
		case <-over:
			log.Info("duration is over")
			return mark
		case <-idle.tick():
			if idle.over() {
				log.Info("no packets any more", "for", o.idleExit)
				return mark
			}
		case <-refresh.C:
			screen.refresh(sw)
		case sig := <-end:
			log.Info("stopping", "signal", sig.String())
			return mark
		case <-hangup:
			if len(end) > 0 { // that comes first
				continue
			}
			if _, err := sw.ReloadSource(); err != nil {
				log.Error("reload refused, the last configuration runs on", "error", err)
			}
		}
	}
}

// stopLimit is when a stop that hangs, in a driver, is given up.
const stopLimit = 10 * time.Second

// stop drains the switch. A second signal ends the process where it is.
func stop(sw *control.Switch, end <-chan os.Signal) error {
	stopped, late := make(chan struct{}), time.After(stopLimit)
	defer close(stopped)
	go func() {
		select {
		case <-stopped:
		case <-late:
			fmt.Fprintln(os.Stderr, "the switch does not stop: ending at once")
			os.Exit(exitFault)
		case <-end:
			endAtOnce()
		}
	}()
	return sw.Stop(context.Background())
}

// idleWatch notices that no packets arrive any more.
type idleWatch struct {
	sw     *control.Switch
	limit  time.Duration
	ticker *time.Ticker // nil: never over
	last   uint64       // packets received
	since  time.Time
}

func newIdleWatch(sw *control.Switch, limit time.Duration) *idleWatch {
	w := &idleWatch{sw: sw, limit: limit, since: time.Now()}
	if limit > 0 {
		const looks = 4 // within the limit: how much later than it we may notice
		w.ticker = time.NewTicker(max(limit/looks, time.Millisecond))
	}
	return w
}

func (w *idleWatch) tick() <-chan time.Time {
	if w.ticker == nil {
		return nil
	}
	return w.ticker.C
}

func (w *idleWatch) over() bool {
	if n := w.sw.Received(); n != w.last {
		w.last, w.since = n, time.Now()
		return false
	}
	return time.Since(w.since) >= w.limit
}

func (w *idleWatch) stop() {
	if w.ticker != nil {
		w.ticker.Stop()
	}
}

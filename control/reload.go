package control

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ffwd/conf"
	"ffwd/fib"
	"ffwd/pipeline"
	"ffwd/policy"
)

// ErrRestart says that the new configuration changes what a running switch cannot.
var ErrRestart = errors.New("needs a restart")

// Reload puts a new configuration in the place of the one that runs: rules,
// routes, neighbours, flow timeouts, the ICMP rate, the log level. It returns
// what changed.
//
// It prepares everything, changes tables by difference, and publishes the rest
// by one pointer store. On any error the last configuration runs on, whole. The
// error is conf.Faults, wraps ErrRestart, or says what did not fit where.
func (s *Switch) Reload(next *conf.Config) (conf.Changes, error) {
	if faults := next.Validate(s.knownPolicies()...); len(faults) > 0 {
		return conf.Changes{}, faults
	}
	return s.apply(next)
}

// apply is Reload of a configuration that is valid, as those that conf reads are. Should a
// timeout policy that its rules name be gone since, it is refused here.
func (s *Switch) apply(next *conf.Config) (conf.Changes, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.Config()
	changes := conf.Diff(before, next)
	if changes.NeedsRestart() {
		return changes, &restartRefusal{changes.Restart}
	}
	plan, err := s.planPolicies(next)
	if err != nil {
		return changes, err
	}
	limits, err := s.planLimits(next)
	if err != nil {
		plan.abandon()
		return changes, err
	}
	snapshot, err := s.prepare(next, &changes, plan, limits)
	if err != nil {
		plan.abandon()
		return changes, err
	}
	if err := s.changeTables(next, &changes); err != nil {
		plan.abandon()
		if s.mirror != nil { // the kernel's neighbours that were overwritten are entered again
			s.mirror.Pin(s.pinned(next))
			s.mirror.Pin(s.pinned(before))
		}
		return changes, err
	}
	if s.mirror != nil && changes.Neighbours {
		s.mirror.Pin(s.pinned(next))
	}
	plan.commit()
	s.snapshot.Store(snapshot)
	s.running.Store(&running{next, snapshot.Rules})
	s.limits = limits.numbers
	s.publishRules(plan)
	s.awaitWorkers()
	if changes.LogLevel {
		s.setLogLevel(next.Log.Level)
	}
	if changes.Routes || changes.Neighbours {
		s.tell(next)
	}
	s.log.Info("reloaded", "changes", len(changes.Reload))
	return changes, nil
}

// restartRefusal is an ErrRestart with what cannot be reloaded.
type restartRefusal struct{ changes []conf.Change }

// Error names the keys, in one line.
func (r *restartRefusal) Error() string {
	const most = 8
	var names []string
	for _, c := range r.changes[:min(len(r.changes), most)] {
		names = append(names, c.String())
	}
	if n := len(r.changes) - most; n > 0 {
		names = append(names, fmt.Sprintf("%d more", n))
	}
	return fmt.Sprintf("%v, nothing was changed: %s", ErrRestart, strings.Join(names, "; "))
}

func (*restartRefusal) Unwrap() error { return ErrRestart }

// awaitWorkers returns when every worker has ended the poll it was in: from then
// on none forwards by what was published before. It does not wait for one that is stuck,
// which sees the new when it comes back.
func (s *Switch) awaitWorkers() {
	for _, w := range s.workers {
		if err := w.Do(func() {}); err != nil {
			s.log.Error("reloaded, but not seen by all", "error", err)
		}
	}
}

// prepare makes the next snapshot. Nothing sees it yet. Rules are compiled anew when
// they changed, or when a name in them means another timeout policy than before.
func (s *Switch) prepare(next *conf.Config, changes *conf.Changes, plan *policyPlan, limits *limitPlan) (*pipeline.Snapshot, error) {
	snapshot := *s.snapshot.Load()
	bound, err := plan.bind()
	if err != nil {
		return nil, err
	}
	if changes.Rules || !slices.Equal(bound, s.boundPolicies) {
		if plan.hops, err = s.holdHops(next); err != nil {
			return nil, err
		}
		rules, err := s.compileRules(next, bound, limits, plan.hops, policy.NextGeneration(snapshot.Rules.Generation()))
		if err != nil {
			return nil, err
		}
		snapshot.Rules = rules
		plan.hold(bound)
	}
	snapshot.Tracking = tracking(&next.CT, limits)
	snapshot.FragmentTimeouts = fragmentTimeouts(next)
	snapshot.ErrorRate = next.ICMP.ErrorRate
	snapshot.PuntRates = puntRates(&next.SlowPath.Rates)
	return &snapshot, nil
}

// changeTables makes the tables those of next, or leaves them as they are.
// Neighbours come before the routes over them and go after.
func (s *Switch) changeTables(next *conf.Config, changes *conf.Changes) error {
	if !changes.Neighbours && !changes.Routes {
		return nil
	}
	var done journal
	err := s.changeInTurn(&done, next, changes)
	if err != nil && len(done.undo) > 0 {
		s.awaitRoom() // what was deleted has to fit again
		err = errors.Join(err, done.rollBack())
	}
	return err
}

// changeInTurn does the steps of changeTables until one fails.
func (s *Switch) changeInTurn(done *journal, next *conf.Config, changes *conf.Changes) error {
	before, after := s.neighbours(s.Config()), s.neighbours(next)
	if changes.Neighbours {
		if err := s.setNeighbours(done, before, after); err != nil {
			return err
		}
	}
	if changes.Routes {
		if err := s.setRoutes(done, next); err != nil {
			return err
		}
	}
	if changes.Neighbours {
		return s.deleteNeighbours(done, before, after)
	}
	return nil
}

// roomTimeout is how long a reload waits for a worker that holds up what tables retired.
const roomTimeout = 5 * time.Second

// awaitRoom returns when tables can use again what they have retired, which is some poll of
// each worker later.
func (s *Switch) awaitRoom() {
	passed := make(chan struct{})
	s.epoch.Retire(func() { close(passed) })
	select {
	case <-passed:
	case <-time.After(roomTimeout):
	}
}

// setNeighbours adds and changes neighbours.
func (s *Switch) setNeighbours(done *journal, before, after map[neighbourKey]fib.MAC) error {
	for at, mac := range after {
		old, known := before[at]
		if known && old == mac {
			continue
		}
		table := s.tableOf(at.iface)
		if err := table.SetNeighbour(at.iface, at.addr, mac); err != nil {
			return err
		}
		done.note(func() error {
			if known {
				return table.SetNeighbour(at.iface, at.addr, old)
			}
			return table.DeleteNeighbour(at.iface, at.addr)
		})
	}
	return nil
}

// deleteNeighbours removes those that are not in after.
func (s *Switch) deleteNeighbours(done *journal, before, after map[neighbourKey]fib.MAC) error {
	gone := maps.Clone(before)
	maps.DeleteFunc(gone, func(at neighbourKey, _ fib.MAC) bool {
		_, stays := after[at]
		return stays
	})
	for at, mac := range gone {
		table := s.tableOf(at.iface)
		if err := table.DeleteNeighbour(at.iface, at.addr); err != nil {
			return err
		}
		done.note(func() error { return table.SetNeighbour(at.iface, at.addr, mac) })
	}
	return nil
}

// setRoutes gives each table its routes; a table takes all of them or none.
func (s *Switch) setRoutes(done *journal, next *conf.Config) error {
	running := s.Config()
	after, err := s.routes(next)
	if err != nil {
		return err
	}
	for i, table := range s.tables {
		if err := table.SetRoutes(after[i]); err != nil {
			return fmt.Errorf("vrf %d: %w", s.vrfs[i], err)
		}
		done.note(func() error { // a list of a million, which is not made unless it is wanted
			before, err := s.routes(running)
			if err != nil {
				return err
			}
			return table.SetRoutes(before[i])
		})
	}
	return nil
}

// journal is how to undo what a reload did so far.
type journal struct{ undo []func() error }

func (j *journal) note(undo func() error) { j.undo = append(j.undo, undo) }

// rollBack undoes everything, last first.
func (j *journal) rollBack() error {
	var errs []error
	for _, undo := range slices.Backward(j.undo) {
		if err := undo(); err != nil {
			errs = append(errs, fmt.Errorf("roll back: %w", err))
		}
	}
	return errors.Join(errs...)
}

// SetSource names the file that a reload without a document reads again.
func (s *Switch) SetSource(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.source = path
}

// ReloadSource is Reload of the file named by SetSource.
func (s *Switch) ReloadSource() (conf.Changes, error) {
	s.mu.Lock()
	source := s.source
	s.mu.Unlock()
	if source == "" {
		return conf.Changes{}, errors.New("the switch was not started from a file: send a configuration")
	}
	next, err := conf.Load(source, s.knownPolicies()...)
	if err != nil {
		return conf.Changes{}, err
	}
	return s.apply(next)
}

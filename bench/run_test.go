package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// fakeRunner answers from a function and keeps a log of what it was asked.
type fakeRunner struct {
	log    []string
	setups []setup
	answer func(name string, nth int) (sample, error)
	count  map[string]int
}

func newFakeRunner(answer func(name string, nth int) (sample, error)) *fakeRunner {
	return &fakeRunner{answer: answer, count: map[string]int{}}
}

func (f *fakeRunner) run(name string, s *setup) (sample, error) {
	f.log, f.setups = append(f.log, name), append(f.setups, *s)
	for _, file := range s.files {
		if info, err := os.Stat(file); err != nil || info.Size() == 0 {
			return sample{}, fmt.Errorf("capture: %v", err)
		}
	}
	f.count[name]++
	return f.answer(name, f.count[name])
}

func (f *fakeRunner) testpmd(_ context.Context, mode string, s *setup) (sample, error) {
	return f.run(mode, s)
}

func (f *fakeRunner) ffwd(_ context.Context, v variant, s *setup) (sample, error) {
	return f.run(fmt.Sprint(v.scenario, " ", v.routes), s)
}

func (f *fakeRunner) peer(_ context.Context, of peer, s *setup) (sample, error) {
	return f.run(fmt.Sprint(of.name, " ", of.routes), s)
}

func (f *fakeRunner) table(name string, entries int, s *setup) (tableSample, error) {
	m, err := f.run(fmt.Sprint(name, " ", entries), s)
	return tableSample{insertNs: 4 * m.mpps, lookupNs: m.mpps}, err
}

func (f *fakeRunner) flowTable(_ context.Context, entries int, s *setup) (tableSample, error) {
	return f.table("ct", entries, s)
}

func (f *fakeRunner) resident(_ context.Context, of resident, s *setup) (sample, error) {
	return f.run(fmt.Sprint(of.scenario, " ", of.flows), s)
}

func (f *fakeRunner) hash(_ context.Context, entries int, s *setup) (tableSample, error) {
	return f.table("rte_hash", entries, s)
}

func steady(string, int) (sample, error) { return sample{mpps: 10}, nil }

func fakeRun(t *testing.T, ctx context.Context, o Options, f *fakeRunner) ([]Result, error) {
	t.Helper()
	o.HugePages = HugeOff
	if o.Cores == nil {
		o.Cores = []int{1}
	}
	o, err := o.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	rows, err := run(ctx, o, f, captures{dir: dir, seed: 1}, hugePages{dir})
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%d files left behind", len(left))
	}
	return rows, err
}

func TestRepetitionsAreInterleaved(t *testing.T) {
	f := newFakeRunner(steady)
	var told []string
	o := Options{Flows: []int{1000}, Scenarios: []string{stateful, stateless}, Repetitions: 2, Progress: func(done, total int, next string) { told = append(told, fmt.Sprintf("%d/%d %s", done, total, next)) }}
	rows, err := fakeRun(t, context.Background(), o, f)
	if err != nil {
		t.Fatal(err)
	}
	once := []string{"io", "macswap", "stateful 1", "stateful 100000", "stateless 1"}
	if want := append(slices.Clone(once), once...); !slices.Equal(f.log, want) {
		t.Errorf("order %v, want %v", f.log, want)
	}
	if len(rows) != 5 || rows[0].Scenario != ioFloor || rows[3].Routes != 100_000 || rows[2].Bar != 18 {
		t.Errorf("rows %+v", rows)
	}
	if len(told) != 11 || told[0] != "0/10 io-floor: 1000 flows, workers: 1, 1 of 2" || told[10] != "10/10 " {
		t.Errorf("progress %q", told)
	}
}

func TestNoiseHitsNoMedian(t *testing.T) {
	noisy := map[string][]float64{"io": {100, 20, 101, 99, 100}, "stateful 1": {50, 50, 5, 49, 51}}
	f := newFakeRunner(func(name string, nth int) (sample, error) {
		if list := noisy[name]; list != nil {
			return sample{mpps: list[nth-1]}, nil
		}
		return sample{mpps: 90}, nil
	})
	rows, err := fakeRun(t, context.Background(), Options{Scenarios: []string{stateful}, Flows: []int{60_000}}, f)
	if err != nil {
		t.Fatal(err)
	}
	if r := rows[2]; r.Mpps != 50 || r.NsAboveFloor != 10 || r.RatioToFloor != 0.5 || r.Spread != (Spread{5, 51}) {
		t.Errorf("%+v, want 50 Mpps, 10 ns above a floor of 100 Mpps", r)
	}
}

func TestTwoWorkersComeWithOne(t *testing.T) {
	f := newFakeRunner(func(name string, _ int) (sample, error) {
		if strings.HasPrefix(name, statefulTwoCores) {
			return sample{mpps: 19}, nil
		}
		return sample{mpps: 10}, nil
	})
	o := Options{Scenarios: []string{statefulTwoCores}, Repetitions: 1, Cores: []int{1, 0}}
	rows, err := fakeRun(t, context.Background(), o, f)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"io", "macswap", "stateful 1", "io", "macswap", "stateful-2-workers 1"}; !slices.Equal(f.log, want) {
		t.Errorf("ran %v, want %v", f.log, want)
	}
	last := rows[len(rows)-1]
	if last.ScalingToOne != 1.9 || last.Workers != 2 {
		t.Errorf("%+v, want 1.9 times one worker", last)
	}
	if s := f.setups[5]; len(s.files) != 2 || !slices.Equal(s.cores, []int{1, 0}) {
		t.Errorf("setup %+v, want two files on cores 1 and 0", s)
	}
	if s := f.setups[0]; len(s.files) != 1 || !slices.Equal(s.cores, []int{1}) {
		t.Errorf("setup %+v, want one file on core 1", s)
	}
}

func TestFailureLeavesTheOthers(t *testing.T) {
	broken := errors.New("no such port")
	f := newFakeRunner(func(name string, _ int) (sample, error) {
		if name == "stateful 1" {
			return sample{}, broken
		}
		return sample{mpps: 10}, nil
	})
	rows, err := fakeRun(t, context.Background(), Options{Flows: []int{1000}, Scenarios: []string{stateful, stateless}, Repetitions: 3}, f)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "stateful: 1000 flows, routes: 1") {
		t.Errorf("error %v", err)
	}
	if f.count["stateful 1"] != 1 || len(rows) != 4 {
		t.Errorf("%d rows, the broken one ran %d times; want 4 rows and one try", len(rows), f.count["stateful 1"])
	}
}

func TestNoFloorNoRows(t *testing.T) {
	broken := errors.New("no memory")
	f := newFakeRunner(func(name string, _ int) (sample, error) {
		if name == "io" {
			return sample{}, broken
		}
		return sample{mpps: 10}, nil
	})
	rows, err := fakeRun(t, context.Background(), Options{Flows: []int{1000}}, f)
	if !errors.Is(err, broken) || len(rows) != 0 || f.count["stateful 1"]+f.count["stateless 1"]+f.count["macswap"] != 0 {
		t.Errorf("%d rows, ran %v, %v; want nothing after the floor", len(rows), f.log, err)
	}
}

func TestCancelledRunStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	f := newFakeRunner(func(string, int) (sample, error) {
		cancel()
		return sample{}, ctx.Err()
	})
	rows, err := fakeRun(t, ctx, Options{}, f)
	if !errors.Is(err, context.Canceled) || len(rows) != 0 || len(f.log) != 1 {
		t.Errorf("%d rows, ran %v, error %v", len(rows), f.log, err)
	}
}

func TestOptions(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"core":        {Options{Cores: []int{0, 1023}}, "core 1023 does not exist"},
		"core again":  {Options{Cores: []int{0, 0}}, "core 0 does not exist, is not for this process, or is listed twice"},
		"scenario":    {Options{Scenarios: []string{"stateful", "fast"}}, `"fast" is none of stateful`},
		"repetitions": {Options{Repetitions: -1}, "-1 repetitions"},
		"data room":   {Options{DataRoomBytes: 187}, "188"},
		"huge pages":  {Options{HugePages: "some"}, "auto, require or off"},
		"directory":   {Options{Dir: "/tmp/a,b"}, "comma"},
	} {
		if _, err := c.o.withDefaults(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	if _, err := fakeRun(t, context.Background(), Options{Flows: []int{5}}, newFakeRunner(steady)); err == nil {
		t.Error("nothing to measure, and no error")
	}
	o, err := Options{}.withDefaults()
	if err != nil || o.Repetitions != 5 || o.Duration != 2*time.Second || len(o.Cores) == 0 {
		t.Errorf("defaults %+v, %v", o, err)
	}
}

func TestMissingTestpmdNamesItsPackage(t *testing.T) {
	_, err := Run(context.Background(), Options{Testpmd: "dpdk-testpmd-that-is-not-there"})
	if !errors.Is(err, ErrNoTestpmd) || !strings.Contains(err.Error(), "apt-get install dpdk") {
		t.Errorf("error %v", err)
	}
}

func TestProgressLine(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "progress")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tell := ProgressLine(file)
	tell(0, 2, "a")
	tell(1, 2, "b")
	tell(2, 2, "")
	if text, _ := os.ReadFile(file.Name()); !bytes.Equal(text, []byte("[1/2] a\n[2/2] b\n")) {
		t.Errorf("wrote %q", text)
	}
}

package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// Names of the peers, which are the scenarios of their rows.
const (
	l3fwdFIB         = "l3fwd-fib"
	l3fwdEM          = "l3fwd-em"
	ipFragmentation  = "ip_fragmentation"
	l3fwdProgram     = "l3fwd"
	dpdkStartedWords = "entering main loop on lcore"
)

// peer is another program that does the work of a variant on the same packets. The
// zero value is none.
type peer struct {
	name   string
	routes int // as many as the variant's; 0 where it has none
}

// buildPeers makes the programs that the run needs.
func buildPeers(ctx context.Context, o *Options, dir string) (programs map[string]string, err error) {
	programs = map[string]string{}
	for _, g := range chosen(o) {
		for _, of := range peersOf(g) {
			for i := range examples {
				e := &examples[i]
				if e.name != programOf(of) || programs[e.name] != "" {
					continue
				}
				if programs[e.name], err = e.build(ctx, o.Source, dir); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(tablesOf(o)) > 0 {
		programs[hashProgram], err = buildHash(ctx, dir)
	}
	return programs, err
}

// peersOf lists the peers of a group's variants, each once.
func peersOf(g group) (list []peer) {
	for _, v := range g.variants {
		for _, of := range v.peers {
			if !slices.Contains(list, of) {
				list = append(list, of)
			}
		}
	}
	return list
}

func programOf(of peer) string {
	if of.name == l3fwdFIB || of.name == l3fwdEM {
		return l3fwdProgram
	}
	return of.name
}

// peer measures one of the peers.
func (p *processes) peer(ctx context.Context, of peer, s *setup) (sample, error) {
	if of.name == ovsCt {
		return p.ovs(ctx, s)
	}
	dir, err := os.MkdirTemp(p.dir, "peer-")
	if err != nil {
		return sample{}, err
	}
	defer os.RemoveAll(dir)
	args := ipFragmentationArgs(s)
	if of.name != ipFragmentation {
		if args, err = l3fwdFiles(of, s, p.seed, dir); err != nil {
			return sample{}, err
		}
	}
	cmd, cancel := command(ctx, startLimit+s.warmup+s.duration+stopLimit, p.programs[programOf(of)], args...)
	defer cancel()
	cmd.Env = append(os.Environ(), runtimeVariable+"="+dir, mbufsVariable+"="+strconv.Itoa(s.mbufs()))
	out := newTranscript(dpdkStartedWords)
	cmd.Stderr = out // the log; standard output lists every route
	cmd.SysProcAttr.Pdeathsig = killSignal
	c, err := start(cmd)
	if err != nil {
		return sample{}, err
	}
	m, err := c.observe(out, dir, s.warmup, s.duration)
	_ = cmd.Cancel() // these programs run until they are told to end, unless they have
	if ended := c.finish(stopLimit); err == nil && errors.Is(ended, errNotQuit) {
		err = ended
	}
	if ctx.Err() != nil {
		return sample{}, ctx.Err()
	}
	if err != nil {
		return sample{}, fmt.Errorf("%w: %s", err, complaint(out.String()))
	}
	return m, nil
}

// observe waits until a child forwards and reads its counters at the beginning and
// at the end of the measured time.
func (c *child) observe(out *transcript, runtimeDir string, warmup, duration time.Duration) (sample, error) {
	select {
	case <-out.seen:
	case <-c.ended:
		return sample{}, errEndedEarly
	}
	return c.readings(runtimeDir, warmup, duration)
}

// readings are those of a child that forwards already.
func (c *child) readings(runtimeDir string, warmup, duration time.Duration) (sample, error) {
	t, err := dialTelemetry(runtimeDir)
	if err != nil {
		return sample{}, err
	}
	defer t.conn.Close()
	if err := c.pass(warmup); err != nil {
		return sample{}, err
	}
	before, err := t.traffic()
	if err != nil {
		return sample{}, err
	}
	if err := c.pass(duration); err != nil {
		return sample{}, err
	}
	after, err := t.traffic()
	if err != nil {
		return sample{}, err
	}
	return after.since(before)
}

// ealArgs are what every example is given before its own arguments: the worker's
// CPU alone. Its control threads take the others.
func (s *setup) ealArgs() []string {
	source, sink := s.devices()
	args := []string{"-l", strconv.Itoa(s.cores[0]), "--no-pci", "--force-max-simd-bitwidth=512"}
	if s.huge {
		args = append(args, "--in-memory")
	} else {
		args = append(args, "--no-huge", "--no-shconf", "-m", strconv.Itoa(s.ordinaryMemoryMB()+peerTablesMB))
	}
	return append(args, "--vdev", source, "--vdev", sink, "--")
}

func ipFragmentationArgs(s *setup) []string {
	return append(s.ealArgs(), "-p", "0x3", "-q", "2")
}

// l3fwdFiles writes the rules of l3fwd into dir and returns its arguments. It wants
// rules of both families.
func l3fwdFiles(of peer, s *setup, seed uint64, dir string) ([]string, error) {
	args := append(s.ealArgs(), "-P", "-p", "0x3", "--config", fmt.Sprintf("(0,0,%d)", s.cores[0]), "--parse-ptype")
	mode := "fib"
	if of.name == l3fwdEM {
		mode = "em"
		if s.ipv6 {
			args = append(args, "--ipv6")
		}
	}
	args = append(args, "--lookup="+mode)
	for _, ipv6 := range []bool{false, true} {
		rules := func(w io.Writer) error { return writeRoutes(w, ipv6, of.routes, s.ipv6) }
		if mode == "em" {
			rules = func(w io.Writer) error { return writeFlows(w, ipv6, s, seed) }
		}
		family := "ipv4"
		if ipv6 {
			family = "ipv6"
		}
		path := filepath.Join(dir, family+".rules")
		if err := writeFile(path, rules); err != nil {
			return nil, err
		}
		args = append(args, "--rule_"+family+"="+path)
	}
	return args, nil
}

func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(file)
	return errors.Join(write(w), w.Flush(), file.Close())
}

// writeRoutes writes routes to the second port: those of ours if the family is that
// of the load, else the default route.
func writeRoutes(w io.Writer, ipv6 bool, n int, loadIPv6 bool) error {
	if ipv6 != loadIPv6 {
		n = 1
	}
	var err error
	for _, prefix := range prefixes(n, ipv6) {
		if _, err = fmt.Fprintf(w, "R%s 1\n", prefix); err != nil {
			break
		}
	}
	return err
}

// writeFlows writes an exact match for each direction of each flow of the load, or
// one that matches none of them if the family is another.
func writeFlows(w io.Writer, ipv6 bool, s *setup, seed uint64) error {
	if ipv6 != s.ipv6 {
		any := "0.0.0.1"
		if ipv6 {
			any = "::1"
		}
		_, err := fmt.Fprintf(w, "R%s %s 1 1 17 1\n", any, any)
		return err
	}
	for t := range spec(s.load, 0, seed).Tuples() {
		_, err := fmt.Fprintf(w, "R%s %s %d %d %d 1\nR%s %s %d %d %d 1\n",
			t.Dst.Addr(), t.Src.Addr(), t.Dst.Port(), t.Src.Port(), t.Protocol,
			t.Src.Addr(), t.Dst.Addr(), t.Src.Port(), t.Dst.Port(), t.Protocol)
		if err != nil {
			return err
		}
	}
	return nil
}

package bench

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ffwd/clock"
	"ffwd/ct"
	"ffwd/mem"
	"ffwd/packet"
)

//go:embed rtehash/rte_hash.c
var hashSource []byte

const hashProgram = "rte_hash"

// buildHash compiles the program that measures rte_hash.
func buildHash(ctx context.Context, dir string) (string, error) {
	source := filepath.Join(dir, hashProgram+".c")
	if err := os.WriteFile(source, hashSource, 0o600); err != nil {
		return "", fmt.Errorf("bench: %w", err)
	}
	program := filepath.Join(dir, hashProgram)
	return program, compile(ctx, program, []string{source})
}

// keyBytes is a key in the file that both sides read: the addresses and ports of an
// IPv4 header and the protocol, as on the wire, and padding.
//
//	0    source address
//	4    destination address
//	8    source port
//	10   destination port
//	12   protocol
const keyBytes = 16

// writeKeys writes n different keys in the order of insertion and once more in
// another, so that what lies side by side in a table is not met one after the other.
func writeKeys(w io.Writer, n int, seed uint64) error {
	random := rand.New(rand.NewPCG(seed, uint64(n)))
	order := make([]uint32, n)
	for i := range order {
		order[i] = uint32(i)
	}
	out := bufio.NewWriterSize(w, 1<<20)
	var key [keyBytes]byte
	for range 2 {
		random.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, i := range order {
			be := binary.BigEndian
			be.PutUint32(key[0:], 64<<24|i)      // a client each
			be.PutUint32(key[4:], 80<<24|i%9973) // of servers fewer
			be.PutUint16(key[8:], uint16(1024+i%60000))
			be.PutUint16(key[10:], 53)
			key[12] = packet.ProtoUDP
			if _, err := out.Write(key[:]); err != nil {
				return err
			}
		}
	}
	return out.Flush()
}

// keyFile writes the keys of a size once for all repetitions.
func (p *processes) keyFile(n int) (string, error) {
	path := filepath.Join(p.dir, fmt.Sprintf("%d.keys", n))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	err := writeFile(path, func(w io.Writer) error { return writeKeys(w, n, p.seed) })
	return path, err
}

// hash measures DPDK's rte_hash in a process of its own.
func (p *processes) hash(ctx context.Context, n int, s *setup) (tableSample, error) {
	keys, err := p.keyFile(n)
	if err != nil {
		return tableSample{}, err
	}
	args := []string{"-l", strconv.Itoa(s.cores[0]), "--no-pci", "--no-telemetry"}
	if s.huge {
		args = append(args, "--in-memory")
	} else {
		args = append(args, "--no-huge", "--no-shconf", "-m", strconv.Itoa(tableMB(n)))
	}
	args = append(args, "--", keys, strconv.Itoa(n), strconv.Itoa(burst), fmt.Sprint(s.duration.Seconds()))
	cmd, cancel := command(ctx, startLimit+s.duration+stopLimit, p.programs[hashProgram], args...)
	defer cancel()
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return tableSample{}, ctx.Err()
	}
	if err != nil {
		return tableSample{}, fmt.Errorf("%w: %s", err, complaint(string(out)))
	}
	return parseHash(string(out))
}

func parseHash(output string) (m tableSample, err error) {
	for line := range strings.Lines(output) {
		words := strings.Fields(line)
		if len(words) != 2 {
			continue
		}
		switch words[0] {
		case "insert":
			m.insertNs, err = strconv.ParseFloat(words[1], 64)
		case "lookup":
			m.lookupNs, err = strconv.ParseFloat(words[1], 64)
		}
		if err != nil {
			return tableSample{}, fmt.Errorf("time of %s: %w", words[0], err)
		}
	}
	if m.insertNs <= 0 || m.lookupNs <= 0 {
		return tableSample{}, fmt.Errorf("no times: %s", complaint(output))
	}
	return m, nil
}

// flowTable measures our table, in this process on the worker's CPU.
func (p *processes) flowTable(ctx context.Context, n int, s *setup) (m tableSample, err error) {
	path, err := p.keyFile(n)
	if err != nil {
		return m, err
	}
	file, err := os.Open(path)
	if err != nil {
		return m, err
	}
	defer file.Close()
	keys, err := unix.Mmap(int(file.Fd()), 0, 2*n*keyBytes, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_POPULATE)
	if err != nil {
		return m, fmt.Errorf("map %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, unix.Munmap(keys)) }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends, and its affinity with it
		var cpus unix.CPUSet
		cpus.Set(s.cores[0])
		if err = unix.SchedSetaffinity(0, &cpus); err == nil {
			m, err = measureTable(ctx, keys[:n*keyBytes], keys[n*keyBytes:], s)
		}
	}()
	<-done
	return m, err
}

// tableBench loads bursts of keys into a table.
type tableBench struct {
	table    *ct.Table
	secret   ct.Secret
	timeouts *ct.Timeouts
	zones    [1]uint16
	burst    packet.Burst
	run      packet.Run
	frames   [burst][64]byte // a line each
}

func measureTable(ctx context.Context, insert, lookup []byte, s *setup) (m tableSample, err error) {
	n := len(insert) / keyBytes
	b := &tableBench{secret: ct.NewSecret(), timeouts: ct.DefaultTimeouts()}
	if b.table, err = ct.New(ct.Options{MaxFlows: n, Secret: b.secret, Huge: pagesFor(s)}); err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, b.table.Close()) }()
	c := clock.New()
	if _, err := b.fill(ctx, c, insert); err != nil {
		return m, err
	}
	// All flows expire, and come again: a table in service has its memory already, as
	// rte_hash has from the start.
	b.burst.NowNs = int64(time.Hour)
	b.table.Expire(b.burst.NowNs, math.MaxInt)
	inserts, err := b.fill(ctx, c, insert)
	if err != nil {
		return m, err
	}
	m.insertNs = inserts.mean(c)

	var end time.Time // set after one round, which is not measured
	var lookups times
	missed := 0
	for at := 0; ctx.Err() == nil && (end.IsZero() || time.Now().Before(end)); {
		b.load(lookup, at, burst)
		start := c.Cycles()
		found := b.find()
		took := c.Cycles() - start
		missed += burst - found
		if !end.IsZero() {
			lookups.add(c, took, burst)
		}
		if at += burst; at >= n {
			at -= n
			if end.IsZero() {
				end = time.Now().Add(s.duration)
			}
		}
	}
	if b.table.Created != 2*uint64(n) || b.table.Invalid != 0 || lookups.keys == 0 || missed != 0 {
		return m, fmt.Errorf("%d lookups of %d flows: %d missed, %d packets were invalid", lookups.keys, b.table.Created, missed, b.table.Invalid)
	}
	m.lookupNs = lookups.mean(c)
	return m, ctx.Err()
}

// times are those of bursts, but for the interrupted ones.
type times struct {
	cycles uint64
	keys   int
}

// interruptedNs is the time above which a burst is taken to have been interrupted by other
// work on its core: ten times what the slowest takes. rte_hash.c has the same.
const interruptedNs = 300_000

func (t *times) add(c *clock.Clock, cycles uint64, keys int) {
	if c.Ns(cycles) < interruptedNs {
		t.cycles, t.keys = t.cycles+cycles, t.keys+keys
	}
}

// mean returns the nanoseconds of a key.
func (t *times) mean(c *clock.Clock) float64 {
	return float64(c.Ns(t.cycles)) / float64(max(1, t.keys))
}

// fill enters all flows into the empty table and returns the times that took.
func (b *tableBench) fill(ctx context.Context, c *clock.Clock, keys []byte) (took times, err error) {
	n := len(keys) / keyBytes
	before := b.table.Flows4
	for at := 0; at < n && ctx.Err() == nil; at += burst {
		b.load(keys, at, min(burst, n-at))
		b.pack(b.run.Heads[:b.burst.N])
		start := c.Cycles()
		b.enter()
		took.add(c, c.Cycles()-start, b.burst.N)
	}
	if before != 0 || b.table.Flows4 != uint64(n) {
		return times{}, errors.Join(ctx.Err(), fmt.Errorf("the table of %d flows had %d before and %d after", n, before, b.table.Flows4))
	}
	return took, nil
}

func pagesFor(s *setup) mem.Huge {
	if s.huge {
		return mem.Hugetlb
	}
	return mem.Transparent
}

// load makes the burst count packets with the keys from the at-th on: plain frames, and
// what packet.Run has of them.
func (b *tableBench) load(keys []byte, at, count int) {
	const source = packet.EthernetLen + 12 // the addresses, and the ports behind them
	n := len(keys) / keyBytes
	b.burst.N = count
	for i := range count {
		key := keys[(at+i)%n*keyBytes:][:keyBytes]
		copy(b.frames[i][source:], key[:12])
		b.run.Src4[i], b.run.Dst4[i] = binary.BigEndian.Uint32(key), binary.BigEndian.Uint32(key[4:])
		b.run.Ports[i], b.run.Proto[i] = binary.LittleEndian.Uint32(key[8:]), key[12]
		b.run.Heads[i] = packet.Head{Data: unsafe.Pointer(&b.frames[i]), Len: packet.EthernetLen + packet.IPv4HeaderLen + 8,
			L3: packet.EthernetLen, L4: packet.IPv4HeaderLen, Proto: key[12], Flags: packet.HasPorts, Verdict: packet.Continue}
	}
}

// find is what is done with packets of established flows: key and hash from the header, the
// flow, its counters and its deadline. Express does it, and the stages for the rest of a
// burst from the first packet on whose candidate is another's flow. It returns how many were
// found.
func (b *tableBench) find() int {
	heads := b.run.Heads[:b.burst.N]
	b.table.SeekPlain(&b.run, len(heads), false, 0, 0)
	n := b.table.Join(&b.run, 0, len(heads), b.burst.NowNs, b.timeouts)
	if n < len(heads) {
		b.pack(heads[n:])
		b.lookup()
		for i := range b.burst.Live() {
			if b.burst.Pkts[i].Flow != 0 {
				n++
			}
		}
	}
	return n
}

// pack makes the burst of packets with these heads.
func (b *tableBench) pack(heads []packet.Head) {
	b.burst.N = len(heads)
	for i := range heads {
		b.burst.Pkts[i] = packet.Packet{Head: heads[i]}
		p := &b.burst.Pkts[i]
		p.Flags &^= packet.KeySwapped
		p.PortsLE = binary.LittleEndian.Uint32(p.Transport())
	}
}

func (b *tableBench) lookup() {
	b.secret.Tuples(&b.burst, b.zones[:])
	b.table.Lookup(&b.burst, b.timeouts)
}

// enter is what the stages do with packets of new flows.
func (b *tableBench) enter() {
	b.lookup()
	for i := range b.burst.Live() {
		b.table.Confirm(&b.burst.Pkts[i], b.burst.NowNs, b.timeouts)
	}
}

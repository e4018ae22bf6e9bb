package slowpath

import (
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"ffwd/fib"
)

// Neighbour names a neighbour on an interface of the switch.
type Neighbour struct {
	Iface uint16
	Addr  netip.Addr
}

// neighbourGroups are the notifications that a neighbourMirror wants.
var neighbourGroups = []int{unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH}

// resolvedStates are those in which the kernel itself sends to the address it
// knows. Source: NUD_VALID in include/net/neighbour.h.
const resolvedStates = unix.NUD_PERMANENT | unix.NUD_NOARP | unix.NUD_REACHABLE | unix.NUD_PROBE | unix.NUD_STALE | unix.NUD_DELAY

// kernelNeighbour is where the kernel keeps a neighbour.
type kernelNeighbour struct {
	ifIndex uint32
	addr    netip.Addr
}

// neighbourState is what the kernel knows of it.
type neighbourState struct {
	state uint16
	mac   fib.MAC // all zero: none
}

func (s neighbourState) resolved() bool {
	return s.state&resolvedStates != 0 && s.mac != (fib.MAC{}) && s.mac[0]&1 == 0
}

// neighbourMirror makes the FIB follow the kernel's neighbours. How many there
// are is bounded by the kernel (gc_thresh3) and by the FIB's next hops.
type neighbourMirror struct {
	mu     sync.Mutex
	tables []*fib.Table
	log    *slog.Logger
	twins  twins
	kernel map[kernelNeighbour]neighbourState
	static map[Neighbour]fib.MAC

	installed map[Neighbour]fib.MAC
	refused   map[Neighbour]struct{}
	dirty     map[Neighbour]struct{}
}

func newNeighbourMirror(c *MirrorConfig) *neighbourMirror {
	return &neighbourMirror{
		tables: c.Tables, log: c.Log, twins: newTwins(c.Twins),
		kernel: map[kernelNeighbour]neighbourState{}, static: maps.Clone(c.Static),
		installed: map[Neighbour]fib.MAC{}, refused: map[Neighbour]struct{}{}, dirty: map[Neighbour]struct{}{},
	}
}

// dump makes the view what the kernel has now.
func (m *neighbourMirror) dump(s *socket, trusted func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	links, kernel := m.twins.links, m.kernel
	m.twins.links = map[uint32]linkMessage{}
	m.kernel = map[kernelNeighbour]neighbourState{}
	err := m.dumpAll(s)
	if err == nil && trusted != nil {
		err = trusted()
	}
	if err != nil && (trusted != nil || !errors.Is(err, errInterrupted)) {
		m.twins.links, m.kernel = links, kernel
		return err
	}
	m.reviewAll()
	return err
}

func (m *neighbourMirror) dumpAll(s *socket) error {
	interrupted := false
	for _, r := range [...]struct {
		kind   int
		header fixedPart
	}{
		{unix.RTM_GETLINK, familyHeader(unix.SizeofIfInfomsg, unix.AF_UNSPEC)},
		{unix.RTM_GETNEIGH, familyHeader(sizeofNdMsg, unix.AF_INET)},
		{unix.RTM_GETNEIGH, familyHeader(sizeofNdMsg, unix.AF_INET6)},
	} {
		err := s.request(dumpRequest(r.kind, r.header), func(r message) { m.enter(r) })
		switch {
		case errors.Is(err, errInterrupted):
			interrupted = true
		case errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.EAFNOSUPPORT): // no IPv6
		case err != nil:
			return err
		}
	}
	if interrupted {
		return errInterrupted
	}
	return nil
}

// event enters a notification. Each tells all of a neighbour or link: one that is
// told anew does no harm.
func (m *neighbourMirror) event(r message, _ bool) (resync bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.enter(r) {
		m.reviewAll()
	}
	return false
}

// enter makes a message part of the view, and reports whether a link changed by it.
func (m *neighbourMirror) enter(r message) (link bool) {
	switch r.kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		l, ok := parseLink(r.data)
		return ok && m.twins.change(l, r.kind == unix.RTM_DELLINK)
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		n, ok := parseNeighbour(r.data)
		if !ok || n.proxy {
			return false
		}
		at := kernelNeighbour{n.ifIndex, n.addr}
		if r.kind == unix.RTM_DELNEIGH {
			delete(m.kernel, at)
		} else {
			m.kernel[at] = neighbourState{n.state, fib.MAC(n.mac)}
		}
		if iface, _, ours := m.twins.byIndex(n.ifIndex); ours {
			m.dirty[Neighbour{iface, n.addr}] = struct{}{}
		}
	}
	return false
}

// reviewAll marks every neighbour that there is or was.
func (m *neighbourMirror) reviewAll() {
	for at := range m.installed {
		m.dirty[at] = struct{}{}
	}
	for at := range m.kernel {
		if iface, _, ours := m.twins.byIndex(at.ifIndex); ours {
			m.dirty[Neighbour{iface, at.addr}] = struct{}{}
		}
	}
}

// settle makes the FIB follow the view.
func (m *neighbourMirror) settle() (changes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for at := range m.dirty {
		if m.follow(at) {
			changes++
		}
	}
	clear(m.dirty)
	return changes
}

// follow gives the FIB a neighbour as the kernel has it, or takes it away. What
// the configuration says of a neighbour stands. It reports whether the FIB changed.
func (m *neighbourMirror) follow(at Neighbour) bool {
	if _, pinned := m.static[at]; pinned {
		delete(m.installed, at)
		return false
	}
	now := m.kernel[kernelNeighbour{m.twins.indexOf(at.Iface), at.Addr}]
	before, installed := m.installed[at]
	table := m.tables[m.twins.tableOf(at.Iface)]
	delete(m.refused, at)
	switch {
	case now.resolved() && (!installed || before != now.mac):
		if err := table.SetNeighbour(at.Iface, at.Addr, now.mac); err != nil {
			m.refused[at] = struct{}{} // as many as the kernel keeps
			return false
		}
		m.installed[at] = now.mac
		return true
	case !now.resolved() && installed:
		if err := table.DeleteNeighbour(at.Iface, at.Addr); err != nil && !errors.Is(err, fib.ErrNotFound) {
			m.log.Error("mirror: a neighbour stays in the FIB", "neighbour", at.Addr, "error", err)
			return false // with its old MAC, until the next time it is looked at
		}
		delete(m.installed, at)
		return true
	}
	return false
}

// tend tries again what the FIB refused, and keeps neighbours in use fresh.
func (m *neighbourMirror) tend() {
	m.mu.Lock()
	maps.Copy(m.dirty, m.refused)
	m.mu.Unlock()
	m.settle()
}

func (m *neighbourMirror) status(s *MirrorStatus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.Neighbours, s.Refused = len(m.installed), len(m.refused)
}

// Pin says which neighbours the configuration has from now on: the kernel's word
// does not count for them. The caller has entered them, and has taken out those
// that were pinned before, which are now as the kernel has them.
func (m *Mirror) Pin(static map[Neighbour]fib.MAC) {
	n := m.neighbours
	n.mu.Lock()
	for at := range n.static {
		n.dirty[at] = struct{}{}
	}
	for at := range static {
		delete(n.installed, at)
	}
	n.static = maps.Clone(static)
	n.mu.Unlock()
	n.settle()
}

package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Sizes of an mbuf in its pool, rounded to cache lines.
// Source: rte_mempool.h, rte_mbuf_core.h.
const (
	mbufHeaderBytes    = 128
	mempoolObjectBytes = 64 // header of each object, with its padding
	cacheLine          = 64
	pageBytes          = 4096
	hugePageMB         = 2
)

// driverMB is for what is not mbufs: the ring of net_pcap, the pool's ring, ethdev.
const driverMB = 128

// tablesMB is for the flow and routing tables of ffwd, which take huge pages, too.
const tablesMB = 512

// peerTablesMB is for the tables of l3fwd: four million exact matches of either
// family, two million routes with their tree, 2^18 groups of IPv6.
const peerTablesMB = 1536

func (s *setup) objectBytes() int {
	return (mempoolObjectBytes + mbufHeaderBytes + s.dataRoom + cacheLine - 1) / cacheLine * cacheLine
}

// hugeMemoryMB is what one program needs when it has huge pages.
func (s *setup) hugeMemoryMB() int {
	return s.mbufs()*s.objectBytes()>>20 + driverMB + max(tablesMB, s.tablesMB)
}

// ordinaryMemoryMB is what DPDK must be given without huge pages. No mbuf lies across
// the border of two pages there, so that those of the default size take a whole one.
func (s *setup) ordinaryMemoryMB() int {
	perPage := max(1, pageBytes/s.objectBytes())
	return (s.mbufs()/perPage+1)*pageBytes>>20*11/10 + driverMB
}

// largestPool is the memory in MiB that the largest load or table needs with huge
// pages.
func largestPool(groups []group, tables []int, o *Options) int {
	need := 0
	for _, n := range tables {
		need = max(need, tableMB(n))
	}
	for _, g := range groups {
		s := setup{load: g.load, dataRoom: o.DataRoomBytes}
		if o.Peers {
			s.tablesMB = peerTablesMB
		}
		need = max(need, s.hugeMemoryMB())
	}
	return need
}

// hugePages is the kernel's pool of 2 MiB pages; dir has nr_hugepages and
// free_hugepages.
type hugePages struct{ dir string }

func systemHugePages() hugePages {
	return hugePages{"/sys/kernel/mm/hugepages/hugepages-2048kB"}
}

// prepare decides whether the run uses huge pages, and reserves more where that was
// asked for. restore gives back what it reserved.
func (h hugePages) prepare(o *Options, needMB int) (use bool, restore func() error, err error) {
	restore = nothing
	if o.HugePages == HugeOff {
		return false, restore, nil
	}
	need := (needMB + hugePageMB - 1) / hugePageMB
	free := h.read("free_hugepages")
	if free < need && o.ReserveHugePages {
		before := h.read("nr_hugepages")
		if err := h.reserve(before + need - free); err != nil {
			return false, restore, fmt.Errorf("bench: reserve %d huge pages: %w", need-free, err)
		}
		restore = func() error { return h.reserve(before) }
		free = h.read("free_hugepages")
	}
	switch {
	case free >= need:
		return true, restore, nil
	case o.HugePages == HugeRequire:
		err = fmt.Errorf("bench: %d huge pages of 2 MiB are free, the largest load needs %d: reserve more, choose fewer flows, or run without", free, need)
	}
	return false, nothing, errors.Join(err, restore())
}

func nothing() error { return nil }

// read returns a number from the kernel, 0 where it has no huge pages.
func (h hugePages) read(name string) int {
	text, _ := os.ReadFile(filepath.Join(h.dir, name))
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}

func (h hugePages) reserve(pages int) error {
	return os.WriteFile(filepath.Join(h.dir, "nr_hugepages"), []byte(strconv.Itoa(pages)), 0)
}

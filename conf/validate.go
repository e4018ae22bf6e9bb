package conf

import (
	"fmt"
	"math/bits"
	"net"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Bounds from specifications and from DPDK.
const (
	minMTU         = 68   // RFC 791 section 3.2: every internet module must forward 68 bytes
	minMTUIPv6     = 1280 // RFC 8200 section 5
	maxVLAN        = 4094 // IEEE 802.1Q: 0 is priority only, 4095 reserved
	maxPortName    = 15   // IFNAMSIZ less the NUL: the name of a port's twin in the kernel
	maxWorkers     = 127  // RTE_MAX_LCORE of 128 less the main thread
	maxCore        = 1023 // CPU_SETSIZE less one
	maxPoolCache   = 512  // RTE_MEMPOOL_CACHE_MAX_SIZE
	maxQueues      = 1024 // RTE_MAX_QUEUES_PER_PORT
	maxSocketBytes = 107  // sun_path of 108 less the NUL: unix(7)
)

// Bounds we chose.
const (
	maxMTU         = 9600 // the largest jumbo frame common NICs take
	maxBurst       = 256
	minRing        = 64
	maxRing        = 1 << 20
	minMbufs       = 1024
	maxMbufs       = 1 << 26
	maxMemoryMB    = 1 << 20
	minDescriptors = 32
	maxDescriptors = 32768
	maxPorts       = 1024 // interfaces, sub-ports included
	maxVRF         = 255
	maxHops        = 64
	maxWeight      = 256
	minFlows       = 1024
	maxFlows       = 50_000_000
	maxLimits      = 255 // ct.MaxLimits without 0
	minRoutes      = 1024
	maxRoutes      = 1 << 23
	maxNextHops    = 1 << 22
	maxRules       = 65536
	maxErrorRate   = 1_000_000

	// Of datagrams that are not whole. A packet has at most 65535 bytes.
	maxDatagrams     = 1 << 20
	maxFragments     = 1 << 16
	minFragmentBytes = 1 << 16
	maxFragmentBytes = 1 << 30

	// A deadline is kept as unsigned 32-bit milliseconds and compared by the
	// sign of a difference, so it reaches 2^31 ms: 24 days and 20 hours.
	maxTimeout = 24 * 24 * time.Hour
	minTimeout = time.Millisecond
)

// Validate returns every fault of the configuration, without file and line, or
// nil. It changes nothing. Parse calls it; a Config built in Go needs it.
//
// known are timeout policies of a running switch that are not in the file: its
// rules may name them.
func (c *Config) Validate(known ...string) Faults {
	v := &validator{c: c, known: known}
	v.words(&place{}, reflect.ValueOf(c).Elem())
	v.eal()
	v.workers()
	v.ports()
	v.addresses()
	v.routes()
	v.neighbours()
	v.fib()
	v.ct()
	v.timeoutPolicies()
	v.policy()
	v.queues()
	v.rules()
	v.services()
	v.slowPath()
	return v.faults
}

// validator collects the faults of one Config. portIndex, nets and policies are
// filled by ports, addresses and timeoutPolicies for the checks after them.
type validator struct {
	c         *Config
	faults    Faults
	portIndex map[string]int // the first port of each name
	nets      connected
	queue     map[int]bool              // the numbers of queues
	policies  map[string]*TimeoutPolicy // of the file, by name
	known     []string                  // of a running switch besides
	limits    int                       // rules with conn_max so far
}

// words refuses a word that a Go caller made up or left out. A file's words were
// looked at when they were decoded, with the key's presence in mind.
func (v *validator) words(at *place, value reflect.Value) {
	switch value.Kind() {
	case reflect.Struct:
		if !isTable(value.Type()) {
			return
		}
		for _, f := range tomlFields(value.Type()) {
			if f.words {
				here := at.join(f.key)
				v.words(&here, value.Field(f.index))
			}
		}
	case reflect.Slice:
		for i := range value.Len() {
			here := at.element(i)
			v.words(&here, value.Index(i))
		}
	case reflect.String:
		w, ok := value.Interface().(word)
		switch {
		case !ok:
		case value.Len() > 0:
			if fault := wordFault(value.String(), w.words()); fault != "" {
				v.faults.add(at.String(), "%s", fault)
			}
		case !isOptional(w):
			v.faults.add(at.String(), "is missing; want %s", strings.Join(w.words(), ", "))
		}
	}
}

// isOptional tells whether a word may be left out, where a check of its own allows it.
func isOptional(w word) bool {
	_, may := w.(interface{ optional() })
	return may
}

// within notes n outside first..last, with the reason for the bound if any.
func (v *validator) within(path string, n, first, last int, because string) {
	if because != "" {
		because = " (" + because + ")"
	}
	switch {
	case n < first:
		v.faults.add(path, "%d is below %d%s", n, first, because)
	case n > last:
		v.faults.add(path, "%d is above %d%s", n, last, because)
	}
}

// withinOrZero is within for a key whose 0 means "derived".
func (v *validator) withinOrZero(path string, n, first, last int) {
	if n != 0 {
		v.within(path, n, first, last, "0 = derived")
	}
}

// ownArgs are EAL arguments that a key of ours decides.
var ownArgs = map[string]string{
	"--no-huge": "eal.huge_pages", "-m": "eal.memory_mb",
	"-l": "workers.cores", "-c": "workers.cores", "--lcores": "workers.cores",
	"--vdev": "ports[].device",
}

func (v *validator) eal() {
	v.within("eal.memory_mb", v.c.EAL.MemoryMB, 0, maxMemoryMB, "")
	for i, arg := range v.c.EAL.Args {
		name, _, _ := strings.Cut(arg, "=")
		switch key := ownArgs[name]; {
		case key != "":
			v.faults.add(element("eal.args", i), "%s is decided by %s", name, key)
		case arg == "" || strings.ContainsRune(arg, 0):
			v.faults.add(element("eal.args", i), "is empty or has a NUL byte")
		}
	}
	p := v.c.Pool
	v.withinOrZero("pool.mbufs", p.Mbufs, minMbufs, maxMbufs)
	v.within("pool.cache", p.Cache, 0, maxPoolCache, "RTE_MEMPOOL_CACHE_MAX_SIZE")
	// rte_mempool_create: cache_size must not be above n / 1.5.
	if p.Mbufs >= minMbufs && 3*p.Cache > 2*p.Mbufs {
		v.faults.add("pool.cache", "%d is above two thirds of the %d mbufs", p.Cache, p.Mbufs)
	}
}

func (v *validator) workers() {
	w := v.c.Workers
	if len(w.Cores) == 0 {
		v.faults.add("workers.cores", "is empty; want one CPU number per worker")
	}
	if len(w.Cores) > maxWorkers {
		v.faults.add("workers.cores", "has %d cores, more than %d (RTE_MAX_LCORE)", len(w.Cores), maxWorkers)
	}
	seen := map[int]bool{}
	for i, core := range w.Cores {
		at := element("workers.cores", i)
		v.within(at, core, 0, maxCore, "CPU_SETSIZE")
		if seen[core] {
			v.faults.add(at, "core %d is listed twice", core)
		}
		seen[core] = true
	}
	v.within("workers.burst", w.Burst, 1, maxBurst, "")
	v.within("workers.handoff_ring", w.HandoffRing, minRing, maxRing, "")
	if w.HandoffRing > 0 && bits.OnesCount(uint(w.HandoffRing)) != 1 {
		v.faults.add("workers.handoff_ring", "%d is not a power of two", w.HandoffRing)
	}
	if w.HandoffRing >= minRing && w.Burst <= maxBurst && w.HandoffRing < w.Burst {
		v.faults.add("workers.handoff_ring", "%d is below one burst of %d", w.HandoffRing, w.Burst)
	}
}

func (v *validator) fib() {
	f := &v.c.FIB
	v.within("fib.max_routes_ipv4", f.MaxRoutesIPv4, minRoutes, maxRoutes, "")
	v.within("fib.max_routes_ipv6", f.MaxRoutesIPv6, minRoutes, maxRoutes, "")
	v.within("fib.max_next_hops", f.MaxNextHops, minRoutes, maxNextHops, "")
}

func (v *validator) ct() {
	ct := &v.c.CT
	v.within("ct.max_flows", ct.MaxFlows, minFlows, maxFlows, "")
	v.within("ct.max_flows_ipv6", ct.MaxFlowsIPv6, minFlows, maxFlows, "")
	v.within("ct.max_translations", ct.MaxTranslations, 0, maxFlows, "")
	v.within("ct.max_flows_per_source", ct.MaxFlowsPerSource, 0, maxFlows, "")
	if ct.Reserve != 0 {
		v.within("ct.reserve", ct.Reserve, 0, min(ct.MaxFlows, ct.MaxFlowsIPv6)-1, "it is part of both ct.max_flows and ct.max_flows_ipv6")
	}
	v.timeouts("ct.timeouts", reflect.ValueOf(ct.Timeouts))
	v.fragments(&ct.Fragments)
}

// fragments holds what one source may have against what there is. A packet of any size
// must fit in the bytes.
func (v *validator) fragments(f *CTFragments) {
	v.timeout("ct.fragments.timeout_ipv4", f.TimeoutIPv4)
	v.timeout("ct.fragments.timeout_ipv6", f.TimeoutIPv6)
	for _, b := range [...]struct {
		key           string
		all, ofSource int
		least, most   int
	}{
		{"datagrams", f.MaxDatagrams, f.MaxSourceDatagrams, 1, maxDatagrams},
		{"packets", f.MaxPackets, f.MaxSourcePackets, 1, maxFragments},
		{"bytes", f.MaxBytes, f.MaxSourceBytes, minFragmentBytes, maxFragmentBytes},
	} {
		v.within("ct.fragments.max_"+b.key, b.all, b.least, b.most, "")
		v.within("ct.fragments.max_source_"+b.key, b.ofSource, b.least, b.most, "")
		if b.ofSource > b.all && b.all >= b.least && b.ofSource <= b.most {
			v.faults.add("ct.fragments.max_source_"+b.key, "%d is above max_%s, which is %d", b.ofSource, b.key, b.all)
		}
	}
}

func (v *validator) timeouts(path string, table reflect.Value) {
	for _, f := range tomlFields(table.Type()) {
		at, field := join(path, f.key), table.Field(f.index)
		d, isDuration := field.Interface().(Duration)
		if !isDuration {
			v.timeouts(at, field)
			continue
		}
		v.timeout(at, d)
	}
}

// services are what an operator reaches the switch by, and the ICMP limit.
func (v *validator) services() {
	v.within("icmp.error_rate", v.c.ICMP.ErrorRate, 0, maxErrorRate, "")
	if a := v.c.Metrics.Address; a != "" {
		if fault := listenFault(a); fault != "" {
			v.faults.add("metrics.address", "%q %s", a, fault)
		}
	}
	v.socket("control.socket", v.c.Control.Socket)
	v.socket("control.queue_socket", v.c.Control.QueueSocket)
}

func (v *validator) socket(at, path string) {
	switch {
	case strings.ContainsRune(path, 0):
		v.faults.add(at, "has a NUL byte")
	case len(path) > maxSocketBytes:
		v.faults.add(at, "is %d bytes long, more than %d (unix(7))", len(path), maxSocketBytes)
	case strings.HasSuffix(path, "/"):
		v.faults.add(at, "%q is a directory; want the path of a socket", path)
	}
}

func listenFault(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "is not host:port, as in 127.0.0.1:9475"
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "has no port number 0..65535"
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == '/' }) {
		return "has no valid host"
	}
	return ""
}

// twice notes the elements of a list that an earlier one equals.
func twice[T comparable](v *validator, path string, list []T) {
	seen := make(map[T]bool, len(list))
	for i, e := range list {
		if seen[e] {
			v.faults.add(element(path, i), "%s is listed twice", fmt.Sprint(e))
		}
		seen[e] = true
	}
}

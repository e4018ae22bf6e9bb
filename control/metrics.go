package control

import (
	"math"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ffwd/fib"
	"ffwd/packet"
	"ffwd/pipeline"
)

// desc names a metric. All of them are in this file, once.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("ffwd_"+name, help, labels, nil)
}

// Metrics of the whole switch.
var (
	metricReceived    = desc("received_packets_total", "Packets received from ports.")
	metricCreated     = desc("created_packets_total", "ICMP errors, TCP resets, copies for ports, and fragments beyond the first of each packet.")
	metricTransmitted = desc("transmitted_packets_total", "Packets that ports took.")
	metricHeld        = desc("held_packets", "Packets that wait for a neighbour, a first fragment or a verdict, or are under way between two workers.")
	metricDrops       = desc("drops_total", "Packets dropped, by reason.", "reason")
	metricPunts       = desc("punts_total", "Packets given to the slow path, by reason.", "reason")
	metricPuntsMissed = desc("punts_missed_total", "Packets for the slow path that it did not get, by punt reason, and why: limited or full.", "reason", "why")
	metricFromKernel  = desc("from_kernel_packets_total", "Packets that the slow path sent.")
	metricFragmented  = desc("fragmented_packets_total", "Packets that left in fragments.")
	metricErrors      = desc("icmp_errors_total", "ICMP errors made.")
	metricResets      = desc("tcp_resets_total", "TCP resets made.")
	metricMirrored    = desc("mirrored_packets_total", "Copies of packets made for rules that tee to a port.")
	metricMirrorsLost = desc("mirror_lost_packets_total", "Copies not made: no buffer, too long for the port, or the port is the packet's own.")
	metricLimited     = desc("icmp_errors_limited_total", "ICMP errors and TCP resets not made because of the rate limit.")
	metricEpochLag    = desc("epoch_lag_seconds", "Age of the oldest retired memory that waits for a worker.")
	metricPool        = desc("pool_mbufs", "Mbufs of a pool, by state; an estimate.", "pool", "state")
	metricGaps        = desc("poll_gap_seconds", "Time between the starts of two polls of a worker.")
)

// Metrics of rules. A reload that changes rules begins them at 0.
var (
	metricRulePackets = desc("rule_packets_total", "Packets that a rule matched.", "rule", "hook", "action", "comment")
	metricRuleBytes   = desc("rule_bytes_total", "L3 bytes of them.", "rule", "hook", "action", "comment")
)

// Metrics of a port.
var (
	metricRxPackets = desc("port_rx_packets_total", "Packets received.", "port")
	metricRxBytes   = desc("port_rx_bytes_total", "Bytes received, without the check sequence.", "port")
	metricTxPackets = desc("port_tx_packets_total", "Packets that the device took.", "port")
	metricTxBytes   = desc("port_tx_bytes_total", "Bytes that the device took.", "port")
	metricTxDropped = desc("port_tx_dropped_total", "Packets that the device did not take.", "port")
	metricRxMissed  = desc("port_rx_missed_total", "Packets lost by the device: no free descriptor.", "port")
	metricRxNoMbuf  = desc("port_rx_no_mbuf_total", "Packets lost by the driver: no free mbuf.", "port")
	metricRxErrors  = desc("port_rx_errors_total", "Frames that the device found broken.", "port")
	metricTxErrors  = desc("port_tx_errors_total", "Frames that the device failed to send.", "port")
	metricLink      = desc("port_link_up", "1 if the link is up.", "port")
)

// Metrics of a port's twin in the host kernel.
var (
	metricTwinUp        = desc("twin_present", "1 if the TAP is there.", "port", "tap")
	metricTwinTo        = desc("twin_to_kernel_packets_total", "Frames that the kernel took.", "port", "tap")
	metricTwinToBytes   = desc("twin_to_kernel_bytes_total", "Bytes that the kernel took.", "port", "tap")
	metricTwinRefused   = desc("twin_refused_total", "Frames that the kernel did not take.", "port", "tap")
	metricTwinFrom      = desc("twin_from_kernel_packets_total", "Frames taken from the kernel.", "port", "tap")
	metricTwinFromBytes = desc("twin_from_kernel_bytes_total", "Bytes taken from the kernel.", "port", "tap")
	metricTwinOverflow  = desc("twin_overflow_total", "Frames from the kernel that found a worker's ring full.", "port", "tap")
	metricTwinOversized = desc("twin_oversized_total", "Frames from the kernel larger than the port's MTU.", "port", "tap")
	metricTwinRemade    = desc("twin_remade_total", "Times that the TAP was gone and made again.", "port", "tap")
)

// Metrics of a worker.
var (
	metricBusyRatio  = desc("worker_busy_ratio", "Share of its time since the start that a worker had packets.", "core")
	metricBusy       = desc("worker_busy_seconds_total", "Time in polls that found packets.", "core")
	metricPolls      = desc("worker_polls_total", "Polls.", "core")
	metricStuck      = desc("worker_stuck", "1 if the worker does not come back from a poll; its figures are those from before.", "core")
	metricHandedOver = desc("worker_handed_over_packets_total", "Packets given to the worker that owns their flow.", "core")
	metricTakenOver  = desc("worker_taken_over_packets_total", "Packets got from other workers.", "core")
	metricStage      = desc("stage_cycles_per_packet", "Sampled cost of a stage since the start.", "core", "stage")
)

// Metrics of connection tracking.
var (
	metricFlows        = desc("flows", "Flows in the tables.", "family")
	metricTranslations = desc("flows_translated", "Flows whose addresses are translated. Those refused are drops for nat_no_port, nat_no_address, nat_no_flow and nat_full.")
	metricFlowsCreated = desc("flows_created_total", "Flows confirmed.")
	metricFlowsExpired = desc("flows_expired_total", "Flows whose timeout passed.")
	metricFlowsJoined  = desc("flows_joined_total", "Packets whose flow was there when theirs was to be entered, begun by another packet of the burst, or while they waited for a verdict or a neighbour.", "core", "cause")
	metricFlowsEarly   = desc("flows_early_dropped_total", "Unanswered or ended flows that gave way to new ones in a full table.")
	metricFlowsFull    = desc("flows_full_total", "New flows refused because a table was full, but for the reserve.")
	metricFlowsReserve = desc("flows_reserved_total", "Flows of priority that took of the reserve.")
	metricFlowsLimited = desc("flows_limited_total", "New flows refused because there were too many of their source, or for a rule.", "per")
	metricSourcesLost  = desc("flow_sources_uncounted_total", "Flows that do not count for their source for want of room, and why: evicted or full.", "why")
	metricUntilFull    = desc("flows_seconds_until_full", "When the table that fills first will refuse flows, at the rate of the last seconds; +Inf: none fills.")
	metricFlowsInvalid = desc("flows_invalid_total", "Packets that fit no flow and may not start one.")
	metricPolicies     = desc("timeout_policies", "Timeout policies, by state; a draining one is deleted and still referred to.", "state")
	metricPolicyRefs   = desc("timeout_policy_references", "What refers to a timeout policy with a name: flows, rules, packets in verdict queues.", "policy", "kind")
	metricFlowBytes    = desc("flow_table_bytes", "Memory of the flow tables.")
)

// Metrics of routing.
var (
	metricRouting      = desc("fib_entries", "What a routing table holds; next_hops and groups include what waits for the epoch.", "vrf", "kind")
	metricRoutingBound = desc("fib_entries_max", "What a routing table can hold.", "vrf", "kind")
)

// collector makes every metric of a scrape from one Report.
type collector struct{ s *Switch }

// registry holds our metrics and those of the Go runtime and the process.
func (s *Switch) registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collector{s}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// metricsHandler serves /metrics, one scrape at a time: each asks every worker.
func (s *Switch) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry(), promhttp.HandlerOpts{MaxRequestsInFlight: 1}))
	return mux
}

// Describe tells nothing in advance: which ports and workers there are is the
// configuration's business. The registry checks what Collect sends instead.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends everything.
func (c collector) Collect(to chan<- prometheus.Metric) {
	out := sender(to)
	r := c.s.Report()
	out.switchWide(&r)
	for i := range r.Ports {
		out.port(&r.Ports[i])
	}
	for i := range r.Twins {
		out.twin(&r.Twins[i])
	}
	out.mirror(c.s.mirrorStatus())
	for i := range r.Workers {
		out.worker(&r.Workers[i])
	}
	out.flows(&r.Flows)
	out.fragments(&r.Reassembly)
	for i := range r.Queues {
		out.queue(&r.Queues[i])
	}
	out.timeouts(r.TimeoutPolicies)
	for i, table := range c.s.tables {
		out.routing(strconv.Itoa(c.s.vrfs[i]), table.Stats())
	}
	out.rules(c.s)
}

// sender sends metrics to the registry.
type sender chan<- prometheus.Metric

func (out sender) counter(d *prometheus.Desc, v uint64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (out sender) gauge(d *prometheus.Desc, v float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func asGauge(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func (out sender) switchWide(r *Report) {
	out.counter(metricReceived, r.Received)
	out.counter(metricCreated, r.Created)
	out.counter(metricTransmitted, r.Transmitted)
	out.counter(metricFromKernel, r.FromKernel)
	out.gauge(metricHeld, float64(r.Held))
	out.counter(metricFragmented, r.Fragmented)
	out.counter(metricErrors, r.Errors)
	out.counter(metricResets, r.Resets)
	out.counter(metricLimited, r.ErrorsLimited)
	out.counter(metricMirrored, r.Mirrored)
	out.counter(metricMirrorsLost, r.MirrorsLost)
	out.gauge(metricEpochLag, r.EpochLagSeconds)
	// Every reason from the start, so that rates begin at zero. Without a slow
	// path what would be punted is dropped, under the same name.
	for reason := range packet.NumReasons {
		out.counter(metricDrops, r.drops[reason], reason.String())
		if reason >= packet.FirstPunt {
			out.counter(metricPunts, r.punts[reason], reason.String())
			out.counter(metricPuntsMissed, r.puntsLimited[reason], reason.String(), "limited")
			out.counter(metricPuntsMissed, r.puntsFull[reason], reason.String(), "full")
		}
	}
	for _, p := range r.Pools {
		out.gauge(metricPool, float64(p.Available), p.Name, "available")
		out.gauge(metricPool, float64(p.Size-p.Available), p.Name, "in_use")
	}
	out.gaps(r)
}

// gaps sends the histogram of the time between polls. A poll begins where the
// one before it ended, so the time in polls is the sum of the gaps.
func (out sender) gaps(r *Report) {
	buckets := make(map[float64]uint64, pipeline.GapBuckets)
	count := uint64(0)
	for i, n := range r.gaps {
		count += n
		if i < pipeline.GapBuckets-1 { // the last has no upper bound
			buckets[gapSeconds(i)] = count
		}
	}
	out <- prometheus.MustNewConstHistogram(metricGaps, count, r.pollSeconds, buckets)
}

func (out sender) port(p *PortReport) {
	out.counter(metricRxPackets, p.RxPackets, p.Name)
	out.counter(metricRxBytes, p.RxBytes, p.Name)
	out.counter(metricTxPackets, p.TxPackets, p.Name)
	out.counter(metricTxBytes, p.TxBytes, p.Name)
	out.counter(metricTxDropped, p.TxDropped, p.Name)
	out.counter(metricRxMissed, p.RxMissed, p.Name)
	out.counter(metricRxNoMbuf, p.RxNoMbuf, p.Name)
	out.counter(metricRxErrors, p.RxErrors, p.Name)
	out.counter(metricTxErrors, p.TxErrors, p.Name)
	out.gauge(metricLink, asGauge(p.LinkUp), p.Name)
}

func (out sender) twin(t *TwinReport) {
	out.gauge(metricTwinUp, asGauge(t.Index != 0), t.Port, t.TAP)
	out.counter(metricTwinTo, t.ToKernel, t.Port, t.TAP)
	out.counter(metricTwinToBytes, t.ToKernelBytes, t.Port, t.TAP)
	out.counter(metricTwinRefused, t.Refused, t.Port, t.TAP)
	out.counter(metricTwinFrom, t.FromKernel, t.Port, t.TAP)
	out.counter(metricTwinFromBytes, t.FromKernelBytes, t.Port, t.TAP)
	out.counter(metricTwinOverflow, t.Overflow, t.Port, t.TAP)
	out.counter(metricTwinOversized, t.Oversized, t.Port, t.TAP)
	out.counter(metricTwinRemade, t.Remade, t.Port, t.TAP)
}

func (out sender) worker(w *WorkerReport) {
	core := strconv.Itoa(w.Core)
	out.gauge(metricStuck, asGauge(w.Stuck), core)
	out.gauge(metricBusyRatio, w.BusyRatio, core)
	out <- prometheus.MustNewConstMetric(metricBusy, prometheus.CounterValue, w.BusySeconds, core)
	out.counter(metricPolls, w.Polls, core)
	out.counter(metricHandedOver, w.HandedOver, core)
	out.counter(metricTakenOver, w.TakenOver, core)
	out.counter(metricFlowsJoined, w.Joined.Burst, core, "burst")
	out.counter(metricFlowsJoined, w.Joined.Queue, core, "queue")
	out.counter(metricFlowsJoined, w.Joined.Neighbour, core, "neighbour")
	for _, s := range w.Stages {
		out.gauge(metricStage, s.CyclesPerPacket, core, s.Name)
	}
}

func (out sender) flows(f *FlowsReport) {
	out.gauge(metricFlows, float64(f.IPv4), "ipv4")
	out.gauge(metricFlows, float64(f.IPv6), "ipv6")
	out.gauge(metricTranslations, float64(f.Translations))
	out.counter(metricFlowsCreated, f.Created)
	out.counter(metricFlowsExpired, f.Expired)
	out.counter(metricFlowsEarly, f.EarlyDropped)
	out.counter(metricFlowsFull, f.Full)
	out.counter(metricFlowsReserve, f.Reserved)
	out.counter(metricFlowsLimited, f.SourceLimited, "source")
	out.counter(metricFlowsLimited, f.RuleLimited, "rule")
	out.counter(metricSourcesLost, f.SourcesEvicted, "evicted")
	out.counter(metricSourcesLost, f.SourcesFull, "full")
	untilFull := math.Inf(1)
	if f.SecondsUntilFull != nil {
		untilFull = *f.SecondsUntilFull
	}
	out.gauge(metricUntilFull, untilFull)
	out.counter(metricFlowsInvalid, f.Invalid)
	out.gauge(metricFlowBytes, float64(f.TableBytes))
}

func (out sender) routing(vrf string, s fib.Stats) {
	for _, m := range [...]struct {
		kind       string
		used, most int
	}{
		{"routes_ipv4", s.Prefixes4, s.Bounds.MaxRoutes4},
		{"routes_ipv6", s.Prefixes6, s.Bounds.MaxRoutes6},
		{"next_hops", s.NextHops, s.Bounds.NextHops},
		{"groups_ipv4", s.Groups4, s.Bounds.Groups4},
		{"groups_ipv6", s.Groups6, s.Bounds.Groups6},
	} {
		out.gauge(metricRouting, float64(m.used), vrf, m.kind)
		out.gauge(metricRoutingBound, float64(m.most), vrf, m.kind)
	}
}

// timeouts counts the draining policies and shows the others: several draining ones
// may have one name.
func (out sender) timeouts(policies []TimeoutStatus) {
	draining := 0
	for i := range policies {
		p := &policies[i]
		if p.Draining {
			draining++
			continue
		}
		out.gauge(metricPolicyRefs, float64(p.Flows), p.Name, "flow")
		out.gauge(metricPolicyRefs, float64(p.Rules), p.Name, "rule")
		out.gauge(metricPolicyRefs, float64(p.Queued), p.Name, "queued")
	}
	out.gauge(metricPolicies, float64(len(policies)-draining), "live")
	out.gauge(metricPolicies, float64(draining), "draining")
}

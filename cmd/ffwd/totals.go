package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"ffwd/control"
)

// table starts a table whose columns are as wide as their widest cell.
func table(w io.Writer) *tabwriter.Writer {
	const gap = 2
	return tabwriter.NewWriter(w, 0, 0, gap, ' ', tabwriter.AlignRight)
}

func linkWord(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

// printTotals prints what a run did.
func printTotals(w io.Writer, r *control.Report) error {
	t := table(w)
	fmt.Fprintf(t, "port\trx packets\trx bytes\ttx packets\ttx bytes\ttx dropped\t\n")
	for _, p := range r.Ports {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t\n", p.Name, p.RxPackets, p.RxBytes, p.TxPackets, p.TxBytes, p.TxDropped)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	printWorkers(w, r.Workers)
	_, err := fmt.Fprintf(w, "%.1f s: received %d + created %d = transmitted %d + dropped %d + punted %d + held %d\n%s%s%s",
		r.DurationS, r.Received, r.Created, r.Transmitted, r.Dropped(), r.Punted(), r.Held,
		reasons("drops", r.Drops), reasons("punts", r.Punts), flows(&r.Flows))
	return err
}

// printRates prints what the switch does now.
func printRates(w io.Writer, r *control.Report) {
	seconds := max(r.DurationS, 1e-9)
	t := table(w)
	fmt.Fprintf(t, "port\tlink\trx Mpps\trx Gbit/s\ttx Mpps\ttx Gbit/s\ttx dropped/s\t\n")
	for _, p := range r.Ports {
		fmt.Fprintf(t, "%s\t%s\t%.3f\t%.3f\t%.3f\t%.3f\t%.0f\t\n", p.Name, linkWord(p.LinkUp),
			float64(p.RxPackets)/seconds/1e6, float64(p.RxBytes)*8/seconds/1e9,
			float64(p.TxPackets)/seconds/1e6, float64(p.TxBytes)*8/seconds/1e9,
			float64(p.TxDropped)/seconds)
	}
	t.Flush()
	printWorkers(w, r.Workers)
	fmt.Fprint(w, reasons("drops", r.Drops), reasons("punts", r.Punts), flows(&r.Flows))
	if r.Flows.SecondsUntilFull != nil {
		fmt.Fprintf(w, "a flow table is full in %.0f s\n", *r.Flows.SecondsUntilFull)
	}
}

func printWorkers(w io.Writer, workers []control.WorkerReport) {
	t := table(w)
	fmt.Fprintf(t, "core\tpackets\tload\tns/packet\thanded over\ttaken over\tlongest gap\t\n")
	for _, c := range workers {
		fmt.Fprintf(t, "%d\t%d\t%.1f%%\t%.1f\t%d\t%d\t<%.0f us\t\n", c.Core, c.Packets, c.BusyRatio*100, c.NsPerPacket,
			c.HandedOver, c.TakenOver, c.LongestGap*1e6)
	}
	t.Flush()
}

// reasons prints counts by reason on one line, the largest first; nothing when
// there are none.
func reasons(title string, counts map[string]uint64) string {
	if len(counts) == 0 {
		return ""
	}
	names := byCount(counts)
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, counts[name])
	}
	return title + ": " + strings.Join(names, ", ") + "\n"
}

// byCount lists the reasons, the most frequent first.
func byCount(counts map[string]uint64) []string {
	return slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
}

func flows(f *control.FlowsReport) string {
	refused := f.Full + f.SourceLimited + f.RuleLimited
	return fmt.Sprintf("flows: %d IPv4, %d IPv6; %d created, %d expired, %d refused\n", f.IPv4, f.IPv6, f.Created, f.Expired, refused)
}

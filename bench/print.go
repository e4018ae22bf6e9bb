package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
)

// WriteJSON writes the rows as one array of objects, an empty one if there are none.
func WriteJSON(w io.Writer, rows []Result) error {
	if rows == nil {
		rows = []Result{}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(rows)
}

// WriteTable writes the rows for people: the figures, then where the time goes.
func WriteTable(w io.Writer, rows []Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "scenario\tflows\troutes\tworkers\tMpps\tmin..max\tns/pkt\tabove floor\tbar\tof floor\tto peer\tnotes\t")
	for i := range rows {
		r := &rows[i]
		if i > 0 && (r.Scenario == ioFloor || r.Scenario == tableLookup) {
			fmt.Fprintln(t, strings.Repeat("\t", 12))
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%d\t%.2f\t%.2f..%.2f\t%.1f\t%s\t%s\t%s\t%s\t%s\t\n",
			r.Scenario, r.Flows, dash(r.Routes > 0, "%d", r.Routes), r.Workers, r.Mpps, r.Spread.MinMpps, r.Spread.MaxMpps,
			r.NsPerPacket, dash(r.Scenario != ioFloor, "%.1f", r.NsAboveFloor), bar(r), dash(r.RatioToFloor > 0, "%.2f", r.RatioToFloor), toPeers(r), strings.Join(notes(r), ", "))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return errors.Join(writeStages(w, rows), writeGaps(w, rows))
}

// writeGaps writes how the times between polls were distributed before a dump and
// while it went on.
func writeGaps(w io.Writer, rows []Result) error {
	for i := range rows {
		d := rows[i].Dump
		if d == nil {
			continue
		}
		before, during := polls(d.GapsBefore), polls(d.GapsDuring)
		fmt.Fprintf(w, "\ntimes between polls, %d flows\n", rows[i].Flows)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "below\tbefore\tof a million\tduring dump\tof a million\t")
		for j, g := range d.GapsDuring {
			a := d.GapsBefore[j].Polls
			if a == 0 && g.Polls == 0 {
				continue
			}
			fmt.Fprintf(t, "%s\t%d\t%.1f\t%d\t%.1f\t\n", dash(g.BelowS > 0, "%.0f us", g.BelowS*1e6), a, 1e6*float64(a)/float64(before), g.Polls, 1e6*float64(g.Polls)/float64(during))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// dash formats a value, or writes "-" where it means nothing.
func dash(means bool, format string, value any) string {
	if !means {
		return "-"
	}
	return fmt.Sprintf(format, value)
}

func bar(r *Result) string {
	if r.Bar == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %s", r.Bar, verdict(r.NsAboveFloor <= r.Bar))
}

// toPeers is how many times a peer's cost above the floor ours is.
func toPeers(r *Result) string {
	var list []string
	for _, p := range r.Peers {
		list = append(list, dash(p.Ratio > 0, "%.2f", p.Ratio)+" "+p.Name)
	}
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ", ")
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "MISSED"
}

// notes are the figures that only some rows have, with their bars.
func notes(r *Result) []string {
	var list []string
	if r.Scenario == newFlows {
		list = append(list, fmt.Sprintf("%.2f M new flows/s per worker (bar %.0f %s; %.0f%% of packets)",
			r.NewFlowsPerS/1e6, barNewFlowsPerS/1e6, verdict(r.NewFlowsPerS >= barNewFlowsPerS), r.NewFlowShare*100))
	}
	if v := r.Verdicts; v != nil {
		list = append(list, fmt.Sprintf("%.2f M verdicts/s (bar %.1f %s), %.1f%% of other packets lost (bar %.0f%% %s)",
			v.PerS/1e6, barVerdictsPerS/1e6, verdict(v.PerS >= barVerdictsPerS), v.UnqueuedLoss*100, barUnqueuedLoss*100, verdict(v.UnqueuedLoss <= barUnqueuedLoss)),
			fmt.Sprintf("p50 %.0f us, p99 %.0f us at %.2f M verdicts/s", v.HalfP50*1e6, v.HalfP99*1e6, v.HalfPerS/1e6))
	}
	if d := r.Dump; d != nil {
		list = append(list, fmt.Sprintf("%d listed in %.1f s, counted in %.1f s, %d deleted in %.1f s; %.2f Mpps before", d.Listed, d.ListS, d.CountS, d.Deleted, d.DeleteS, d.MppsBefore))
	}
	if e := r.Expiry; e != nil {
		list = append(list, fmt.Sprintf("%.2f M flows/s expired (bar %.0f %s) of %.2f M new, %d there beside the %d, %.0f bytes of table per flow",
			e.ExpiredPerS/1e6, barExpiredPerS/1e6, verdict(e.ExpiredPerS >= barExpiredPerS), e.CreatedPerS/1e6, e.Beside, r.Flows, float64(e.TableBytes)/float64(r.Flows+2*expiryTraffic)))
	}
	if r.NsPerFragment > 0 {
		list = append(list, fmt.Sprintf("%.1f ns above the floor for each of %.1f fragments", r.NsPerFragment, r.Fragments))
	}
	if r.Scenario == tableLookup && len(r.Peers) > 0 {
		list = append(list, "bar: not slower, "+verdict(r.Peers[0].Ratio <= 1))
	}
	if r.ScalingToOne > 0 {
		note := fmt.Sprintf("%.2f times one worker", r.ScalingToOne)
		if r.Scenario == statefulTwoCores {
			note += fmt.Sprintf(" (bar %.1f %s)", barScalingTwo, verdict(r.ScalingToOne >= barScalingTwo))
		}
		list = append(list, note)
	}
	if r.AllocsPerPacket != nil && *r.AllocsPerPacket > 0 {
		list = append(list, fmt.Sprintf("%.2g allocations per packet", *r.AllocsPerPacket))
	}
	if r.TableBytesPerFlow > barBytesPerFlow && r.Scenario != statefulNAT { // translations are on top of that
		list = append(list, fmt.Sprintf("%.0f bytes of table per flow (bar %d)", r.TableBytesPerFlow, barBytesPerFlow))
	}
	return list
}

// writeStages writes a second table: cycles per packet, a column for each stage that
// any row has.
func writeStages(w io.Writer, rows []Result) error {
	var names []string
	column := map[string]int{}
	for i := range rows {
		for _, s := range rows[i].Stages {
			if _, known := column[s.Name]; !known {
				column[s.Name] = len(names)
				names = append(names, s.Name)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\ncycles per packet and stage")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "scenario\tflows\troutes\t%s\tsum\t\n", strings.Join(names, "\t"))
	for i := range rows {
		r := &rows[i]
		if len(r.Stages) == 0 {
			continue
		}
		cells, sum := make([]string, len(names)), 0.0
		for c := range cells {
			cells[c] = "-"
		}
		for _, s := range r.Stages {
			cells[column[s.Name]] = fmt.Sprintf("%.1f", s.CyclesPerPacket)
			sum += s.CyclesPerPacket
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%.1f\t\n", r.Scenario, r.Flows, r.Routes, strings.Join(cells, "\t"), sum)
	}
	return t.Flush()
}

// ProgressLine returns a function for Options.Progress that keeps one line of a
// terminal up to date and clears it at the end, or writes a line for each step
// anywhere else.
func ProgressLine(f *os.File) func(done, total int, next string) {
	const clearLine = "\r\x1b[K"
	info, err := f.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return func(done, total int, next string) {
		switch {
		case terminal && done == total:
			fmt.Fprint(f, clearLine)
		case terminal:
			fmt.Fprintf(f, "%s[%d/%d] %s", clearLine, done+1, total, next)
		case done < total:
			fmt.Fprintf(f, "[%d/%d] %s\n", done+1, total, next)
		}
	}
}

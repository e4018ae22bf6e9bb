package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"ffwd/conf"
	"ffwd/control"
)

// ctStats is `ffwd ct stats`: how full the tables are, and what became of new flows.
func ctStats() *cobra.Command {
	var f socketFlags
	var asJSON bool
	c := &cobra.Command{
		Use: "stats", Short: "How full the tables are, and what became of new connections", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := f.client()
			if err != nil {
				return err
			}
			var report control.Report
			if err := cl.get("/v1/report", nil, &report); err != nil || asJSON {
				return printUnless(err, c.OutOrStdout(), report.Flows)
			}
			var config conf.Config
			if err := cl.get("/v1/config", nil, &config); err != nil {
				return err
			}
			return printStats(c.OutOrStdout(), &report.Flows, &config)
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func printStats(w io.Writer, f *control.FlowsReport, config *conf.Config) error {
	t := table(w)
	workers := len(config.Workers.Cores)
	fmt.Fprintf(t, "IPv4 flows\t%d\t  of %d\n", f.IPv4, workers*config.CT.MaxFlows)
	fmt.Fprintf(t, "IPv6 flows\t%d\t  of %d\n", f.IPv6, workers*config.CT.MaxFlowsIPv6)
	if f.SecondsUntilFull != nil {
		fmt.Fprintf(t, "seconds until full\t%.0f\t\n", *f.SecondsUntilFull)
	}
	for _, row := range []struct {
		name string
		n    uint64
		what string
	}{
		{"translated", f.Translations, "of ct.max_translations of each worker; refused ones are drops, nat_*"},
		{"created", f.Created, ""},
		{"expired", f.Expired, ""},
		{"gave way", f.EarlyDropped, "without an answer or ended, when the table was full"},
		{"refused: full", f.Full, "new ones"},
		{"refused: source", f.SourceLimited, "new ones beyond ct.max_flows_per_source"},
		{"refused: rule", f.RuleLimited, "new ones beyond conn_max that a rule had let pass"},
		{"of the reserve", f.Reserved, "new ones with priority"},
		{"joined: burst", f.Joined.Burst, "first packets of a flow that another packet of their burst began"},
		{"joined: queue", f.Joined.Queue, "that another began while they waited for a verdict"},
		{"joined: neighbour", f.Joined.Neighbour, "that another began while they waited for a link address"},
		{"uncounted", f.SourcesFull + f.SourcesEvicted, "flows that count for no source: there are too many"},
		{"related", f.Related, "ICMP errors about a flow"},
		{"invalid", f.Invalid, "packets that fit no flow and may not begin one"},
		{"table bytes", f.TableBytes, ""},
	} {
		fmt.Fprintf(t, "%s\t%d\t", row.name, row.n)
		if row.what != "" {
			fmt.Fprint(t, "  ", row.what)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

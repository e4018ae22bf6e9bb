package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ffwd/bench"
)

func benchCommand() *cobra.Command {
	var o bench.Options
	var asJSON bool
	var huge string
	var seconds, warmup float64
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure the switch beside dpdk-testpmd on the same packets",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if seconds <= 0 || warmup <= 0 || o.Repetitions < 1 {
				return usageError{errors.New("--seconds, --warmup and --repetitions must be above zero")}
			}
			if o.OVS && !o.Peers {
				return usageError{errors.New("--ovs needs --peers")}
			}
			o.Duration = time.Duration(seconds * float64(time.Second))
			o.Warmup = time.Duration(warmup * float64(time.Second))
			o.HugePages = bench.HugePages(huge)
			ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer cancel()
			if isTerminal(os.Stderr) {
				o.Progress = bench.ProgressLine(os.Stderr)
			}
			results, err := bench.Run(ctx, o)
			if ctx.Err() != nil {
				err = errors.New("bench: interrupted")
			}
			if err != nil && len(results) == 0 {
				return err
			}
			if asJSON {
				return errors.Join(err, bench.WriteJSON(c.OutOrStdout(), results))
			}
			return errors.Join(err, bench.WriteTable(c.OutOrStdout(), results))
		},
	}
	f := c.Flags()
	f.BoolVar(&asJSON, "json", false, "print an array of objects")
	f.StringSliceVar(&o.Scenarios, "only", nil, "scenarios to measure; all")
	f.IntSliceVar(&o.Flows, "flows", nil, "numbers of flows to measure; all")
	f.IntVar(&o.Repetitions, "repetitions", 5, "of every measurement; the median counts")
	f.Float64Var(&seconds, "seconds", 2, "of one measurement")
	f.Float64Var(&warmup, "warmup", 1, "seconds before that")
	f.IntSliceVar(&o.Cores, "cores", nil, "CPU numbers of the workers; the last two")
	f.Uint64Var(&o.Seed, "seed", 1, "of the captures")
	f.StringVar(&huge, "huge-pages", string(bench.HugeAuto), "auto, require or off")
	f.BoolVar(&o.ReserveHugePages, "reserve-huge-pages", false, "raise the number of huge pages for the run; needs root")
	f.BoolVar(&o.Peers, "peers", false, "also measure DPDK's l3fwd, ip_fragmentation and rte_hash, built on the spot from the source in dpdk-doc")
	f.BoolVar(&o.OVS, "ovs", false, "with --peers, also OVS-DPDK, from openvswitch-switch-dpdk")
	f.StringVar(&o.Source, "peer-source", "", "folder of DPDK's examples; where dpdk-doc puts them")
	f.StringVar(&o.Dir, "dir", "", "for captures, some 200 MB; a temporary directory")
	return c
}

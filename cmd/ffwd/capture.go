package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"ffwd/capture"
)

// captureOptions are the flags of capture.
type captureOptions struct {
	out       string
	seed      uint64
	spec      capture.Spec
	tcp       bool
	malformed int
	json      bool
}

func captureCommand() *cobra.Command {
	var o captureOptions
	c := &cobra.Command{
		Use:   "capture --out FILE",
		Short: "Make a capture file of generated traffic",
		Long: `Make a pcap file of generated traffic, the same bytes for the same flags.

Without --flows and --malformed it is a few hundred packets of everyday traffic:
TCP connections, DNS, ping, VLAN, and some broken frames.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case o.out == "":
				return usageError{errors.New("no file given: name one with --out, - for standard output")}
			case o.spec.Flows > 0 && o.malformed > 0:
				return usageError{errors.New("--flows and --malformed exclude each other: see --malformed-share")}
			case o.spec.Flows < 0 || o.malformed < 0:
				return usageError{errors.New("--flows and --malformed must not be negative")}
			case o.spec.Flows == 0:
				for _, name := range []string{"packets", "ipv6", "tcp", "replies", "frame", "vlan", "malformed-share"} {
					if c.Flags().Changed(name) {
						return usageError{fmt.Errorf("--%s is for flows: say how many with --flows", name)}
					}
				}
			}
			return makeCapture(c, &o)
		},
	}
	f := c.Flags()
	f.StringVarP(&o.out, "out", "o", "", "file to write; - for standard output")
	f.Uint64Var(&o.seed, "seed", 1, "chooses addresses, ports and order")
	f.IntVar(&o.spec.Flows, "flows", 0, "so many flows in random order")
	f.IntVar(&o.spec.Packets, "packets", 0, "frames of all flows together; 0: one per flow, two with --replies")
	f.BoolVar(&o.spec.IPv6, "ipv6", false, "flows of IPv6")
	f.BoolVar(&o.tcp, "tcp", false, "flows of TCP, not UDP")
	f.BoolVar(&o.spec.Replies, "replies", false, "every second packet of a flow is an answer")
	f.IntVar(&o.spec.FrameBytes, "frame", 0, "bytes per frame without the check sequence; 0: the least")
	f.IntVar(&o.spec.VLAN, "vlan", 0, "802.1Q VLAN of every frame; 0: untagged")
	f.Float64Var(&o.spec.MalformedShare, "malformed-share", 0, "share of malformed frames, 0 to 1")
	f.IntVar(&o.malformed, "malformed", 0, "so many malformed frames and nothing else")
	f.BoolVar(&o.json, "json", false, "print what the capture holds as JSON")
	return c
}

// makeCapture writes the file and says what is in it, on standard error when the
// capture itself goes to standard output.
func makeCapture(c *cobra.Command, o *captureOptions) (err error) {
	out, report := c.OutOrStdout(), c.ErrOrStderr()
	if o.out != "-" {
		file, err := os.Create(o.out)
		if err != nil {
			return fmt.Errorf("capture: %w", err)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		out, report = file, c.OutOrStdout()
	}
	summary, err := writeCapture(out, o)
	if err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(report).Encode(summary)
	}
	_, err = fmt.Fprintf(report, "%d packets, %d flows, %d bytes, %d malformed\n",
		summary.Packets, summary.Flows, summary.Bytes, sum(summary.Malformed))
	return err
}

func writeCapture(w io.Writer, o *captureOptions) (capture.Summary, error) {
	switch {
	case o.malformed > 0:
		kinds, err := capture.Malformed(w, o.seed, o.malformed)
		return capture.Summary{Packets: o.malformed, Malformed: kinds}, err
	case o.spec.Flows > 0:
		o.spec.Seed = o.seed
		if o.tcp {
			o.spec.Protocol = capture.TCP
		}
		return o.spec.Write(w)
	}
	return capture.Demo(w, o.seed)
}

func sum(counts map[capture.Kind]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

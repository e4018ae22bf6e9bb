package main

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"ffwd/control"
)

func (s *shower) mirror(c *client, w io.Writer) error {
	var status control.MirrorStatus
	if err := c.get("/v1/mirror", nil, &status); err != nil || s.json {
		return printUnless(err, w, status)
	}
	if !status.On {
		_, err := fmt.Fprintf(w, "no slow path: %s\n", status.Because)
		return err
	}
	t := table(w)
	for _, m := range status.Tables {
		fmt.Fprintf(t, "kernel table %d\tvrf %d\t\n", m.Table, m.VRF)
	}
	for _, outcome := range slices.Sorted(maps.Keys(status.Routes)) {
		if n := status.Routes[outcome]; n > 0 {
			fmt.Fprintf(t, "routes: %s\t%d\t\n", outcome, n)
		}
	}
	fmt.Fprintf(t, "addresses\t%d\t\nneighbours\t%d\t\nneighbours refused\t%d\t\n", status.Addresses, status.Neighbours, status.Refused)
	r := status.Resolver
	fmt.Fprintf(t, "neighbours asked for\t%d\t\nrefreshed\t%d\t\nwithout an answer\t%d\t\nwaiting\t%d\t\n", r.Asked, r.Refreshed, r.Forgotten, r.Waiting)
	if err := t.Flush(); err != nil {
		return err
	}
	t = table(w)
	fmt.Fprintln(t, "feed\tmessages\tresyncs\taudits\tcorrected\toverruns\treopens\tlast error\t")
	for _, f := range status.Feeds {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t\n", f.Name, f.Messages, f.Resyncs, f.Audits, f.Corrected, f.Overruns, f.Reopens, f.LastError)
	}
	return t.Flush()
}

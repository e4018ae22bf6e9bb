package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"ffwd/conf"
	"ffwd/control"
)

// shower prints one thing of a running switch.
type shower struct {
	socketFlags
	json  bool
	limit int
	route routeFilter
}

func showCommand() *cobra.Command {
	c := groupCommand("show", "Show the state of a running switch")
	s := &shower{}
	add := func(name, short string, show func(*client, io.Writer) error) *cobra.Command {
		sub := &cobra.Command{
			Use: name, Short: short, Args: noArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				if s.limit < 0 || s.route.limit < 0 {
					return usageError{errors.New("--limit must not be negative; 0 is all")}
				}
				cl, err := s.client()
				if err != nil {
					return err
				}
				return show(cl, c.OutOrStdout())
			},
		}
		s.add(sub)
		sub.Flags().BoolVar(&s.json, "json", false, "print JSON")
		c.AddCommand(sub)
		return sub
	}
	add("ports", "Ports, their links and counters", s.ports)
	add("workers", "Workers and where their time goes", s.workers)
	add("drops", "Where packets went, by reason", s.drops)
	add("punts", "What passed between the workers and the host kernel", s.punts)
	add("mirror", "What the routing tables have of the host kernel's", s.mirror)
	add("config", "The configuration that runs, as TOML", s.config)
	add("flows", "Tracked connections", s.flows).
		Flags().IntVar(&s.limit, "limit", 1000, "so many at most; 0: all")
	add("rules", "Rules and what they matched", s.rules).
		Flags().IntVar(&s.limit, "limit", 1000, "so many at most; 0: all")
	s.route.flags(add("routes", "Routing tables", s.routes).Flags())
	return c
}

func (s *shower) ports(c *client, w io.Writer) error {
	var list control.PortList
	if err := c.get("/v1/ports", nil, &list); err != nil || s.json {
		return printUnless(err, w, list)
	}
	return printPorts(w, list.Ports)
}

// printPorts prints ports and sub-ports, and what the devices counted below: in one table
// they are too wide for a terminal.
func printPorts(w io.Writer, ports []control.PortStatus) error {
	t := table(w)
	fmt.Fprintln(t, "port\tlink\tdriver\tsteering\tmac\tmtu\ttwin\t")
	for _, p := range ports {
		for _, in := range p.Interfaces {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t\n", in.Name, linkWord(p.LinkUp), p.Driver, p.Steering, in.MAC, in.MTU, twinOf(&in))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = table(w)
	fmt.Fprintln(t, "port\trx packets\trx bytes\trx missed\ttx packets\ttx bytes\ttx dropped\t")
	for _, p := range ports {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t\n", p.Name, p.RxPackets, p.RxBytes, p.RxMissed, p.TxPackets, p.TxBytes, p.TxDropped)
	}
	return t.Flush()
}

func (s *shower) workers(c *client, w io.Writer) error {
	var list control.WorkerList
	if err := c.get("/v1/workers", nil, &list); err != nil || s.json {
		return printUnless(err, w, list)
	}
	printWorkers(w, list.Workers)
	fmt.Fprintln(w, "\ncycles per packet, sampled:")
	t := table(w)
	fmt.Fprint(t, "stage\t")
	for _, worker := range list.Workers {
		fmt.Fprintf(t, "core %d\t", worker.Core)
	}
	fmt.Fprintln(t)
	for i, stage := range list.Workers[0].Stages { // a line each: there are more of them than workers
		fmt.Fprintf(t, "%s\t", stage.Name)
		for _, worker := range list.Workers {
			fmt.Fprintf(t, "%.1f\t", worker.Stages[i].CyclesPerPacket)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

func (s *shower) drops(c *client, w io.Writer) error {
	var list control.DropList
	if err := c.get("/v1/drops", nil, &list); err != nil || s.json {
		return printUnless(err, w, list)
	}
	t := table(w)
	fmt.Fprintf(t, "received\t%d\t\ncreated\t%d\t\ntransmitted\t%d\t\nheld\t%d\t\n", list.Received, list.Created, list.Transmitted, list.Held)
	if f := list.Reassembly; f != (control.FragmentsReport{}) {
		fmt.Fprintf(t, "fragments held\t%d\t\ndatagrams in fragments\t%d\t\ncompleted\t%d\t\nevicted\t%d\t\ntimed out\t%d\t\n",
			f.Held, f.Datagrams, f.Completed, f.Evicted, f.TimedOut)
	}
	for _, reason := range byCount(list.Drops) {
		fmt.Fprintf(t, "dropped: %s\t%d\t\n", reason, list.Drops[reason])
	}
	for _, reason := range byCount(list.Punts) {
		fmt.Fprintf(t, "punted: %s\t%d\t\n", reason, list.Punts[reason])
	}
	return t.Flush()
}

// pageLines is how many flows are aligned with each other, or rules are asked for at once.
const pageLines = 1000

// flows prints what the switch sends as it comes, so that neither side holds the listing.
func (s *shower) flows(c *client, w io.Writer) error {
	query := url.Values{}
	if s.limit != 0 {
		query.Set("limit", strconv.Itoa(s.limit))
	}
	if s.json {
		return c.flowsJSON(w, query)
	}
	t, lines := table(w), 0
	fmt.Fprintln(t, "proto\tstate\toriginal\tpackets\tbytes\treply\tpackets\tbytes\tage\texpires\t")
	err := c.follow(flowStream, query, func(line []byte) error {
		var f control.FlowStatus
		if err := json.Unmarshal(line, &f); err != nil {
			return err
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\t%d\t%d\t%.0fs\t%.0fs\t\n", f.Protocol, f.State,
			arrow(f.Original), f.Packets[0], f.Bytes[0], arrow(f.Reply), f.Packets[1], f.Bytes[1], f.AgeS, f.ExpiresS)
		if lines++; lines%pageLines == 0 {
			return t.Flush()
		}
		return nil
	})
	if err != nil && lines == 0 { // nothing was shown
		return err
	}
	return errors.Join(err, t.Flush())
}

func arrow(t control.Tuple) string {
	return fmt.Sprintf("%s %d -> %s %d", t.Src, t.SrcPort, t.Dst, t.DstPort)
}

func (s *shower) config(c *client, w io.Writer) error {
	if s.json {
		var config conf.Config
		if err := c.get("/v1/config", nil, &config); err != nil {
			return err
		}
		return printJSON(w, config)
	}
	text, err := c.text("/v1/config", url.Values{"format": {"toml"}})
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// printUnless prints an answer as JSON unless there was none.
func printUnless(err error, w io.Writer, answer any) error {
	if err != nil {
		return err
	}
	return printJSON(w, answer)
}

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ffwd/control"
)

// tracker works on the flows of a running switch.
type tracker struct {
	socketFlags
	json   bool
	limit  int
	all    bool
	flags  *pflag.FlagSet
	filter map[string]*string
}

// flowFilters are the filters of the API, which the flags are named after.
var flowFilters = [][2]string{
	{"proto", "protocol, by name or number"},
	{"src", "source address or prefix of the original direction"},
	{"dst", "destination address or prefix of the original direction"},
	{"sport", "source port of the original direction, or an ICMP query's identifier"},
	{"dport", "destination port of the original direction"},
	{"zone", "conntrack zone"},
	{"mark", "mark, or mark/mask"},
	{"state", "state as listed, or UNREPLIED or ASSURED"},
	{"family", "ipv4 or ipv6"},
	{"reply_src", "source address or prefix of the reply direction: where translated flows go"},
	{"reply_dst", "destination address or prefix of the reply direction: what hides their source"},
	{"reply_sport", "source port of the reply direction"},
	{"reply_dport", "destination port of the reply direction"},
	{"packets", "packets of the original direction: a number, FROM-TO, FROM- or -TO"},
	{"bytes", "bytes of the original direction, likewise"},
	{"reply_packets", "packets of the reply direction, likewise"},
	{"reply_bytes", "bytes of the reply direction, likewise"},
	{"age", "time since the connection began: FROM-TO, FROM- or -TO, as 10m- or 1s-30s"},
}

func ctCommand() *cobra.Command {
	c := groupCommand("ct", "List, count, delete and watch tracked connections")
	add := func(name, short string, run func(*tracker, *client, io.Writer) error) (*cobra.Command, *tracker) {
		t := &tracker{filter: map[string]*string{}}
		sub := &cobra.Command{
			Use: name, Short: short, Args: noArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				cl, err := t.client()
				if err != nil {
					return err
				}
				return run(t, cl, c.OutOrStdout())
			},
		}
		t.add(sub)
		t.flags = sub.Flags()
		sub.Flags().BoolVar(&t.json, "json", false, "print JSON")
		for _, f := range flowFilters {
			t.filter[f[0]] = sub.Flags().String(f[0], "", f[1])
		}
		c.AddCommand(sub)
		return sub, t
	}
	list, t := add("list", "Connections, a line each, as 'conntrack -L -o extended' prints them", (*tracker).list)
	list.Flags().IntVar(&t.limit, "limit", 0, "so many at most; 0: all")
	add("count", "How many connections there are", (*tracker).count)
	del, t := add("delete", "Delete connections", (*tracker).delete)
	del.Flags().BoolVar(&t.all, "all", false, "delete every connection, if no filter is given")
	add("events", "Follow connections as they come, change and go", (*tracker).events)
	c.AddCommand(ctStats())
	return c
}

// query returns the filters that are given. One that is given empty is the switch's to
// refuse: left out it would choose more than was meant.
func (t *tracker) query() url.Values {
	q := url.Values{}
	for _, f := range flowFilters { // by the API's names: flags are known by others, see root
		if t.flags.Changed(f[0]) {
			q.Set(f[0], *t.filter[f[0]])
		}
	}
	return q
}

// list prints what the switch sends as it comes, so that neither side holds the listing.
func (t *tracker) list(c *client, w io.Writer) error {
	query := t.query()
	if t.limit != 0 {
		query.Set("limit", strconv.Itoa(t.limit))
	}
	if t.json {
		return c.flowsJSON(w, query)
	}
	query.Set("format", "text")
	return c.copyStream(w, flowStream, query)
}

// flowStream is the path of listings of any length.
const flowStream = "/v1/flows/stream"

// flowsJSON prints a listing of flows as one JSON document.
func (c *client) flowsJSON(w io.Writer, query url.Values) error {
	out := bufio.NewWriterSize(w, 64<<10)
	separator := "\n"
	fmt.Fprint(out, `{"flows": [`)
	err := c.follow(flowStream, query, func(line []byte) error {
		fmt.Fprint(out, separator)
		separator = ",\n"
		_, err := out.Write(line)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "\n]}")
	return out.Flush()
}

func (t *tracker) count(c *client, w io.Writer) error {
	var n control.FlowCount
	if err := c.get("/v1/flows/count", t.query(), &n); err != nil || t.json {
		return printUnless(err, w, n)
	}
	_, err := fmt.Fprintln(w, n.Flows)
	return err
}

func (t *tracker) delete(c *client, w io.Writer) error {
	query := t.query()
	switch {
	case t.all:
		query.Set("all", "1")
	case len(query) == 0:
		return usageError{errors.New("no filter chooses connections: give one, or --all to delete every connection")}
	}
	var n control.FlowCount
	if err := c.do(http.MethodPost, "/v1/flows/delete", query, nil, &n); err != nil || t.json {
		return printUnless(err, w, n)
	}
	_, err := fmt.Fprintf(w, "%d deleted\n", n.Flows)
	return err
}

// events prints until the switch ends or the command is interrupted.
func (t *tracker) events(c *client, w io.Writer) error {
	return c.follow("/v1/flows/events", t.query(), func(line []byte) error {
		if t.json {
			_, err := fmt.Fprintf(w, "%s\n", line)
			return err
		}
		var e control.FlowEvent
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		if e.Flow == nil {
			_, err := fmt.Fprintf(w, "%d events lost\n", e.Lost)
			return err
		}
		_, err := fmt.Fprintf(w, "%9s %s\n", "["+e.Event+"]", e.Flow.AppendLine(nil))
		return err
	})
}

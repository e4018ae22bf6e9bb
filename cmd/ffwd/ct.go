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
	"strings"

	"github.com/spf13/cobra"

	"ffwd/control"
)

// tracker works on the flows of a running switch.
type tracker struct {
	socketFlags
	json   bool
	limit  int
	all    bool
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
}

func ctCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "ct",
		Short: "List, count, delete and watch tracked connections",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("no ct command %q: see 'ffwd ct --help'", args[0])}
			}
			return c.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
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
	return c
}

// query returns the filters that are given.
func (t *tracker) query() url.Values {
	q := url.Values{}
	for name, value := range t.filter {
		if *value != "" {
			q.Set(name, *value)
		}
	}
	return q
}

// list prints page by page, so that neither side holds more than one.
func (t *tracker) list(c *client, w io.Writer) error {
	all := control.FlowList{Flows: []control.FlowStatus{}}
	next, err := eachPage(c, t.query(), t.limit, func(flows []control.FlowStatus) error {
		if t.json {
			all.Flows = append(all.Flows, flows...)
			return nil
		}
		out := bufio.NewWriter(w)
		for i := range flows {
			fmt.Fprintln(out, flowLine(&flows[i]))
		}
		return out.Flush()
	})
	if err != nil || !t.json {
		return err
	}
	all.Next = next
	return printJSON(w, all)
}

// eachPage asks for flows page by page until limit, if it is not 0, and returns
// where the next page would begin.
func eachPage(c *client, query url.Values, limit int, show func([]control.FlowStatus) error) (next string, err error) {
	for shown := 0; ; {
		page := flowPage
		if limit > 0 {
			page = min(page, limit-shown)
		}
		query.Set("limit", strconv.Itoa(page))
		var list control.FlowList
		if err := c.get("/v1/flows", query, &list); err != nil {
			return "", err
		}
		shown += len(list.Flows)
		if err := show(list.Flows); err != nil {
			return "", err
		}
		if list.Next == "" || limit > 0 && shown >= limit {
			return list.Next, nil
		}
		query.Set("after", list.Next)
	}
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
		_, err := fmt.Fprintf(w, "%9s %s\n", "["+e.Event+"]", flowLine(e.Flow))
		return err
	})
}

// flowLine is a flow as conntrack -L -o extended prints it.
func flowLine(f *control.FlowStatus) string {
	var b strings.Builder
	family := 2 // AF_INET
	if f.Family == "ipv6" {
		family = 10
	}
	name := f.Protocol
	if name == strconv.Itoa(int(f.ProtocolNumber)) {
		name = "unknown"
	}
	fmt.Fprintf(&b, "%-8s %d %-8s %d %d ", f.Family, family, name, f.ProtocolNumber, max(0, int64(f.ExpiresS)))
	if name == "tcp" || name == "sctp" {
		b.WriteString(f.State + " ")
	}
	half := func(t *control.Tuple, packets, bytes uint64, answer bool) {
		fmt.Fprintf(&b, "src=%s dst=%s ", t.Src, t.Dst)
		switch {
		case f.ICMP != nil:
			kind := f.ICMP.Type
			if answer {
				kind = answerTo(kind)
			}
			fmt.Fprintf(&b, "type=%d code=%d id=%d ", kind, f.ICMP.Code, f.ICMP.ID)
		case name == "gre":
			b.WriteString("srckey=0x0 dstkey=0x0 ")
		case name == "tcp" || name == "udp" || name == "sctp":
			fmt.Fprintf(&b, "sport=%d dport=%d ", t.SrcPort, t.DstPort)
		}
		fmt.Fprintf(&b, "packets=%d bytes=%d ", packets, bytes)
	}
	half(&f.Original, f.Packets[0], f.Bytes[0], false)
	if !f.Replied {
		b.WriteString("[UNREPLIED] ")
	}
	half(&f.Reply, f.Packets[1], f.Bytes[1], true)
	if f.Assured {
		b.WriteString("[ASSURED] ")
	}
	fmt.Fprintf(&b, "mark=%d ", f.Mark)
	if f.Zone != 0 {
		fmt.Fprintf(&b, "zone=%d ", f.Zone)
	}
	b.WriteString("use=1")
	return b.String()
}

// answerTo returns the ICMP type that answers a query's. Source: RFC 792, RFC 4443.
func answerTo(query uint8) uint8 {
	if query == 8 {
		return 0
	}
	return query + 1
}

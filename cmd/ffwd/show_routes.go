package main

import (
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"ffwd/control"
)

// routeFilter says which routes are shown.
type routeFilter struct {
	limit              int
	vrf                int
	prefix, origin, to string
}

func (f *routeFilter) flags(set *pflag.FlagSet) {
	set.IntVar(&f.limit, "limit", 1000, "so many prefixes at most; 0: all")
	set.IntVar(&f.vrf, "vrf", -1, "only this VRF")
	set.StringVar(&f.prefix, "prefix", "", "only this prefix and those below it")
	set.StringVar(&f.origin, "origin", "", "only local, connected, route, learned or neighbour")
	set.StringVar(&f.to, "to", "", "only the route that packets to this address take")
}

func (f *routeFilter) query() url.Values {
	query := url.Values{}
	if f.vrf >= 0 {
		query.Set("vrf", strconv.Itoa(f.vrf))
	}
	for name, value := range map[string]string{"prefix": f.prefix, "origin": f.origin, "to": f.to} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return query
}

// routePage is how many prefixes one request asks for.
const routePage = 1000

// routes lists page by page, so that neither side holds more than one.
func (s *shower) routes(c *client, w io.Writer) error {
	query := s.route.query()
	shared := false
	all := control.RouteList{Routes: []control.RouteStatus{}}
	for shown := 0; ; {
		page := routePage
		if s.route.limit > 0 {
			page = min(page, s.route.limit-shown)
		}
		query.Set("limit", strconv.Itoa(page))
		var list control.RouteList
		if err := c.get("/v1/routes", query, &list); err != nil {
			return err
		}
		shown += page // a page that is not full is the last one
		if s.json {
			all.Routes = append(all.Routes, list.Routes...)
		} else if err := printRoutes(w, list.Routes); err != nil {
			return err
		}
		shared = shared || slices.ContainsFunc(list.Routes, func(r control.RouteStatus) bool { return r.Shared })
		all.Next = list.Next
		if list.Next == "" || s.route.limit > 0 && shown >= s.route.limit {
			break
		}
		query.Set("after", list.Next)
	}
	if s.json {
		return printJSON(w, all)
	}
	if shared {
		fmt.Fprintln(w, "* of a next hop that several routes share")
	}
	if all.Next != "" {
		fmt.Fprintln(w, "and more: see --limit")
	}
	return nil
}

// printRoutes prints a page of routes.
func printRoutes(w io.Writer, routes []control.RouteStatus) error {
	t := table(w)
	fmt.Fprintln(t, "vrf\tprefix\torigin\tkind\tpackets\tbytes\t  hops")
	for _, r := range routes {
		state := r.Origin
		if r.Protocol != "" {
			state += " " + r.Protocol
		}
		if r.Shadowed {
			state += ", waiting"
		}
		ways := hopsOf(r.Hops)
		if r.MTUBytes != 0 {
			ways += fmt.Sprintf(", mtu %d", r.MTUBytes)
		}
		shared := ""
		if r.Shared {
			shared = "*"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%d%s\t%d%s\t  %s\n", r.VRF, r.Prefix, state, r.Kind,
			r.Packets, shared, r.Bytes, shared, ways)
	}
	return t.Flush()
}

func hopsOf(hops []control.HopStatus) string {
	words := make([]string, len(hops))
	for i, h := range hops {
		words[i] = "on " + h.Port
		if h.Via.IsValid() {
			words[i] = fmt.Sprintf("via %s on %s", h.Via, h.Port)
		}
		if len(hops) > 1 {
			words[i] += fmt.Sprintf(" weight %d", h.Weight)
		}
		if h.MAC != "" {
			words[i] += " " + h.MAC
		} else {
			words[i] += " " + h.State
		}
	}
	return strings.Join(words, ", ")
}

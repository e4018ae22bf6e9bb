package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"ffwd/conf"
	"ffwd/control"
)

// rules lists page by page, in the order in which packets are asked.
func (s *shower) rules(c *client, w io.Writer) error {
	all := control.RuleList{Rules: []control.RuleStatus{}}
	for {
		page := pageLines
		if s.limit > 0 {
			page = min(page, s.limit-len(all.Rules))
		}
		query := url.Values{"limit": {strconv.Itoa(page)}, "from": {strconv.Itoa(all.Next)}}
		var list control.RuleList
		if err := c.get("/v1/rules", query, &list); err != nil {
			return err
		}
		all.Rules = append(all.Rules, list.Rules...)
		all.Defaults, all.Next = list.Defaults, list.Next
		if list.Next == 0 || s.limit > 0 && len(all.Rules) >= s.limit {
			break
		}
	}
	if s.json {
		return printJSON(w, all)
	}
	t := table(w)
	fmt.Fprintln(t, "rule\thook\tpackets\tbytes\taction\t  match")
	for i := range all.Rules {
		r := &all.Rules[i]
		match := matches(&r.Rule)
		if r.Comment != "" {
			match += "  # " + r.Comment
		}
		fmt.Fprintf(t, "%d\t%s\t%d\t%d\t%s\t  %s\n", r.Index, r.Hook, r.Packets, r.Bytes, does(&r.Rule), match)
	}
	for _, d := range all.Defaults {
		fmt.Fprintf(t, "default\t%s\t%d\t%d\t%s\t\n", d.Hook, d.Packets, d.Bytes, d.Action)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if all.Next > 0 {
		fmt.Fprintln(w, "and more: see --limit")
	}
	return nil
}

// does says what a rule does, in the words of the configuration.
func does(r *conf.Rule) string {
	words := []string{string(r.Action)}
	add := func(key, value string, given bool) {
		if given {
			words = append(words, key+" "+value)
		}
	}
	add("with", string(r.RejectWith), r.RejectWith != "")
	add("to", r.To.String(), !r.To.IsZero())
	add("to_ports", r.ToPorts.String(), r.ToPorts != conf.PortRange{})
	add("via", via(r), via(r) != "")
	add("set_mark", r.SetMark.String(), !r.SetMark.IsZero())
	add("set_ct_mark", r.SetCTMark.String(), !r.SetCTMark.IsZero())
	add("queue", r.Queue.String(), !r.Queue.IsZero())
	add("tee_port", r.TeePort, r.TeePort != "")
	add("timeout", r.Timeout, r.Timeout != "")
	for _, flag := range []struct {
		name string
		set  bool
	}{{"bypass", r.Bypass}, {"fail_open", r.FailOpen}, {"priority", r.Priority}} {
		if flag.set {
			words = append(words, flag.name)
		}
	}
	return strings.Join(words, ", ")
}

// via names the next hops that a rule chooses, "" when it leaves packets to their routes.
func via(r *conf.Rule) string {
	if r.Via.IsValid() {
		return r.Via.String()
	}
	words := make([]string, len(r.Hops))
	for i, h := range r.Hops {
		words[i] = h.Port
		if h.Via.IsValid() {
			words[i] = h.Via.String()
		}
	}
	return strings.Join(words, "|")
}

// matches says what a rule matches, in the words of the configuration.
func matches(r *conf.Rule) string {
	var words []string
	add := func(key, value string) {
		if value != "" {
			words = append(words, key+" "+value)
		}
	}
	add("in", strings.Join(r.InPorts, ","))
	add("out", strings.Join(r.OutPorts, ","))
	add("src", joined(r.Src))
	add("dst", joined(r.Dst))
	if !r.Protocol.IsZero() {
		add("protocol", r.Protocol.String())
	}
	add("src_ports", joined(r.SrcPorts))
	add("dst_ports", joined(r.DstPorts))
	if len(r.State) > 0 {
		states := make([]string, len(r.State))
		for i, state := range r.State {
			states[i] = string(state)
		}
		add("state", strings.Join(states, ","))
	}
	if !r.Mark.IsZero() {
		add("mark", r.Mark.String())
	}
	if !r.CTMark.IsZero() {
		add("ct_mark", r.CTMark.String())
	}
	if r.ConnMax != 0 {
		add("conn_max", strconv.Itoa(r.ConnMax))
		add("per", string(r.ConnMaxPer))
	}
	if len(words) == 0 {
		return "any"
	}
	return strings.Join(words, " ")
}

func joined[T fmt.Stringer](list []T) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = v.String()
	}
	return strings.Join(words, ",")
}

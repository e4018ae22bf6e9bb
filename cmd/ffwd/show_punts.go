package main

import (
	"fmt"
	"io"

	"ffwd/control"
)

func (s *shower) punts(c *client, w io.Writer) error {
	var list control.PuntList
	if err := c.get("/v1/punts", nil, &list); err != nil || s.json {
		return printUnless(err, w, list)
	}
	switch {
	case !list.On:
		fmt.Fprintf(w, "no slow path: %s\n", list.Because)
	case list.Netns == "":
		fmt.Fprintln(w, "slow path in our own network namespace")
	default:
		fmt.Fprintf(w, "slow path in network namespace %s\n", list.Netns)
	}
	t := table(w)
	fmt.Fprintln(t, "reason\tpunted\tlimited\tring full\tdropped\t")
	for _, p := range list.Punts {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t\n", p.Reason, p.Punted, p.Limited, p.Full, p.Dropped)
	}
	if err := t.Flush(); err != nil || !list.On {
		return err
	}
	fmt.Fprintln(w)
	t = table(w)
	fmt.Fprintln(t, "port\ttwin\tto kernel\trefused\tfrom kernel\toverflow\toversized\tremade\t")
	for _, p := range list.Twins {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t\n", p.Port, presence(p.TAP, p.Index),
			p.ToKernel, p.Refused, p.FromKernel, p.Overflow, p.Oversized, p.Remade)
	}
	return t.Flush()
}

// twinOf names an interface's twin, "-" if it has none.
func twinOf(in *control.InterfaceStatus) string {
	if in.TAP == "" {
		return "-"
	}
	return presence(in.TAP, in.TAPIndex)
}

func presence(tap string, index int) string {
	if index == 0 {
		return tap + " (gone)"
	}
	return tap
}

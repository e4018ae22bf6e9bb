package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ffwd/conf"
	"ffwd/control"
)

// timeoutPolicies is what the sub-commands of `ffwd timeout` share.
type timeoutPolicies struct {
	socketFlags
	json             bool
	family, protocol string
	all              bool
}

func timeoutCommand() *cobra.Command {
	c := groupCommand("timeout", "Connection timeout policies of a running switch")
	for _, sub := range []*cobra.Command{
		timeoutList(), timeoutSet("add", "Create a policy", false),
		timeoutSet("replace", "Change the values of a policy in place, or create it", true), timeoutDelete(),
	} {
		c.AddCommand(sub)
	}
	return c
}

// command makes a sub-command that asks the switch.
func (t *timeoutPolicies) command(use, short string, do func(*client, io.Writer, []string) error) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := t.client()
			if err != nil {
				return err
			}
			return do(cl, c.OutOrStdout(), args)
		},
	}
	t.add(c)
	c.Flags().BoolVar(&t.json, "json", false, "print JSON")
	return c
}

func timeoutList() *cobra.Command {
	t := &timeoutPolicies{}
	c := t.command("list", "Policies, their values, and what refers to them", func(cl *client, w io.Writer, _ []string) error {
		var list control.TimeoutList
		if err := cl.get("/v1/timeouts", nil, &list); err != nil || t.json {
			return printUnless(err, w, list)
		}
		return printTimeouts(w, list.Policies)
	})
	c.Args = noArgs
	return c
}

// printTimeouts prints a line for each policy, and its values below.
func printTimeouts(w io.Writer, policies []control.TimeoutStatus) error {
	t := table(w)
	fmt.Fprintln(t, "name\tfamily\tprotocol\tstate\treferences\tflows\trules\tqueued\t")
	for _, p := range policies {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t\n", p.Name, p.Family, p.Protocol, life(&p), p.References, p.Flows, p.Rules, p.Queued)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, p := range policies {
		if _, err := fmt.Fprintf(w, "\n%s, %s %s, %s:\n%s", p.Name, p.Family, p.Protocol, life(&p), valuesOf(p.Timeouts)); err != nil {
			return err
		}
	}
	return nil
}

func life(p *control.TimeoutStatus) string {
	if p.Draining {
		return "draining"
	}
	return "live"
}

// valuesOf prints timeouts as they are given, state=duration, in lines for a terminal.
func valuesOf(timeouts map[string]conf.Duration) string {
	const width = 80
	var text, line string
	for _, state := range slices.Sorted(maps.Keys(timeouts)) {
		word := fmt.Sprintf(" %s=%s", state, timeouts[state])
		if line != "" && len(line)+len(word) > width {
			text, line = text+line+"\n", ""
		}
		if line == "" {
			line = " "
		}
		line += word
	}
	return text + line + "\n"
}

func timeoutSet(name, short string, replace bool) *cobra.Command {
	t := &timeoutPolicies{}
	c := t.command(name+" NAME --family FAMILY --protocol PROTOCOL [STATE=DURATION...]", short, func(cl *client, w io.Writer, args []string) error {
		p, err := t.policy(args)
		if err != nil {
			return usageError{err}
		}
		body, err := json.Marshal(p)
		if err != nil {
			return err
		}
		query := url.Values{}
		if replace {
			query.Set("replace", "true")
		}
		var made control.TimeoutStatus
		if err := cl.do(http.MethodPost, "/v1/timeouts/set", query, body, &made); err != nil || t.json {
			return printUnless(err, w, made)
		}
		return printTimeouts(w, []control.TimeoutStatus{made})
	})
	c.Long = short + `.

Families: ipv4, ipv6. Protocols: tcp, udp, icmp, icmpv6, sctp, gre, generic. A state
that is left out has the timeout of [ct.timeouts]; 'ffwd timeout list' names them.`
	c.Example = "  ffwd timeout " + name + " web --family ipv4 --protocol tcp established=2h close=5s"
	c.Flags().StringVar(&t.family, "family", "", "ipv4 or ipv6")
	c.Flags().StringVar(&t.protocol, "protocol", "", "of the flows that the policy is for")
	return c
}

// policy reads the arguments: a name, and timeouts.
func (t *timeoutPolicies) policy(args []string) (*conf.TimeoutPolicy, error) {
	if len(args) == 0 || strings.Contains(args[0], "=") {
		return nil, errors.New("no policy named: give its name before its timeouts")
	}
	texts := map[string]string{}
	for _, arg := range args[1:] {
		state, text, found := strings.Cut(arg, "=")
		if !found {
			return nil, fmt.Errorf("%q is not STATE=DURATION, as in established=2h", arg)
		}
		if _, twice := texts[state]; twice {
			return nil, fmt.Errorf("%s is given twice", state)
		}
		texts[state] = text
	}
	timeouts, faults := conf.ParseTimeouts(texts)
	p := &conf.TimeoutPolicy{Name: args[0], Family: conf.Family(t.family), Protocol: conf.Tracker(t.protocol), Timeouts: timeouts}
	if faults = append(faults, p.Validate()...); len(faults) > 0 {
		return nil, faults
	}
	return p, nil
}

func timeoutDelete() *cobra.Command {
	t := &timeoutPolicies{}
	c := t.command("del NAME | --all", "Delete a policy, in use or not", func(cl *client, w io.Writer, args []string) error {
		query := url.Values{}
		switch {
		case t.all && len(args) == 0:
			query.Set("all", "true")
		case !t.all && len(args) == 1:
			query.Set("name", args[0])
		default:
			return usageError{errors.New("want the name of one policy, or --all")}
		}
		var answer control.TimeoutDeletion
		if err := cl.do(http.MethodPost, "/v1/timeouts/delete", query, nil, &answer); err != nil || t.json {
			return printUnless(err, w, answer)
		}
		for _, name := range answer.Deleted {
			fmt.Fprintln(w, name, "deleted")
		}
		return nil
	})
	c.Flags().BoolVar(&t.all, "all", false, "delete every policy")
	return c
}

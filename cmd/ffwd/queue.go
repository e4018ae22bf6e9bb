package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ffwd/conf"
	"ffwd/control"
	verdicts "ffwd/queue/client"
)

func queueCommand() *cobra.Command {
	c := groupCommand("queue", "Verdict queues: show them, or listen to one")
	c.AddCommand(queueListCommand(), queueListenCommand())
	return c
}

func queueListCommand() *cobra.Command {
	var f socketFlags
	var asJSON, latency bool
	c := &cobra.Command{
		Use: "list", Short: "Queues, their listeners and figures", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := f.client()
			if err != nil {
				return err
			}
			var list control.QueueList
			if err := cl.get("/v1/queues", nil, &list); err != nil || asJSON {
				return printUnless(err, c.OutOrStdout(), list)
			}
			if latency {
				return printLatencies(c.OutOrStdout(), list.Queues)
			}
			return printQueues(c.OutOrStdout(), list.Queues)
		},
	}
	f.add(c)
	c.Flags().BoolVar(&latency, "latency", false, "print how long packets waited for their verdict, as a histogram")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// printQueues prints a line for each queue, and one for each of its outcomes that there were.
func printQueues(w io.Writer, queues []control.QueueReport) error {
	t := table(w)
	fmt.Fprintln(t, "queue\tlistener\twaiting\tbytes\toffered\tp50\tp99\tstalls\t")
	for _, q := range queues {
		listener := "none"
		if q.Listening {
			listener = fmt.Sprint("pid ", q.PID)
		}
		fmt.Fprintf(t, "%d\t%s\t%d\t%d\t%d\t%v\t%v\t%d\t\n", q.Number, listener, q.Packets, q.Bytes, q.Offered,
			seconds(q.Latency.P50), seconds(q.Latency.P99), q.Stalls)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = table(w)
	fmt.Fprintln(t, "queue\toutcome\tpackets\t")
	for _, q := range queues {
		for _, outcome := range byCount(q.Outcomes) {
			if n := q.Outcomes[outcome]; n > 0 {
				fmt.Fprintf(t, "%d\t%s\t%d\t\n", q.Number, outcome, n)
			}
		}
	}
	return t.Flush()
}

// printLatencies prints a line for each step of each queue's histogram.
func printLatencies(w io.Writer, queues []control.QueueReport) error {
	t := table(w)
	fmt.Fprintln(t, "queue\twaited less than\tpackets\tof all\t")
	for _, q := range queues {
		sum := uint64(0)
		for _, b := range q.Latency.Buckets {
			sum += b.Packets
			fmt.Fprintf(t, "%d\t%v\t%d\t%.2f%%\t\n", q.Number, seconds(b.Under), b.Packets, 100*float64(sum)/float64(q.Verdicts))
		}
	}
	return t.Flush()
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Nanosecond)
}

// listener is `ffwd queue listen`.
type listener struct {
	config, socket     string
	queue              uint16
	accept, drop, dump bool
	asJSON             bool
	delay              time.Duration
	count              int
	copyBytes          int
	out                io.Writer
	waiting            []late // in order; no more than the switch lets wait
}

func queueListenCommand() *cobra.Command {
	l := &listener{}
	c := &cobra.Command{
		Use:   "listen",
		Short: "Listen to a queue and decide every packet alike",
		Long: `Listen to a queue and accept or drop every packet, printing it with --dump. With
--dump alone every packet is accepted. It ends on SIGINT or SIGTERM, after --count
packets, and when the switch sends it away.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if l.accept && l.drop {
				return usageError{errors.New("--accept and --drop: give one of them")}
			}
			if l.delay < 0 || l.count < 0 || l.copyBytes < 0 {
				return usageError{errors.New("--delay, --count and --copy must not be negative")}
			}
			if !l.accept && !l.drop && !l.dump {
				return usageError{errors.New("what is to be done? give --accept, --drop or --dump")}
			}
			l.out = c.OutOrStdout()
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			err := l.run(ctx)
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
	flags := c.Flags()
	configFlag(c, &l.config)
	flags.StringVar(&l.socket, "queue-socket", "", "socket for listeners; the configuration's, or "+conf.Default().Control.QueueSocket)
	flags.Uint16Var(&l.queue, "queue", 0, "number of the queue")
	flags.BoolVar(&l.accept, "accept", false, "accept every packet")
	flags.BoolVar(&l.drop, "drop", false, "drop every packet")
	flags.BoolVar(&l.dump, "dump", false, "print every packet")
	flags.BoolVar(&l.asJSON, "json", false, "print packets as JSON, one per line")
	flags.DurationVar(&l.delay, "delay", 0, "let each packet wait so long for its verdict")
	flags.IntVar(&l.count, "count", 0, "end after so many packets; 0: do not")
	flags.IntVar(&l.copyBytes, "copy", 0, "ask for so many bytes of each packet; 0: all")
	return c
}

// run listens until the context ends.
func (l *listener) run(ctx context.Context) error {
	path, err := socketPath(l.socket, l.config, func(c *conf.Control) string { return c.QueueSocket })
	if err != nil {
		return err
	}
	if path == "" {
		return usageError{errors.New("this configuration has no socket for listeners: set control.queue_socket, or name one with --queue-socket")}
	}
	q, err := verdicts.Open(ctx, path, l.queue, verdicts.CopyBytes(l.copyBytes))
	if err != nil {
		return err
	}
	defer func() { _ = q.Close() }()
	if limit := min(q.Timeout(), q.Stall()); l.delay >= limit {
		return usageError{fmt.Errorf("--delay %v: the queue waits %v for a verdict", l.delay, limit)}
	}
	packets := make([]verdicts.Packet, 64)
	for seen := 0; l.count == 0 || seen < l.count; {
		n, err := l.receive(ctx, q, packets)
		if err != nil {
			return err
		}
		decided, err := l.decide(q, packets[:n])
		if err != nil {
			return err
		}
		seen += decided
	}
	return nil
}

// receive waits for packets, or until one that waits is to be decided.
func (l *listener) receive(ctx context.Context, q *verdicts.Listener, packets []verdicts.Packet) (int, error) {
	if len(l.waiting) == 0 {
		return q.Receive(ctx, packets)
	}
	until, cancel := context.WithDeadline(ctx, l.waiting[0].due)
	defer cancel()
	n, err := q.Receive(until, packets)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = nil
	}
	return n, err
}

// decide gives the verdicts, and tells how many: one for all that came together, unless
// each has to wait for its own.
func (l *listener) decide(q *verdicts.Listener, packets []verdicts.Packet) (int, error) {
	v := verdicts.Verdict{Action: verdicts.Accept}
	if l.drop {
		v.Action = verdicts.Drop
	}
	if l.dump {
		for i := range packets {
			if err := l.print(&packets[i], v); err != nil {
				return 0, err
			}
		}
	}
	if l.delay == 0 {
		return len(packets), q.DecideAll(packets, v)
	}
	now, copies := time.Now(), 0
	for _, p := range packets {
		if p.IsCopy() {
			copies++
			continue
		}
		p.Data = nil // not valid for so long
		l.waiting = append(l.waiting, late{p, now.Add(l.delay)})
	}
	n := 0
	for n < len(l.waiting) && !l.waiting[n].due.After(now) {
		if err := q.Decide(&l.waiting[n].Packet, v); err != nil {
			return n, err
		}
		n++
	}
	l.waiting = slices.Delete(l.waiting, 0, n)
	return copies + n, nil
}

// late is a packet that waits for its verdict, and until when.
type late struct {
	verdicts.Packet
	due time.Time
}

// dumped is a packet as --json prints it.
type dumped struct {
	Worker   uint16  `json:"worker"`
	ID       uint64  `json:"id"`
	Queue    uint16  `json:"queue"`
	Hook     string  `json:"hook"`
	InPort   uint16  `json:"in_port"` // indices, as in `ffwd show ports --json`
	OutPort  uint16  `json:"out_port"`
	Mark     uint32  `json:"mark"`
	CtMark   uint32  `json:"ct_mark"`
	Flow     uint64  `json:"flow"`
	State    string  `json:"state"`
	Reply    bool    `json:"reply"`
	Zone     uint16  `json:"zone"`
	Copy     bool    `json:"copy"`
	WaitingS float64 `json:"waiting_s"`
	Length   uint32  `json:"length"`
	Data     []byte  `json:"data"` // base64
	Verdict  string  `json:"verdict"`
}

func (l *listener) print(p *verdicts.Packet, v verdicts.Verdict) error {
	if l.asJSON {
		return json.NewEncoder(l.out).Encode(dumped{
			p.Worker, p.ID, p.Queue, p.HookName(), p.InPort, p.OutPort, p.Mark, p.CtMark, p.Flow, p.StateName(), p.IsReply(),
			p.Zone, p.IsCopy(), p.Waiting().Seconds(), p.Length, p.Data, v.Action.String(),
		})
	}
	_, err := fmt.Fprintf(l.out, "%v worker %d id %d hook %s in %d out %d mark %#x flow %016x %s zone %d length %d\n  % x\n",
		v.Action, p.Worker, p.ID, p.HookName(), p.InPort, p.OutPort, p.Mark, p.Flow, p.StateName(), p.Zone, p.Length, p.Data)
	return err
}

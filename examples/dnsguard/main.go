package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"ffwd/queue/client"
)

func main() {
	socket := flag.String("socket", "/run/ffwd/queue.sock", "the switch's control.queue_socket")
	queue := flag.Uint("queue", 0, "number of the queue")
	flag.Parse()
	if flag.NArg() != 1 || *queue > 65535 {
		fmt.Fprintln(os.Stderr, "usage: dnsguard [-socket PATH] [-queue NUMBER] BLOCKLIST")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *socket, uint16(*queue), flag.Arg(0)); err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
}

func run(ctx context.Context, socket string, queue uint16, blocklist string) error {
	f, err := os.Open(blocklist)
	if err != nil {
		return err
	}
	g, err := readGuard(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("blocklist %s: %w", blocklist, err)
	}
	l, err := client.Open(ctx, socket, queue)
	if err != nil {
		return err
	}
	log.Printf("queue %d, %d names", queue, len(g))
	return errors.Join(g.listen(ctx, l), l.Close())
}

// listen drops what the list forbids, and accepts the rest of each batch at once.
func (g guard) listen(ctx context.Context, l *client.Listener) error {
	packets := make([]client.Packet, 64)
	for {
		n, err := l.Receive(ctx, packets)
		if err != nil {
			return err
		}
		for i := range packets[:n] {
			name, blocked := g.blocks(packets[i].Data)
			if !blocked {
				continue
			}
			log.Printf("dropped an answer for %s", name)
			if err := l.Decide(&packets[i], client.Verdict{Action: client.Drop}); err != nil {
				return err
			}
		}
		if err := l.DecideAll(packets[:n], client.Verdict{Action: client.Accept}); err != nil {
			return err
		}
	}
}

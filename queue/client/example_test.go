package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"ffwd/epoch"
	"ffwd/packet"
	"ffwd/queue"
	"ffwd/queue/client"
)

// A listener that drops what is too short, and accepts the rest as a batch.
func Example() {
	path, _, stop := exampleSwitch()
	defer stop()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l, err := client.Open(ctx, path, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()

	packets := make([]client.Packet, 64)
	for seen := 0; seen < 3; {
		n, err := l.Receive(ctx, packets)
		if err != nil {
			fmt.Println(err)
			return
		}
		for i := range packets[:n] {
			p := &packets[i]
			fmt.Println("a packet of", p.Length, "bytes at hook", p.HookName())
			if p.Length < 60 {
				err = errors.Join(err, l.Decide(p, client.Verdict{Action: client.Drop}))
			}
		}
		err = errors.Join(err, l.DecideAll(packets[:n], client.Verdict{Action: client.Accept}))
		if err != nil {
			fmt.Println(err)
			return
		}
		seen += n
	}
	// Output:
	// a packet of 40 bytes at hook in
	// a packet of 80 bytes at hook in
	// a packet of 120 bytes at hook in
}

// A listener that marks one packet and its connection and rewrites another, until its context
// ends.
func ExampleListener_Decide() {
	path, decided, stop := exampleSwitch()
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-decided; cancel() }()

	l, err := client.Open(ctx, path, 0, client.CopyBytes(128), client.Spin(0))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close() // what is not decided leaves by its rule's policy

	packets := make([]client.Packet, 64)
	for {
		n, err := l.Receive(ctx, packets)
		if errors.Is(err, context.Canceled) {
			fmt.Println("the listener leaves")
			return
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		for i := range packets[:n] {
			v := client.Verdict{Action: client.Accept}
			switch packets[i].Length {
			case 40:
				mark := uint32(7)
				v.Mark, v.CtMark = &mark, &mark
			case 80: // Data is not to be written: it is the switch's memory
				v.Packet = append([]byte(nil), packets[i].Data[:60]...)
			}
			if err := l.Decide(&packets[i], v); err != nil {
				fmt.Println(err)
				return
			}
		}
	}
	// Output:
	// the switch goes on with 40 bytes, mark 7
	// the switch goes on with 60 bytes, mark 0
	// the switch goes on with 120 bytes, mark 0
	// the listener leaves
}

// exampleSwitch is a switch with one queue and one worker, which has three packets, and tells
// when all of them have been decided. It prints what a listener has changed, and what follows.
func exampleSwitch() (path string, decided chan bool, stop func()) {
	dir, err := os.MkdirTemp("", "queue")
	must(err)
	path = filepath.Join(dir, "q")
	set, err := queue.NewSet([]queue.Options{{MaxPackets: 8, MaxBytes: 1 << 16, Timeout: time.Minute, Stall: time.Minute}}, 1)
	must(err)
	socket, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	must(err)
	server := queue.Serve(set, socket, &epoch.Domain{}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	worker, ended, done := set.NewWorker(0, [2]uint64{1, 2}), make(chan bool), make(chan bool)
	decided = make(chan bool)
	go func() {
		defer close(done)
		dst, pushed, told, left := make([]packet.Released, 8), false, false, 0
		for now := int64(1); ; now += 100_000 {
			for _, r := range dst[:worker.Release(dst, now)] {
				if r.Rewritten || r.NewMark || told {
					told = true
					fmt.Println("the switch goes on with", r.L3Len(), "bytes, mark", r.Mark)
				}
				if left++; left == 3 {
					close(decided)
				}
			}
			if !pushed && set.Lookup(0).Listening() {
				worker.Release(dst, now)
				for i := range 3 {
					worker.Push(examplePacket(40*(i+1)), packet.Queueing{}, now)
				}
				pushed = true
			}
			worker.Flush(now)
			select {
			case <-ended:
				return
			default:
				time.Sleep(100 * time.Microsecond)
			}
		}
	}()
	return path, decided, func() {
		server.Close()
		close(ended)
		<-done
		os.RemoveAll(dir)
	}
}

func examplePacket(n int) *packet.Packet {
	frame := make([]byte, 2048)
	m := &packet.Mbuf{BufAddr: unsafe.Pointer(&frame[0]), BufLen: 2048}
	return &packet.Packet{Mbuf: m, Head: packet.Head{Data: m.Data(), L3: 14, L4: 20, Len: uint16(14 + n)}}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// An Open that its context ends returns its error, and leaves nothing. Source: VQ-7
func TestOpenIsCancelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "q")
	socket, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close() // nobody accepts
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := client.Open(ctx, path, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if _, err := client.Open(t.Context(), path+"x", 0); err == nil {
		t.Error("opened what is not there")
	}
}

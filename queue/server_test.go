package queue

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ffwd/packet"
	"ffwd/queue/client"
	"ffwd/queue/wire"
)

func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// One queue has one listener; who is refused learns why. Source: VQ-5
func TestRefusals(t *testing.T) {
	b := newBed(t, 1, plain(0))
	l := b.listen(0)
	for _, c := range []struct {
		queue uint16
		code  wire.Code
		text  string
	}{{0, wire.CodeBusy, "has a listener"}, {1, wire.CodeNoQueue, "no queue 1"}} {
		_, err := client.Open(t.Context(), b.path, c.queue)
		var refused *client.Refused
		if !errors.As(err, &refused) || refused.Code != c.code || !strings.Contains(err.Error(), c.text) {
			t.Errorf("queue %d: %v", c.queue, err)
		}
	}
	l.Close()
	l.Close()
	if _, err := l.Receive(t.Context(), make([]client.Packet, 1)); !errors.Is(err, client.ErrClosed) {
		t.Error(err)
	}
	if err := l.Decide(&client.Packet{}, client.Verdict{Action: client.Accept}); !errors.Is(err, client.ErrClosed) {
		t.Error(err)
	}
	b.listen(0).Close()
}

// So does who comes when as many are connected as may be, whether its hello is read or not.
// Source: VQ-5
func TestTooManyListeners(t *testing.T) {
	b := newBed(t, 1, plain(0))
	for range maxClients {
		b.dial()
	}
	for range 20 {
		_, err := client.Open(t.Context(), b.path, 0)
		var refused *client.Refused
		if !errors.As(err, &refused) || refused.Code != wire.CodeBusy {
			t.Fatal(err)
		}
	}
}

// Who says nothing broke the protocol, and the switch says what it waited for. Source: VQ-5
func TestSilence(t *testing.T) {
	b := newBed(t, 1, plain(0))
	r := b.dial()
	if err := r.conn.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := receive(r.conn, wire.CheckReady); !errors.Is(err, wire.ErrMessage) || !strings.Contains(err.Error(), "hello and ready") {
		t.Error(err)
	}
}

// What waits for a listener that goes leaves by bypass, and the next one begins anew.
// Source: VQ-5
func TestListenerGoes(t *testing.T) {
	b := newBed(t, 2, plain(0))
	for range 3 {
		l := b.listen(0)
		for i := range 40 {
			b.push(b.workers[i%2], b.packet(i%7, i, 60), packet.Queueing{Options: uint8(i/2%2) * packet.QueueBypass})
		}
		b.poll()
		packets := b.receive(l, 10)
		l.Close()
		all := b.until("packets to leave", func() bool { return b.workers[0].Held()+b.workers[1].Held() == 0 })
		accepted := 0
		for _, r := range all {
			if r.Decision == packet.QueueAccept {
				accepted++
			}
		}
		if len(all) != 40 || accepted != 20 {
			t.Errorf("%d packets left, %d of them accepted", len(all), accepted)
		}
		_ = packets
	}
}

// What a listener decided before it went is decided, one by one or for more than a poll
// takes, and the rest leaves by policy. Source: VQ-2, VQ-5
func TestLastVerdictsCount(t *testing.T) {
	const decided, undecided = packet.MaxBurst + 100, 10
	for name, decide := range map[string]func(*client.Listener, []client.Packet) error{
		"each": func(l *client.Listener, all []client.Packet) error {
			for i := range all[:decided] {
				if err := l.Decide(&all[i], client.Verdict{Action: client.Drop}); err != nil {
					return err
				}
			}
			return nil
		},
		"up to": func(l *client.Listener, all []client.Packet) error {
			return l.DecideUpTo(&all[decided-1], client.Verdict{Action: client.Drop})
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := plain(0)
			o.MaxPackets, o.MaxBytes = decided+undecided, 1<<20
			b := newBed(t, 1, o)
			l := b.listen(0)
			for i := range decided + undecided {
				b.push(b.workers[0], b.packet(i, i, 60), packet.Queueing{Options: packet.QueueBypass})
			}
			b.poll()
			if err := decide(l, b.receive(l, decided+undecided)); err != nil {
				t.Fatal(err)
			}
			l.Close()
			dropped, accepted := 0, 0
			for _, r := range b.until("packets to leave", func() bool { return b.workers[0].Held() == 0 }) {
				if r.Decision == packet.QueueDrop {
					dropped++
				} else {
					accepted++
				}
			}
			if dropped != decided || accepted != undecided {
				t.Errorf("%d packets dropped, %d accepted", dropped, accepted)
			}
		})
	}
}

// A listener that goes between two polls is gone with its memory when the next one pushes
// packets and copies: nothing that an earlier poll found is used any more. Source: VQ-5
func TestListenerGoesBetweenPolls(t *testing.T) {
	b := newBed(t, 1, plain(0))
	l := b.listen(0)
	q, w := b.set.Lookup(0), b.workers[0]
	b.poll() // the worker knows the listener
	l.Close()
	for end := time.Now().Add(20 * time.Second); q.claimed.Load(); time.Sleep(50 * time.Microsecond) {
		if !q.Listening() { // retired, and the worker has not looked since
			b.members[0].Quiescent()
			b.epoch.Reclaim()
		}
		if time.Now().After(end) {
			t.Fatal("waited for the memory to go in vain")
		}
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			t.Errorf("memory that is gone was used: %v", fault)
		}
	}()
	copied := b.packet(1, 1, 60)
	if w.Copy(&copied, in0, b.nowNs) {
		t.Error("a copy went to nobody")
	}
	if v := b.push(w, b.packet(1, 1, 60), in0); v != packet.Drop {
		t.Errorf("verdict %d, want that of a queue without a listener", v)
	}
}

// Receive sleeps, and is woken by packets, by its context, by Close and by the end of
// the switch. Source: VQ-7
func TestReceiveWakes(t *testing.T) {
	b := newBed(t, 2, plain(0))
	l := b.listen(0)
	packets := make([]client.Packet, 4)
	type result struct {
		n   int
		err error
	}
	results := make(chan result, 1)
	receive := func(ctx context.Context) {
		go func() {
			n, err := l.Receive(ctx, packets)
			results <- result{n, err}
		}()
		b.until("the listener to sleep", func() bool { return b.set.Lookup(0).binding.Load().sleeping.Load() == 1 })
	}
	for i := range 20 {
		receive(t.Context())
		b.nowNs += wakeInterval
		b.push(b.workers[i%2], b.packet(1, i, 60), in0)
		var r result
		b.until("the packet", func() bool {
			select {
			case r = <-results:
				return true
			default:
				return false
			}
		})
		if r.n != 1 || r.err != nil || number(packets[0].Data) != i {
			t.Fatalf("%+v", r)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	receive(ctx)
	cancel()
	if r := <-results; !errors.Is(r.err, context.Canceled) {
		t.Errorf("%+v", r)
	}
	receive(t.Context()) // what woke the one before must not wake this one
	go b.server.Close()
	if r := <-results; r.err == nil || !strings.Contains(r.err.Error(), "the switch stops") {
		t.Errorf("%+v", r)
	}
	receiveAgain := make(chan error)
	go func() { _, err := l.Receive(t.Context(), packets); receiveAgain <- err }()
	l.Close()
	if err := <-receiveAgain; err == nil {
		t.Error("a packet")
	}
}

// A worker wakes a listener that sleeps, and not more often than it may. Source: VQ-5
func TestWakesAreBounded(t *testing.T) {
	b := newBed(t, 1, plain(0))
	b.listen(0)
	sleeping := b.set.Lookup(0).binding.Load().sleeping
	w, p := b.workers[0], b.packet(1, 1, 60)
	for range 1000 { // a hostile one that always says it sleeps
		sleeping.Store(1)
		w.Copy(&p, in0, b.nowNs)
		b.nowNs += wakeInterval / 100
		b.poll()
	}
	if s := b.stats(0); s.Wakes < 8 || s.Wakes > 12 {
		t.Errorf("%d wakes in ten intervals", s.Wakes)
	}
}

// What a listener gets cannot be used against the switch: packets cannot be written,
// nothing can be shrunk, and the eventfd that workers write to is not among it.
// Source: VQ-5
func TestMemoryIsSealed(t *testing.T) {
	q := &Queue{Options: plain(0)}
	b, err := newBinding(q.layout(2))
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	for i, fd := range b.files[:2] {
		if err := unix.Ftruncate(fd, 0); err == nil {
			t.Errorf("file %d can be shrunk", i)
		}
	}
	if _, err := unix.Mmap(b.files[0], 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
		t.Error("packets can be mapped for writing")
	}
	if _, err := unix.Pwrite(b.files[0], []byte{1}, 0); err == nil {
		t.Error("packets can be written")
	}
	if err := unix.Fallocate(b.files[0], unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096); err == nil {
		t.Error("holes can be punched into packets")
	}
	if _, err := unix.Write(b.files[2], make([]byte, 8)); err == nil {
		t.Error("the wake-up can be written to")
	}
}

// A process that listens and is killed is as gone as one that closes. Source: VQ-5
func TestListenerKilled(t *testing.T) {
	if path := os.Getenv("QUEUE_TEST_LISTENER"); path != "" { // the child
		l, err := client.Open(context.Background(), path, 0)
		if err != nil {
			panic(err)
		}
		for packets := make([]client.Packet, 8); ; {
			if _, err := l.Receive(context.Background(), packets); err != nil {
				panic(err)
			}
		}
	}
	b := newBed(t, 1, plain(0))
	child := exec.Command(os.Args[0], "-test.run", "^TestListenerKilled$")
	child.Env = append(os.Environ(), "QUEUE_TEST_LISTENER="+b.path)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	b.until("the child", b.set.Lookup(0).Listening)
	if pid := b.set.Lookup(0).Listener(); pid != child.Process.Pid {
		t.Errorf("listener %d, want %d", pid, child.Process.Pid)
	}
	b.poll()
	for i := range 50 {
		if v := b.push(b.workers[0], b.packet(i, i, 60), in0); v != packet.Held {
			t.Fatalf("packet %d: %d", i, v)
		}
	}
	b.poll()
	at := time.Now()
	child.Process.Kill()
	if all := b.until("packets to leave", func() bool { return b.workers[0].Held() == 0 }); len(all) != 50 {
		t.Errorf("%d packets", len(all))
	}
	if took := time.Since(at); took > 100*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	child.Wait()
	b.listen(0).Close()
}

// What comes by the socket is refused with its reason, and ends nothing but its own
// connection. Source: VQ-5
func TestHostileSocket(t *testing.T) {
	b := newBed(t, 1, plain(0), plain(1))
	good := b.listen(1)
	hello := wire.Hello{Version: wire.Version}
	other := wire.Hello{Version: 7}
	long := append(hello.Marshal(), make([]byte, 300)...)
	for name, m := range map[string][]byte{
		"short": {1}, "noise": make([]byte, 16), "version": other.Marshal(), "long": long,
		"limits first": (&wire.Limits{}).Marshal(), "welcome": (&wire.Welcome{}).Marshal(),
	} {
		c, err := net.Dial("unixpacket", b.path)
		if err != nil {
			t.Fatal(err)
		}
		c.Write(m)
		answer := make([]byte, 512)
		n, err := c.Read(answer)
		var r wire.Refuse
		if err != nil || r.Unmarshal(answer[:n]) != nil {
			t.Errorf("%s: %v, %q", name, err, answer[:n])
		}
		c.Close()
	}
	b.push(b.workers[0], b.packet(1, 9, 60), packet.Queueing{Queue: 1})
	b.poll()
	if p := b.receive(good, 1); number(p[0].Data) != 9 {
		t.Error("the other queue's listener suffered")
	}
}

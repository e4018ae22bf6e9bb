package queue

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ffwd/packet"
	"ffwd/queue/client"
	"ffwd/queue/wire"
)

// raw is a listener that does what it likes with what it gets. Its calls may fail, which is
// no matter: what counts is how the switch fares.
type raw struct {
	conn              *net.UnixConn
	welcome           wire.Welcome
	files             []int
	packets, verdicts []byte
}

func (b *bed) dial() *raw {
	b.t.Helper()
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: b.path, Net: "unixpacket"})
	if err != nil {
		b.t.Fatal(err)
	}
	r := &raw{conn: c}
	b.t.Cleanup(r.close)
	return r
}

func (r *raw) close() {
	r.conn.Close()
	for _, fd := range r.files {
		unix.Close(fd)
	}
	for _, m := range [...][]byte{r.packets, r.verdicts} {
		if m != nil {
			unix.Munmap(m)
		}
	}
	r.files, r.packets, r.verdicts = nil, nil, nil
}

func (r *raw) send(m []byte) { _, _ = r.conn.Write(m) }

// read takes one message and what comes with it.
func (r *raw) read() error {
	if err := r.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	m, oob := make([]byte, wire.MaxMessage), make([]byte, unix.CmsgSpace(4*wire.Files))
	n, oobn, _, _, err := r.conn.ReadMsgUnix(m, oob)
	if err != nil {
		return err
	}
	var refused wire.Refuse
	if refused.Unmarshal(m[:n]) == nil {
		return &refused
	}
	list, err := unix.ParseSocketControlMessage(oob[:oobn])
	for i := range list {
		files, _ := unix.ParseUnixRights(&list[i])
		r.files = append(r.files, files...)
	}
	return errors.Join(err, r.welcome.Unmarshal(m[:n]))
}

// bind says hello and maps what comes.
func (r *raw) bind(queue uint16) (err error) {
	r.send((&wire.Hello{Version: wire.Version, Queue: queue}).Marshal())
	if err := r.read(); err != nil {
		return err
	}
	if r.packets, err = unix.Mmap(r.files[0], 0, r.welcome.Layout.PacketBytes(), unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return err
	}
	r.verdicts, err = unix.Mmap(r.files[1], 0, r.welcome.Layout.VerdictBytes(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return err
}

// punch tries every way to take pages out of the memory for verdicts, and to write there
// other than by the mapping, and returns which worked.
func (r *raw) punch() (worked []string) {
	if r.verdicts == nil {
		return nil
	}
	fd, size := r.files[verdictsFile], len(r.verdicts)
	try := func(name string, err error) {
		if err == nil {
			worked = append(worked, name)
		}
	}
	m, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if try("map", err); err == nil {
		unix.Munmap(m)
	}
	_, err = unix.Pwrite(fd, make([]byte, size), 0)
	try("write", err)
	try("truncate", unix.Ftruncate(fd, 0))
	try("grow", unix.Ftruncate(fd, 1<<30))
	try("fallocate", unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, int64(size/2)))
	try("madvise", unix.Madvise(r.verdicts[size/2&^4095:], unix.MADV_REMOVE))
	return worked
}

// resident tells whether all pages of a memory are there.
func resident(t *testing.T, m []byte) bool {
	t.Helper()
	pages := make([]byte, (len(m)+4095)/4096)
	if err := mincore(m, pages); err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		if p&1 == 0 {
			return false
		}
	}
	return true
}

// A listener that has its memory can write verdicts there and nothing else: no way leads to
// holes, and those from before are filled. Its verdicts still count. Source: VQ-5
func TestNoHolesInVerdicts(t *testing.T) {
	b := newBed(t, 1, plain(0))
	r := b.dial()
	if err := r.bind(0); err != nil {
		t.Fatal(err)
	}
	if before := r.punch(); len(before) < 2 || resident(t, r.verdicts) {
		t.Fatalf("before it is ready it can do %v: the test punches no holes", before)
	}
	r.send(wire.Ready())
	b.until("the binding", b.set.Lookup(0).Listening)
	if !resident(t, b.set.Lookup(0).binding.Load().verdicts) {
		t.Error("holes are left for the worker to fill")
	}
	if worked := r.punch(); len(worked) > 0 {
		t.Errorf("when it is bound it can %v", worked)
	}
	b.poll()
	b.push(b.workers[0], b.packet(1, 1, 60), in0)
	b.poll()
	in, out := r.welcome.Layout.ListenerLane(r.packets, r.verdicts, 0)
	rec, err := in.Next()
	p, _, errs := wire.ParsePacket(rec)
	if err = errors.Join(err, errs); err != nil {
		t.Fatal(err)
	}
	room, err := out.Reserve(wire.VerdictHeader)
	if err != nil {
		t.Fatal(err)
	}
	(&wire.Verdict{Action: wire.Accept, ID: p.ID}).Put(room, nil)
	out.Publish()
	if all := b.poll(); len(all) != 1 || all[0].Cause != packet.CauseVerdict || all[0].Decision != packet.QueueAccept {
		t.Errorf("%+v", all)
	}
}

// Who does not follow the handshake is refused, with the reason, and the queue is free for
// another. Source: VQ-5
func TestHandshake(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(*raw)
		code wire.Code
	}{
		"limits before ready": {func(r *raw) { r.send((&wire.Limits{}).Marshal()) }, wire.CodeProtocol},
		"hello again":         {func(r *raw) { r.send((&wire.Hello{Version: wire.Version}).Marshal()) }, wire.CodeProtocol},
		"half a ready":        {func(r *raw) { r.send(wire.Ready()[:7]) }, wire.CodeProtocol},
		"seals of its own": {func(r *raw) {
			_, _ = unix.FcntlInt(uintptr(r.files[verdictsFile]), unix.F_ADD_SEALS, unix.F_SEAL_SEAL)
			r.send(wire.Ready())
		}, wire.CodeFault},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, 1, plain(0))
			r := b.dial()
			if err := r.bind(0); err != nil {
				t.Fatal(err)
			}
			c.harm(r)
			var refused *wire.Refuse
			if err := r.read(); !errors.As(err, &refused) || refused.Code != c.code {
				t.Errorf("%v, want code %d", err, c.code)
			}
			if b.set.Lookup(0).Listening() {
				t.Error("it listens")
			}
			b.listen(0).Close()
		})
	}
}

// Whatever a listener sends by its socket, does to its memory and writes there, in whatever
// order: its queue is free when it has gone, all packets come back, and the listener of
// another queue notices nothing. Source: VQ-5
func FuzzListener(f *testing.F) {
	f.Add([]byte{0, 1, 5, 2, 4, 5, 6, 7, 4, 3})
	f.Add([]byte{0, 1, 2, 8, 255, 9, 9, 4, 8, 0, 8, 64, 6, 6})
	f.Add([]byte{0, 1, 5, 5, 10, 2, 2, 0, 1, 3, 11, 40, 0, 255, 255})
	f.Fuzz(func(t *testing.T, steps []byte) {
		b := newBed(t, 1, plain(0), plain(1))
		good, w := b.listen(1), b.workers[0]
		r := b.dial()
		bound := false
		next := func(i *int) byte {
			if *i++; *i < len(steps) {
				return steps[*i]
			}
			return 0
		}
		for i := 0; i < min(len(steps), 64); i++ {
			switch steps[i] % 12 {
			case 0:
				r.send((&wire.Hello{Version: wire.Version, Copy: uint32(next(&i))}).Marshal())
			case 1:
				if !bound {
					bound = r.bind(0) == nil
				}
			case 2:
				r.send(wire.Ready())
			case 3:
				r.send(wire.Close())
			case 4:
				r.send((&wire.Limits{Copy: uint32(next(&i)) << next(&i) % 32}).Marshal())
			case 5:
				r.punch()
			case 6:
				b.push(w, b.packet(i%3, i, 60), packet.Queueing{Options: steps[i] / 12 & packet.QueueBypass})
			case 7:
				b.poll()
			case 8: // anywhere in what it may write, the sleeping flag and the positions first
				if r.verdicts != nil {
					r.verdicts[(int(next(&i))*8+int(next(&i))*256)%len(r.verdicts)] = next(&i)
				}
			case 9:
				_, _ = unix.FcntlInt(uintptr(anyFile(r, next(&i))), unix.F_ADD_SEALS, int(next(&i)))
			case 10:
				r.send(steps[i:])
			case 11:
				_, _ = unix.Write(anyFile(r, next(&i)), steps)
			}
		}
		b.poll()
		r.close()
		b.until("what waited to leave", func() bool { return !b.set.Lookup(0).claimed.Load() && w.Held() == 0 })
		b.push(w, b.packet(1, 77, 60), packet.Queueing{Queue: 1})
		b.poll()
		p := b.receive(good, 1)
		if number(p[0].Data) != 77 {
			t.Error("the other queue's listener suffered")
		}
		b.decide(good, &p[0], client.Verdict{Action: client.Accept})
		if all := b.poll(); len(all) != 1 || all[0].Decision != packet.QueueAccept {
			t.Errorf("the other queue's packet: %s", fmt.Sprint(all))
		}
	})
}

func anyFile(r *raw, n byte) int {
	if len(r.files) == 0 {
		return -1
	}
	return r.files[int(n)%len(r.files)]
}

// mincore tells of each page whether it is in memory.
func mincore(m, pages []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(unsafe.Pointer(&pages[0])))
	if errno != 0 {
		return errno
	}
	return nil
}

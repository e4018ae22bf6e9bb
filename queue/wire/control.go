package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Magic opens every message of the control socket: "FFVQ".
const Magic = 0x51564646

// Version of the protocol. A listener with another is refused.
const Version = 2

// MaxMessage is the largest message of the control socket, in bytes.
const MaxMessage = 256

// Files is the number of file descriptors that come with Welcome: the memory for
// packets, the memory for verdicts, and the epoll instance that wakes the listener.
const Files = 3

// Type is the type of a control message.
type Type uint16

// Types of control messages, and who sends them.
const (
	TypeHello   Type = 1 + iota // listener: bind me to a queue
	TypeWelcome                 // switch: you are; with the descriptors
	TypeRefuse                  // switch: you are not, or not any more
	TypeLimits                  // listener: copy so many bytes from now on
	TypeClose                   // listener: let me go
	TypeReady                   // listener: I have mapped the memory, seal it
)

// Code says why a listener was refused or sent away.
type Code uint16

// Codes of Refuse.
const (
	CodeProtocol Code = 1 + iota // it broke the protocol, on the socket or in a ring
	CodeVersion                  // the switch speaks another version
	CodeNoQueue                  // no queue has the number
	CodeBusy                     // the queue has a listener
	CodeFault                    // the switch could not
	CodeStopping                 // the switch ends
)

// ErrMessage is in every error about a control message.
var ErrMessage = errors.New("bad message on the queue socket")

// Hello asks for a queue.
//
//	0 magic 32   4 version 16   6 type 16   8 queue 16   10 zero 16   12 copy bytes 32
type Hello struct {
	Version uint16
	Queue   uint16
	Copy    uint32 // bytes of each packet; 0: as the queue is configured, which is also the most
}

// Welcome tells the shape of the memory that comes with it.
//
//	 0 magic 32         4 version 16        6 type 16    8 queue 16   10 workers 16
//	12 packet ring 32  16 verdict ring 32  20 copy 32   24 most packets per worker 32
//	28 timeout 32 ms   32 stall 32 ms
type Welcome struct {
	Queue      uint16
	Layout     Layout
	Copy       uint32        // 0: whole packets
	MaxPackets uint32        // waiting at once, per worker
	Timeout    time.Duration // a packet waits
	Stall      time.Duration // without any verdict while packets wait
}

// Refuse says why not. It is the last message of a connection.
//
//	0 magic 32   4 version 16   6 type 16   8 code 16   10 text, UTF-8, to the end
type Refuse struct {
	Code Code
	Text string
}

// Error makes a refusal an error.
func (r *Refuse) Error() string { return r.Text }

// Limits changes how much of a packet is copied.
//
//	0 magic 32   4 version 16   6 type 16   8 copy bytes 32
type Limits struct{ Copy uint32 }

func header(t Type, n int) []byte {
	b := make([]byte, n)
	binary.LittleEndian.PutUint32(b, Magic)
	binary.LittleEndian.PutUint16(b[4:], Version)
	binary.LittleEndian.PutUint16(b[6:], uint16(t))
	return b
}

// TypeOf checks the head of a message and returns its type and version.
func TypeOf(b []byte) (t Type, version uint16, err error) {
	if len(b) < 8 || binary.LittleEndian.Uint32(b) != Magic {
		return 0, 0, fmt.Errorf("%w: %d bytes without the magic number", ErrMessage, len(b))
	}
	return Type(binary.LittleEndian.Uint16(b[6:])), binary.LittleEndian.Uint16(b[4:]), nil
}

// expect checks type and length of a message of this version.
func expect(b []byte, want Type, least, most int) error {
	t, version, err := TypeOf(b)
	switch {
	case err != nil:
		return err
	case t != want:
		return fmt.Errorf("%w: type %d, want %d", ErrMessage, t, want)
	case version != Version && want != TypeHello && want != TypeRefuse:
		return fmt.Errorf("%w: version %d, want %d", ErrMessage, version, Version)
	case len(b) < least || len(b) > most:
		return fmt.Errorf("%w: type %d has %d bytes, want %d to %d", ErrMessage, t, len(b), least, most)
	}
	return nil
}

// Marshal returns the message.
func (h *Hello) Marshal() []byte {
	b := header(TypeHello, 16)
	binary.LittleEndian.PutUint16(b[4:], h.Version)
	binary.LittleEndian.PutUint16(b[8:], h.Queue)
	binary.LittleEndian.PutUint32(b[12:], h.Copy)
	return b
}

// Unmarshal reads a message, of any version.
func (h *Hello) Unmarshal(b []byte) error {
	if err := expect(b, TypeHello, 16, 16); err != nil {
		return err
	}
	le := binary.LittleEndian
	*h = Hello{Version: le.Uint16(b[4:]), Queue: le.Uint16(b[8:]), Copy: le.Uint32(b[12:])}
	if le.Uint16(b[10:]) != 0 {
		return fmt.Errorf("%w: hello with something where zero must be", ErrMessage)
	}
	return nil
}

// Marshal returns the message.
func (w *Welcome) Marshal() []byte {
	b, le := header(TypeWelcome, 36), binary.LittleEndian
	le.PutUint16(b[8:], w.Queue)
	le.PutUint16(b[10:], uint16(w.Layout.Workers))
	for i, v := range [...]uint32{
		uint32(w.Layout.PacketRing), uint32(w.Layout.VerdictRing), w.Copy, w.MaxPackets,
		uint32(w.Timeout.Milliseconds()), uint32(w.Stall.Milliseconds()),
	} {
		le.PutUint32(b[12+4*i:], v)
	}
	return b
}

// Unmarshal reads a message and checks that the layout could be.
func (w *Welcome) Unmarshal(b []byte) error {
	if err := expect(b, TypeWelcome, 36, 36); err != nil {
		return err
	}
	le := binary.LittleEndian
	word := func(i int) uint32 { return le.Uint32(b[12+4*i:]) }
	*w = Welcome{
		Queue: le.Uint16(b[8:]), Copy: word(2), MaxPackets: word(3),
		Layout:  Layout{Workers: int(le.Uint16(b[10:])), PacketRing: int(word(0)), VerdictRing: int(word(1))},
		Timeout: time.Duration(word(4)) * time.Millisecond, Stall: time.Duration(word(5)) * time.Millisecond,
	}
	return w.Layout.Check()
}

// Marshal returns the message, with as much of the text as fits.
func (r *Refuse) Marshal() []byte {
	text := r.Text[:min(len(r.Text), MaxMessage-10)]
	b := append(header(TypeRefuse, 10), text...)
	binary.LittleEndian.PutUint16(b[8:], uint16(r.Code))
	return b
}

// Unmarshal reads a message, of any version.
func (r *Refuse) Unmarshal(b []byte) error {
	if err := expect(b, TypeRefuse, 10, MaxMessage); err != nil {
		return err
	}
	*r = Refuse{Code: Code(binary.LittleEndian.Uint16(b[8:])), Text: string(b[10:])}
	return nil
}

// Marshal returns the message.
func (l *Limits) Marshal() []byte {
	b := header(TypeLimits, 12)
	binary.LittleEndian.PutUint32(b[8:], l.Copy)
	return b
}

// Unmarshal reads a message.
func (l *Limits) Unmarshal(b []byte) error {
	if err := expect(b, TypeLimits, 12, 12); err != nil {
		return err
	}
	l.Copy = binary.LittleEndian.Uint32(b[8:])
	return nil
}

// Close is the message by which a listener leaves.
func Close() []byte { return header(TypeClose, 8) }

// Ready is the message by which a listener says that it has mapped the memory.
func Ready() []byte { return header(TypeReady, 8) }

// CheckReady tells whether a message is Ready.
func CheckReady(b []byte) error { return expect(b, TypeReady, 8, 8) }

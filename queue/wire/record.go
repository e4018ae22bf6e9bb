package wire

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// PacketHeader is the length of a packet record without the packet.
const PacketHeader = 64

// KindPacket is the kind of a packet record.
const KindPacket = 1

// Flags of a packet record.
const (
	FlagIPv6   = 1 << iota
	FlagDivert // goes on at the rule after the one that diverted it
	FlagTee    // a copy: nobody waits for a verdict
	FlagReply  // travels against the flow's first packet
)

// Packet is a packet record, all but the packet itself.
//
//	 0 size 32      4 kind 8   5 flags 8   6 queue 16
//	 8 id 64
//	16 flow 64
//	24 received 64 ns, CLOCK_MONOTONIC
//	32 mark 32     36 connection mark 32
//	40 in port 16  42 out port 16   44 zone 16   46 hook 8   47 state 8
//	48 length 32   52 copied 32
//	56 worker 16   58 zero
//	64 the packet's first bytes, from the network header on
type Packet struct {
	Flags           uint8
	Queue           uint16
	ID              uint64
	Flow            uint64
	ReceivedNs      int64
	Mark, CtMark    uint32
	InPort, OutPort uint16 // interface indices; 0 is none
	Zone            uint16
	Hook, State     uint8
	Length          uint32 // bytes of the network packet
	Worker          uint16
}

// PacketRecord returns the length of the record of a packet with so many bytes copied.
func PacketRecord(copied int) int { return (PacketHeader + copied + Unit - 1) &^ (Unit - 1) }

// Put writes the record and the packet's first bytes into rec, whose length is
// PacketRecord(len(data)).
func (p *Packet) Put(rec, data []byte) {
	le := binary.LittleEndian
	_ = rec[PacketHeader-1]
	le.PutUint64(rec[0:], uint64(len(rec))|KindPacket<<32|uint64(p.Flags)<<40|uint64(p.Queue)<<48)
	le.PutUint64(rec[8:], p.ID)
	le.PutUint64(rec[16:], p.Flow)
	le.PutUint64(rec[24:], uint64(p.ReceivedNs))
	le.PutUint64(rec[32:], uint64(p.Mark)|uint64(p.CtMark)<<32)
	le.PutUint64(rec[40:], uint64(p.InPort)|uint64(p.OutPort)<<16|uint64(p.Zone)<<32|uint64(p.Hook)<<48|uint64(p.State)<<56)
	le.PutUint64(rec[48:], uint64(p.Length)|uint64(len(data))<<32)
	le.PutUint64(rec[56:], uint64(p.Worker))
	copy(rec[PacketHeader:], data)
}

// ParsePacket reads a record that Consumer.Next returned. The data lies in the record.
func ParsePacket(rec []byte) (p Packet, data []byte, err error) {
	if len(rec) < PacketHeader || rec[4] != KindPacket {
		return p, nil, badPacket
	}
	le := binary.LittleEndian
	a, c := le.Uint64(rec[40:]), uint64(le.Uint32(rec[52:]))
	if c > uint64(len(rec)-PacketHeader) {
		return p, nil, badPacket
	}
	return Packet{
		Flags: rec[5], Queue: le.Uint16(rec[6:]), ID: le.Uint64(rec[8:]), Flow: le.Uint64(rec[16:]),
		ReceivedNs: int64(le.Uint64(rec[24:])), Mark: le.Uint32(rec[32:]), CtMark: le.Uint32(rec[36:]),
		InPort: uint16(a), OutPort: uint16(a >> 16), Zone: uint16(a >> 32), Hook: uint8(a >> 48), State: uint8(a >> 56),
		Length: le.Uint32(rec[48:]), Worker: le.Uint16(rec[56:]),
	}, rec[PacketHeader : PacketHeader+c : PacketHeader+c], nil
}

// Action is what a verdict decides.
type Action uint8

// Actions. Source: VQ-2.
const (
	Drop   Action = 1 + iota
	Accept        // on behind the hook; a diverted packet: behind its rule
	Repeat        // ask the hook's rules again from the first on
	Move          // to another queue
	Take          // the listener keeps the packet; the switch forgets it
	lastAction
)

var actionNames = [...]string{"", "drop", "accept", "repeat", "move", "take"}

// String returns the action's word.
func (a Action) String() string {
	if a >= lastAction {
		return "unknown"
	}
	return actionNames[a]
}

// Flags of a verdict record.
const (
	UpTo            = 1 << iota // every packet of the lane up to the id, and not only that one
	SetMark                     // Mark is the packet's new mark
	SetCtMark                   // CtMark is the connection's new mark
	Rewrite                     // the packet that follows takes the old one's place
	allVerdictFlags = 1<<iota - 1
)

// VerdictHeader is the length of a verdict record without a packet.
const VerdictHeader = 32

// Verdict is a verdict record, all but the packet.
//
//	 0 size 32   4 action 8   5 flags 8   6 queue 16 (Move)
//	 8 id 64
//	16 mark 32  20 connection mark 32
//	24 length of the packet that follows 32   28 zero
//	32 the packet that takes the old one's place
type Verdict struct {
	Action       Action
	Flags        uint8
	Queue        uint16
	ID           uint64
	Mark, CtMark uint32
}

// VerdictRecord returns the length of the record of a verdict with a packet of n bytes.
func VerdictRecord(n int) int { return (VerdictHeader + n + Unit - 1) &^ (Unit - 1) }

// Put writes the verdict and the new packet into rec, of VerdictRecord(len(data)) bytes.
func (v *Verdict) Put(rec, data []byte) {
	le := binary.LittleEndian
	_ = rec[VerdictHeader-1]
	le.PutUint64(rec[0:], uint64(len(rec))|uint64(v.Action)<<32|uint64(v.Flags)<<40|uint64(v.Queue)<<48)
	le.PutUint64(rec[8:], v.ID)
	le.PutUint64(rec[16:], uint64(v.Mark)|uint64(v.CtMark)<<32)
	le.PutUint64(rec[24:], uint64(len(data)))
	copy(rec[VerdictHeader:], data)
}

// ParseVerdict reads a record that Consumer.Next returned; each word is read once,
// whatever the other side writes meanwhile. The data still lies in its memory.
func ParseVerdict(rec []byte) (v Verdict, data []byte, err error) {
	if len(rec) < VerdictHeader {
		return v, nil, badLength
	}
	w0, w2, w3 := word(rec, 0), word(rec, 16), word(rec, 24)
	v = Verdict{
		Action: Action(w0 >> 32), Flags: uint8(w0 >> 40), Queue: uint16(w0 >> 48),
		ID: word(rec, 8), Mark: uint32(w2), CtMark: uint32(w2 >> 32),
	}
	n := uint64(uint32(w3))
	switch {
	case v.Action == 0 || v.Action >= lastAction, v.Flags&^allVerdictFlags != 0:
		return v, nil, badAction
	case n > uint64(len(rec)-VerdictHeader), v.Flags&Rewrite == 0 && n != 0, v.Flags&Rewrite != 0 && (n == 0 || v.Flags&UpTo != 0):
		return v, nil, badRewrite
	case w3>>32 != 0:
		return v, nil, badZero
	}
	return v, rec[VerdictHeader : VerdictHeader+n : VerdictHeader+n], nil
}

// word reads 8 bytes at once; the offset is a multiple of 8, and records lie at
// multiples of Unit.
func word(rec []byte, at int) uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&rec[at])).Load()
}

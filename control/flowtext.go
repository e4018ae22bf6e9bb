package control

import (
	"strconv"

	"ffwd/packet"
)

// A listing may have millions of flows: what writes them appends to a buffer, and does not
// look up what types are made of as encoding/json does.

// AppendLine appends the flow as conntrack -L -o extended prints it, without the end of line.
func (f *FlowStatus) AppendLine(b []byte) []byte {
	family := " 2 " // AF_INET
	if f.Family == "ipv6" {
		family = " 10 "
	}
	name := f.Protocol
	if name != "" && name[0] >= '0' && name[0] <= '9' {
		name = "unknown"
	}
	b = append(appendPadded(b, f.Family), family...)
	b = append(appendPadded(b, name), ' ')
	b = append(strconv.AppendUint(b, uint64(f.ProtocolNumber), 10), ' ')
	b = append(strconv.AppendInt(b, max(0, int64(f.ExpiresS)), 10), ' ')
	if f.ProtocolNumber == packet.ProtoTCP || f.ProtocolNumber == packet.ProtoSCTP {
		b = append(append(b, f.State...), ' ')
	}
	b = f.appendDirection(b, 0)
	if !f.Replied {
		b = append(b, "[UNREPLIED] "...)
	}
	b = f.appendDirection(b, 1)
	if f.Assured {
		b = append(b, "[ASSURED] "...)
	}
	b = strconv.AppendUint(append(b, "mark="...), uint64(f.Mark), 10)
	if f.Zone != 0 {
		b = strconv.AppendUint(append(b, " zone="...), uint64(f.Zone), 10)
	}
	return append(b, " use=1"...)
}

// appendPadded appends a word and fills up eight columns.
func appendPadded(b []byte, word string) []byte {
	const columns = "        "
	return append(append(b, word...), columns[min(len(word), len(columns)):]...)
}

// appendDirection appends a direction's tuple and counters: 0 is the original one, 1 the reply.
func (f *FlowStatus) appendDirection(b []byte, dir int) []byte {
	t := &f.Original
	if dir == 1 {
		t = &f.Reply
	}
	field := func(name string, value uint64) {
		b = append(strconv.AppendUint(append(b, name...), value, 10), ' ')
	}
	b = append(t.Src.AppendTo(append(b, "src="...)), ' ')
	b = append(t.Dst.AppendTo(append(b, "dst="...)), ' ')
	switch {
	case f.ICMP != nil:
		kind := f.ICMP.Type
		if dir == 1 {
			kind = answerTo(kind)
		}
		field("type=", uint64(kind))
		field("code=", uint64(f.ICMP.Code))
		field("id=", uint64(t.SrcPort))
	case f.ProtocolNumber == packet.ProtoGRE:
		b = append(b, "srckey=0x0 dstkey=0x0 "...)
	case f.ProtocolNumber == packet.ProtoTCP, f.ProtocolNumber == packet.ProtoUDP, f.ProtocolNumber == packet.ProtoSCTP:
		field("sport=", uint64(t.SrcPort))
		field("dport=", uint64(t.DstPort))
	}
	field("packets=", f.Packets[dir])
	field("bytes=", f.Bytes[dir])
	return b
}

// answerTo returns the ICMP type that answers a query's. Source: RFC 792, RFC 4443.
func answerTo(query uint8) uint8 {
	if query == 8 {
		return 0
	}
	return query + 1
}

// AppendJSON appends what encoding/json makes of the flow. No string in it needs escapes:
// names of policies are made of letters, digits and _-.: alone.
func (f *FlowStatus) AppendJSON(b []byte) []byte {
	text := func(key, value string) { b = append(append(append(b, key...), value...), '"') }
	number := func(key string, value uint64) { b = strconv.AppendUint(append(b, key...), value, 10) }
	pair := func(key string, values *[2]uint64) {
		number(key, values[0])
		number(",", values[1])
		b = append(b, ']')
	}
	tuple := func(key string, t *Tuple) {
		b = t.Src.AppendTo(append(b, key...))
		b = t.Dst.AppendTo(append(b, `","dst":"`...))
		number(`","src_port":`, uint64(t.SrcPort))
		number(`,"dst_port":`, uint64(t.DstPort))
		b = append(b, '}')
	}
	seconds := func(key string, value float64) { b = strconv.AppendFloat(append(b, key...), value, 'f', -1, 64) }
	number(`{"worker":`, uint64(f.Worker))
	text(`,"family":"`, f.Family)
	text(`,"protocol":"`, f.Protocol)
	number(`,"protocol_number":`, uint64(f.ProtocolNumber))
	number(`,"zone":`, uint64(f.Zone))
	text(`,"state":"`, f.State)
	tuple(`,"original":{"src":"`, &f.Original)
	tuple(`,"reply":{"src":"`, &f.Reply)
	if f.ICMP != nil {
		number(`,"icmp":{"type":`, uint64(f.ICMP.Type))
		number(`,"code":`, uint64(f.ICMP.Code))
		number(`,"id":`, uint64(f.ICMP.ID))
		b = append(b, '}')
	}
	pair(`,"packets":[`, &f.Packets)
	pair(`,"bytes":[`, &f.Bytes)
	number(`,"mark":`, uint64(f.Mark))
	if f.Timeout != "" {
		text(`,"timeout":"`, f.Timeout)
	}
	b = strconv.AppendBool(append(b, `,"replied":`...), f.Replied)
	b = strconv.AppendBool(append(b, `,"assured":`...), f.Assured)
	seconds(`,"age_s":`, f.AgeS)
	seconds(`,"expires_s":`, f.ExpiresS)
	return append(b, '}')
}

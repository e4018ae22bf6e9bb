package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// guard is a blocklist: names in lower case, with the dot at the end.
type guard map[string]bool

// readGuard reads a blocklist.
func readGuard(r io.Reader) (guard, error) {
	g := guard{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, _, _ := strings.Cut(lines.Text(), "#")
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			g[strings.TrimSuffix(name, ".")+"."] = true
		}
	}
	return g, lines.Err()
}

// has tells whether the name, or one that it is below, is on the list.
func (g guard) has(name string) bool {
	name = strings.ToLower(name)
	for name != "" {
		if g[name] {
			return true
		}
		_, name, _ = strings.Cut(name, ".")
	}
	return false
}

// blocks tells whether an IP packet is a DNS answer for a name on the list. What it
// cannot read is not.
func (g guard) blocks(packet []byte) (name string, blocked bool) {
	payload, ok := udpFrom53(packet)
	if !ok {
		return "", false
	}
	var p dnsmessage.Parser
	header, err := p.Start(payload)
	if err != nil || !header.Response {
		return "", false
	}
	for {
		q, err := p.Question()
		if err != nil { // the end, or none
			return "", false
		}
		if name := q.Name.String(); g.has(name) {
			return name, true
		}
	}
}

// udpFrom53 returns what a UDP datagram from port 53 carries.
func udpFrom53(packet []byte) ([]byte, bool) {
	const ipv4, ipv6, udp = 20, 40, 17
	var l4 []byte
	switch {
	case len(packet) >= ipv4 && packet[0]>>4 == 4:
		header := int(packet[0]&15) * 4
		if packet[9] != udp || header < ipv4 || len(packet) < header || packet[6]&0x3f|packet[7] != 0 {
			return nil, false
		}
		l4 = packet[header:]
	case len(packet) >= ipv6 && packet[0]>>4 == 6 && packet[6] == udp:
		l4 = packet[ipv6:]
	}
	if len(l4) < 8 || binary.BigEndian.Uint16(l4) != 53 {
		return nil, false
	}
	return l4[8:], true
}

package e2e

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// decoded is a packet as tshark sees it, by field.
type decoded map[string]string

// Fields that a router changes, and that it does not.
var (
	hopFields  = []string{"eth.src", "eth.dst", "vlan.id", "ip.ttl", "ipv6.hlim"}
	hostFields = strings.Fields(`ip.version ip.src ip.dst ip.len ip.id ip.dsfield ip.flags ip.frag_offset ip.proto
		ipv6.version ipv6.src ipv6.dst ipv6.plen ipv6.nxt ipv6.tclass ipv6.flow
		udp.srcport udp.dstport udp.length udp.checksum udp.payload
		tcp.srcport tcp.dstport tcp.seq_raw tcp.ack_raw tcp.flags tcp.window_size_value tcp.checksum tcp.len tcp.payload
		icmp.type icmp.code icmp.ident icmp.seq icmp.checksum
		icmpv6.type icmpv6.code icmpv6.echo.identifier icmpv6.echo.sequence_number icmpv6.checksum data.data`)
	statusFields = []string{"ip.checksum.status", "udp.checksum.status", "tcp.checksum.status", "icmp.checksum.status", "icmpv6.checksum.status"}
	otherFields  = []string{"frame.len", "eth.type", "vlan.etype", "ip.hdr_len"}
)

// decode has tshark read a capture. Of a header that is there twice, as in an
// ICMP error, it is the outer one.
func decode(t *testing.T, path string) (list []decoded) {
	t.Helper()
	fields := append(append(append(append([]string(nil), hopFields...), hostFields...), statusFields...), otherFields...)
	args := []string{"-n", "-r", path, "-T", "fields", "-E", "separator=|", "-E", "occurrence=f",
		"-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE",
		"-o", "ip.defragment:FALSE", "-o", "tcp.desegment_tcp_streams:FALSE"}
	for _, field := range fields {
		args = append(args, "-e", field)
	}
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "tshark", args...).Output()
	if exit, ok := err.(*exec.ExitError); ok {
		t.Fatalf("tshark: %v: %s", err, exit.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		values := strings.Split(strings.TrimSuffix(line, "\n"), "|")
		if len(values) != len(fields) {
			t.Fatalf("tshark printed %q", line)
		}
		p := decoded{}
		for i, value := range values {
			p[fields[i]] = value
		}
		list = append(list, p)
	}
	return list
}

func (p decoded) number(field string) int {
	n, _ := strconv.Atoi(p[field])
	return n
}

// refusal returns the reason why a router does not forward the packet, as RFC
// 1812 has it and ffwd names it, and "" when it does.
func (p decoded) refusal() string {
	link := 14
	if p["vlan.id"] != "" {
		link += 4
	}
	switch {
	case p["eth.type"] == "0x0806":
		return "arp"
	case p["ipv6.src"] != "":
		return ""
	case p.number("ip.len")+link > p.number("frame.len"):
		return "bad_total_length"
	case p["ip.checksum.status"] != "1":
		return "bad_checksum"
	case strings.HasPrefix(p["ip.src"], "127."):
		return "martian"
	case p.number("ip.hdr_len") > 20:
		return "options"
	case p.number("ip.ttl") <= 1:
		return "ttl_expired"
	}
	return ""
}

func (p decoded) destination() string { return p["ip.dst"] + p["ipv6.dst"] }

// flow names the packet's flow and its direction in it.
func (p decoded) flow() string {
	return strings.Join([]string{p["ip.src"], p["ipv6.src"], p.destination(), p["ip.proto"], p["ipv6.nxt"],
		p["udp.srcport"], p["udp.dstport"], p["tcp.srcport"], p["tcp.dstport"], p["icmp.ident"], p["icmpv6.echo.identifier"]}, " ")
}

// oneHopOn is asIs of what the packet must be when it leaves by a port.
func (p decoded) oneHopOn(port string) string {
	next := decoded{}
	for field, value := range p {
		next[field] = value
	}
	for _, field := range []string{"ip.ttl", "ipv6.hlim"} {
		if p[field] != "" {
			next[field] = strconv.Itoa(p.number(field) - 1)
		}
	}
	next["eth.src"], next["eth.dst"], next["vlan.id"] = fileLANMAC, fileHops[port].mac, ""
	if _, vlan, ok := strings.Cut(port, "."); ok {
		next["vlan.id"] = vlan
	} else if port == "wan" {
		next["eth.src"] = fileWANMAC
	}
	return next.asIs()
}

// asIs is everything about the packet that the next host sees.
func (p decoded) asIs() string {
	var text strings.Builder
	for _, field := range append(append([]string(nil), hopFields...), hostFields...) {
		if p[field] != "" {
			text.WriteString(field + "=" + p[field] + " ")
		}
	}
	return text.String()
}

// badChecksums names the checksums that tshark finds wrong.
func (p decoded) badChecksums() (list string) {
	for _, field := range statusFields {
		if p[field] == "0" {
			list += field + " "
		}
	}
	return list
}

// checkTimeExceeded checks an ICMP error. FF-10
func (p decoded) checkTimeExceeded(t *testing.T) {
	t.Helper()
	if p["icmp.code"] != "0" || p["ip.src"] != fileAddress || p["eth.dst"] != fileHops["lan"].mac ||
		p["ip.checksum.status"] != "1" || p["icmp.checksum.status"] != "1" {
		t.Errorf("time exceeded: %v", p)
	}
}

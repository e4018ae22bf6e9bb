package capture

import (
	"bytes"
	"testing"

	"github.com/gopacket/gopacket/layers"
)

func TestDemoIsAMixOfGoodPackets(t *testing.T) {
	var file, again bytes.Buffer
	sum, err := Demo(&file, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Demo(&again, 1); err != nil || !bytes.Equal(file.Bytes(), again.Bytes()) {
		t.Errorf("two demos of one seed differ (%v)", err)
	}
	packets := decode(t, file.Bytes())
	if len(packets) != sum.Packets || sum.Packets < 300 || sum.Packets > 1000 {
		t.Errorf("%d packets, summary says %d, want a few hundred", len(packets), sum.Packets)
	}
	has := map[string]int{}
	broken := 0
	for _, p := range packets {
		if p.ErrorLayer() != nil {
			broken++
		} else if badChecksums(t, p) > 0 {
			broken++
		}
		for _, l := range p.Layers() {
			has[l.LayerType().String()]++
		}
	}
	for _, want := range []string{"IPv4", "IPv6", "TCP", "UDP", "ICMPv4", "ICMPv6Echo", "ARP", "Dot1Q"} {
		if has[want] < 10 {
			t.Errorf("%d packets with %s: %v", has[want], want, has)
		}
	}
	if malformed := len(sum.Malformed); broken > malformed {
		t.Errorf("%d broken packets, at most %d were meant to be", broken, malformed)
	}
}

// A connection's packets come in order: SYN first, and sequence numbers that fit.
func TestDemoConnectionsAreInOrder(t *testing.T) {
	var file bytes.Buffer
	if _, err := Demo(&file, 2); err != nil {
		t.Fatal(err)
	}
	next := map[string]uint32{} // by direction
	connections := 0
	for i, p := range decode(t, file.Bytes()) {
		tcp, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
		if !ok {
			continue
		}
		_, oneWay := flowOf(t, p)
		want, seen := next[oneWay]
		switch {
		case !seen && !tcp.SYN:
			t.Errorf("packet %d: %s begins without SYN", i, oneWay)
		case seen && tcp.Seq != want:
			t.Errorf("packet %d: %s has sequence number %d, want %d", i, oneWay, tcp.Seq, want)
		}
		next[oneWay] = tcp.Seq + uint32(len(tcp.Payload))
		if tcp.SYN || tcp.FIN {
			next[oneWay]++
		}
		if tcp.SYN && !tcp.ACK {
			connections++
		}
	}
	if connections != 3*demoConversations {
		t.Errorf("%d connections, want %d", connections, 3*demoConversations)
	}
}

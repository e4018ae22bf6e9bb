package capture

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/gopacket/gopacket/layers"
)

func write(t *testing.T, s Spec) ([]byte, Summary) {
	t.Helper()
	var b bytes.Buffer
	sum, err := s.Write(&b)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), sum
}

func TestFlowsDecodeWithRightChecksums(t *testing.T) {
	for name, s := range map[string]Spec{
		"udp":      {Flows: 100},
		"tcp":      {Flows: 100, Protocol: TCP, Replies: true},
		"mix":      {Flows: 100, Packets: 1000, Protocol: Mix, Replies: true},
		"ipv6":     {Flows: 100, IPv6: true, Protocol: Mix, Replies: true},
		"vlan":     {Flows: 100, VLAN: 7, Replies: true, FrameBytes: 128},
		"jumbo":    {Flows: 10, FrameBytes: 9000},
		"odd size": {Flows: 10, Packets: 100, FrameBytes: 61},
		"one flow": {Flows: 1, Packets: 10, Replies: true},
		"ipv6 /64": {Flows: 100, IPv6: true, SrcNet: netip.MustParsePrefix("2001:db8:1::/64"), DstNet: netip.MustParsePrefix("2001:db8:2::/120")},
		"hosts":    {Flows: 50, SrcNet: netip.MustParsePrefix("192.0.2.1/32"), Sources: 1, DstNet: netip.MustParsePrefix("198.51.100.0/30"), Destinations: 4},
	} {
		t.Run(name, func(t *testing.T) {
			s.Seed = 1
			file, sum := write(t, s)
			full, err := s.withDefaults()
			if err != nil {
				t.Fatal(err)
			}
			perFlow, destinations := map[string]int{}, map[string]bool{}
			first := map[string]string{}
			answers := 0
			packets := decode(t, file)
			for i, p := range packets {
				wellFormed(t, i, p)
				if n := len(p.Data()); n != full.FrameBytes {
					t.Fatalf("packet %d: %d bytes, want %d", i, n, full.FrameBytes)
				}
				if tag, ok := p.Layer(layers.LayerTypeDot1Q).(*layers.Dot1Q); ok != (s.VLAN != 0) || ok && int(tag.VLANIdentifier) != s.VLAN {
					t.Fatalf("packet %d: tag %v, want %d", i, tag, s.VLAN)
				}
				both, oneWay := flowOf(t, p)
				if first[both] == "" {
					first[both] = oneWay
					src, _ := netip.ParseAddr(p.NetworkLayer().NetworkFlow().Src().String())
					dst, _ := netip.ParseAddr(p.NetworkLayer().NetworkFlow().Dst().String())
					destinations[dst.String()] = true
					if !full.SrcNet.Contains(src) || !full.DstNet.Contains(dst) {
						t.Fatalf("packet %d: first of its flow is %v to %v", i, src, dst)
					}
				}
				if oneWay != first[both] {
					answers++
				}
				perFlow[both]++
			}
			if len(packets) != full.Packets || sum.Packets != full.Packets || sum.Bytes != full.Packets*full.FrameBytes {
				t.Errorf("%d packets in the file, summary %+v, want %d", len(packets), sum, full.Packets)
			}
			if len(perFlow) != s.Flows || sum.Flows != s.Flows {
				t.Errorf("%d flows in the file, %d in the summary, want %d", len(perFlow), sum.Flows, s.Flows)
			}
			for flow, n := range perFlow {
				if share := full.Packets / s.Flows; n < share || n > share+1 {
					t.Errorf("flow %s has %d packets, want %d", flow, n, share)
				}
			}
			if want := 0; s.Replies && answers < full.Packets/2-s.Flows || !s.Replies && answers != want {
				t.Errorf("%d of %d packets are answers", answers, full.Packets)
			}
			if len(destinations) > full.Destinations || len(destinations) < full.Destinations/2 {
				t.Errorf("%d destinations, want about %d", len(destinations), full.Destinations)
			}
		})
	}
}

// Answers of flows whose source is hidden go to the one address, and to nothing else than
// they would without it.
func TestHiddenSources(t *testing.T) {
	s := Spec{Flows: 100, Replies: true, Seed: 1}
	plain, _ := write(t, s)
	s.Hidden = netip.MustParseAddr("198.51.100.1")
	hidden, _ := write(t, s)
	was, is, answers := decode(t, plain), decode(t, hidden), 0
	for i, p := range is {
		wellFormed(t, i, p)
		_, before := flowOf(t, was[i])
		_, after := flowOf(t, p)
		if dst := p.NetworkLayer().NetworkFlow().Dst().String(); dst == s.Hidden.String() {
			answers++
			if p.TransportLayer().TransportFlow() != was[i].TransportLayer().TransportFlow() || p.NetworkLayer().NetworkFlow().Src() != was[i].NetworkLayer().NetworkFlow().Src() {
				t.Errorf("packet %d: %s, want %s but for its destination", i, after, before)
			}
		} else if before != after {
			t.Errorf("packet %d: %s, want %s", i, after, before)
		}
	}
	if answers != s.Flows {
		t.Errorf("%d answers of %d flows", answers, s.Flows)
	}
	s.IPv6 = true
	if _, err := s.Write(io.Discard); err == nil {
		t.Error("IPv6 flows are hidden behind an IPv4 address")
	}
}

func TestSameSeedSameBytes(t *testing.T) {
	s := Spec{Flows: 500, Packets: 2000, Protocol: Mix, Replies: true, MalformedShare: 0.1, Seed: 42}
	a, _ := write(t, s)
	b, _ := write(t, s)
	if !bytes.Equal(a, b) {
		t.Error("two captures of one seed differ")
	}
	s.Seed++
	if c, _ := write(t, s); bytes.Equal(a, c) {
		t.Error("captures of two seeds are alike")
	}
}

func TestOwnersPartitionTheCapture(t *testing.T) {
	s := Spec{Flows: 300, Packets: 1200, Replies: true, MalformedShare: 0.05, Seed: 3}
	_, whole := write(t, s)
	queue := map[string]int{}
	packets, flows := 0, 0
	for q := range 2 {
		s.Owner = func(t Tuple) bool { return int(t.Src.Port())%2 == q }
		file, sum := write(t, s)
		packets, flows = packets+sum.Packets, flows+sum.Flows
		for _, p := range decode(t, file) {
			if p.ErrorLayer() != nil || p.TransportLayer() == nil || p.NetworkLayer() == nil {
				continue // malformed
			}
			both, _ := flowOf(t, p)
			if before, seen := queue[both]; seen && before != q && !strings.Contains(both, "100.64.0.1") {
				t.Errorf("flow %s is in both files", both)
			}
			queue[both] = q
		}
	}
	if packets != whole.Packets || flows != whole.Flows {
		t.Errorf("parts have %d packets and %d flows, the whole %d and %d", packets, flows, whole.Packets, whole.Flows)
	}
}

func TestMalformedShareIsCounted(t *testing.T) {
	_, sum := write(t, Spec{Flows: 100, Packets: 10000, MalformedShare: 0.2, Seed: 9})
	n := 0
	for _, count := range sum.Malformed {
		n += count
	}
	if n < 1700 || n > 2300 {
		t.Errorf("%d of 10000 malformed, want about 2000", n)
	}
}

func TestSpecFaults(t *testing.T) {
	v6 := netip.MustParsePrefix("2001:db8::/64")
	for name, c := range map[string]struct {
		spec Spec
		want string
	}{
		"no flows":          {Spec{}, "at least one flow"},
		"few packets":       {Spec{Flows: 10, Packets: 9}, "a packet for each"},
		"short frames":      {Spec{Flows: 1, FrameBytes: 41}, "want 42 to"},
		"vlan":              {Spec{Flows: 1, VLAN: 4095}, "vlan 4095"},
		"share":             {Spec{Flows: 1, MalformedShare: 1.1}, "share"},
		"family":            {Spec{Flows: 1, SrcNet: v6}, "wrong family"},
		"too few addresses": {Spec{Flows: 300, DstNet: netip.MustParsePrefix("192.0.2.0/24")}, "300 destination addresses"},
		"too few ports":     {Spec{Flows: portRange + 1, Sources: 1}, "from 1 sources"},
	} {
		if _, err := c.spec.Write(io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

var errDiskFull = errors.New("disk full")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errDiskFull }

func TestWriteErrorIsReturned(t *testing.T) {
	if _, err := (Spec{Flows: 1}).Write(fullDisk{}); !errors.Is(err, errDiskFull) {
		t.Errorf("Spec.Write: %v", err)
	}
	if _, err := Malformed(fullDisk{}, 1, 100); !errors.Is(err, errDiskFull) {
		t.Errorf("Malformed: %v", err)
	}
	if _, err := Demo(fullDisk{}, 1); !errors.Is(err, errDiskFull) {
		t.Errorf("Demo: %v", err)
	}
}

func BenchmarkWrite(b *testing.B) {
	s := Spec{Flows: 500_000, Replies: true, Seed: 1}
	for b.Loop() {
		if _, err := s.Write(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1e6, "ns/pkt")
}

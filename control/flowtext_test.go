package control

import (
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"ffwd/ct"
)

// CT-10: lines are those of conntrack -L -o extended. Source: the output of conntrack 1.4.7.
func TestFlowLine(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	for want, f := range map[string]FlowStatus{
		"ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1024 dport=80 packets=3 bytes=200 src=10.0.0.2 dst=10.0.0.1 sport=80 dport=1024 packets=2 bytes=100 [ASSURED] mark=7 zone=5 use=1": {
			Family: "ipv4", Protocol: "tcp", ProtocolNumber: 6, State: "ESTABLISHED", Original: Tuple{Src: a, Dst: b, SrcPort: 1024, DstPort: 80},
			Reply: Tuple{Src: b, Dst: a, SrcPort: 80, DstPort: 1024}, Packets: [2]uint64{3, 2}, Bytes: [2]uint64{200, 100},
			Mark: 7, Zone: 5, Replied: true, Assured: true, ExpiresS: 431999.5},
		"ipv4     2 icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=9 packets=1 bytes=84 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=9 packets=0 bytes=0 mark=0 use=1": {
			Family: "ipv4", Protocol: "icmp", ProtocolNumber: 1, State: "QUERY", Original: Tuple{Src: a, Dst: b, SrcPort: 9, DstPort: 9},
			Reply: Tuple{Src: b, Dst: a, SrcPort: 9, DstPort: 9}, ICMP: &ICMPQuery{Type: 8, ID: 9}, Packets: [2]uint64{1}, Bytes: [2]uint64{84}, ExpiresS: 29.9},
		"ipv4     2 icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=9 packets=1 bytes=84 src=10.0.0.2 dst=192.0.2.1 type=0 code=0 id=77 packets=1 bytes=84 mark=0 use=1": { // translated
			Family: "ipv4", Protocol: "icmp", ProtocolNumber: 1, State: "QUERY", Original: Tuple{Src: a, Dst: b, SrcPort: 9, DstPort: 9}, Replied: true,
			Reply: Tuple{Src: b, Dst: netip.MustParseAddr("192.0.2.1"), SrcPort: 77, DstPort: 77}, ICMP: &ICMPQuery{Type: 8, ID: 9}, Packets: [2]uint64{1, 1}, Bytes: [2]uint64{84, 84}, ExpiresS: 29.9},
		"ipv4     2 unknown  89 599 src=10.0.0.1 dst=10.0.0.2 packets=1 bytes=20 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 packets=0 bytes=0 mark=0 use=1": {
			Family: "ipv4", Protocol: "89", ProtocolNumber: 89, State: "NONE", Original: Tuple{Src: a, Dst: b}, Reply: Tuple{Src: b, Dst: a},
			Packets: [2]uint64{1}, Bytes: [2]uint64{20}, ExpiresS: 599.9},
	} {
		if got := string(f.AppendLine(nil)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// CT-10: what is appended is what encoding/json makes of it, for any flow.
func TestFlowJSON(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	s := &Switch{}
	address := func(n int) netip.Addr {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32()) * byte(rng.IntN(2))
		}
		a, _ := netip.AddrFromSlice(b)
		return a
	}
	for range 5000 {
		size := 4 + 12*rng.IntN(2)
		a, b := address(size), address(size)
		at, to := uint16(rng.Uint32()), uint16(rng.Uint32())
		info := ct.Info{
			Proto: []uint8{1, 6, 17, 47, 58, 132, 89, 255}[rng.IntN(8)], Zone: uint16(rng.Uint32()), State: ct.State(rng.IntN(int(ct.NumStates))),
			Original: ct.Tuple{Src: a, Dst: b, SrcPort: at, DstPort: to}, Reply: ct.Tuple{Src: b, Dst: a, SrcPort: to, DstPort: at},
			Packets: [2]uint64{rng.Uint64(), rng.Uint64N(9)}, Bytes: [2]uint64{rng.Uint64N(1 << 40), 0}, Mark: rng.Uint32(),
			Replied: rng.IntN(2) == 0, Assured: rng.IntN(2) == 0,
			Age: time.Duration(rng.IntN(1<<30)) << 20, Expires: time.Duration(rng.IntN(1<<20)-1000) << 20,
		}
		f := s.flowStatus(rng.IntN(64), &info)
		if rng.IntN(2) == 0 {
			f.Timeout = "a.policy-of:4_2"
		}
		want, err := json.Marshal(&f)
		if got := f.AppendJSON([]byte("x")); err != nil || string(got) != "x"+string(want) {
			t.Fatalf("seed %d: got  %s\nwant %s %v", seed, got, want, err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	s := &Switch{}
	x, y := netip.MustParseAddr("100.64.10.1"), netip.MustParseAddr("100.80.2.200")
	info := ct.Info{Proto: 6, State: ct.TCPEstablished, Original: ct.Tuple{Src: x, Dst: y, SrcPort: 40000, DstPort: 443},
		Reply: ct.Tuple{Src: y, Dst: x, SrcPort: 443, DstPort: 40000}, Packets: [2]uint64{1000, 2000}, Bytes: [2]uint64{100_000, 2_000_000},
		Replied: true, Assured: true, Age: 1234567 << 20, Expires: 400000 << 20}
	for name, add := range map[string]func(*FlowStatus, []byte) []byte{"line": (*FlowStatus).AppendLine, "json": (*FlowStatus).AppendJSON} {
		b.Run(name, func(b *testing.B) {
			var out []byte
			var f FlowStatus
			b.ReportAllocs()
			for b.Loop() {
				f = s.flowStatus(0, &info)
				out = add(&f, out[:0])
			}
		})
	}
}

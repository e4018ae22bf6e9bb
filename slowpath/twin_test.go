package slowpath

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
)

// A twin is what its port is, though the namespace has IPv6 off by default. SP-1
func TestTwinIsLikeItsPort(t *testing.T) {
	ns := newNetns(t)
	s, _ := start(t, ns)
	for _, twin := range s.Twins() {
		if err := twin.SetCarrier(true); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string][]string{
		"lan":     {"mtu 1500", "link/ether 02:00:00:00:01:01", "inet 10.1.1.1/24 brd 10.1.1.255", "inet6 fd01:1::1/64", "inet6 fe80::ff:fe00:101/64", "LOWER_UP"},
		"wan.100": {"mtu 1400", "link/ether 02:00:00:00:02:01", "inet 10.2.2.1/24", "inet6 fd01:2::1/64", "LOWER_UP"},
	} {
		var got string
		eventually(t, name+" answers", func() bool {
			got = in(t, ns, "ip", "addr", "show", "dev", name)
			return strings.Contains(got, "fe80:") && !strings.Contains(got, "tentative")
		})
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s has no %q:\n%s", name, w, got)
			}
		}
		for _, s := range twinSysctls {
			key := strings.Join([]string{"net", s.family, "conf", strings.ReplaceAll(name, ".", "/"), s.key}, ".")
			if got := strings.TrimSpace(in(t, ns, "sysctl", "-n", key)); got != s.value {
				t.Errorf("%s is %s, want %s", key, got, s.value)
			}
		}
		if offloads := in(t, ns, "ethtool", "-k", name); !strings.Contains(offloads, "tx-checksumming: off") ||
			!strings.Contains(offloads, "tcp-segmentation-offload: off") {
			t.Errorf("%s leaves work to hardware:\n%s", name, offloads)
		}
	}
	if err := s.Twin(lanIface).SetCarrier(false); err != nil {
		t.Fatal(err)
	}
	if got := in(t, ns, "ip", "link", "show", "dev", "lan"); !strings.Contains(got, "NO-CARRIER") {
		t.Errorf("the link is down and the twin's is not:\n%s", got)
	}
}

// A twin deleted under our feet is noticed, logged once, counted and made again,
// as it was. SP-1
func TestTwinDeleted(t *testing.T) {
	ns := newNetns(t)
	s, log := start(t, ns)
	up(t, s, ns)
	lan := s.Twin(lanIface)
	for round := uint64(1); round <= 3; round++ {
		before := lan.Index()
		in(t, ns, "ip", "link", "del", "lan")
		eventually(t, "it is back", func() bool { return lan.Stats().Remade == round })
		if now := lan.Index(); now == 0 || now == before {
			t.Errorf("index %d, was %d", now, before)
		}
		got := in(t, ns, "ip", "addr", "show", "dev", "lan")
		for _, want := range []string{"link/ether 02:00:00:00:01:01", "inet 10.1.1.1/24", "inet6 fd01:1::1/64", "LOWER_UP"} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q:\n%s", want, got)
			}
		}
		if gone, back := log.count("twin is gone"), log.count("twin is back"); gone != int(round) || back != int(round) {
			t.Errorf("logged %d times gone, %d times back", gone, back)
		}
	}
	if s.Twin(wanIface).Stats().Remade != 0 {
		t.Error("the other twin went too")
	}
	random := rand.New(rand.NewPCG(4, 4))
	wire, frame := newWire(t, s, "lan"), testFrame(random, 200)
	s.Sink(0).Punt(lanIface, false, frame, nil)
	if got := wire.received(); !bytes.Equal(got, frame) {
		t.Errorf("got %x", got)
	}
}

// A name that somebody took meanwhile is waited for, and said so once. SP-1
func TestTwinDeletedAndItsNameTaken(t *testing.T) {
	ns := newNetns(t)
	s, log := start(t, ns)
	in(t, ns, "sh", "-c", "ip link set lan down; ip link set lan name other; ip tuntap add lan mode tap; ip link del other")
	eventually(t, "it fails", func() bool { return log.count("cannot be made again yet") == 1 })
	if s.Twin(lanIface).Index() != 0 {
		t.Error("it has an index")
	}
	s.Sink(0).Punt(lanIface, false, make([]byte, 60), nil)
	eventually(t, "it is refused", func() bool { return s.Twin(lanIface).Stats().Refused == 1 })
	if err := s.Twin(lanIface).SetCarrier(true); err != nil {
		t.Error(err)
	}
	in(t, ns, "ip", "tuntap", "del", "lan", "mode", "tap")
	eventually(t, "it is back", func() bool { return s.Twin(lanIface).Stats().Remade == 1 })
	if got := in(t, ns, "ip", "link", "show", "dev", "lan"); !strings.Contains(got, "LOWER_UP") {
		t.Errorf("the carrier was forgotten:\n%s", got)
	}
	if log.count("cannot be made again yet") != 1 {
		t.Error("logged more than once")
	}
}

// Closing while a twin is gone does not wait for it.
func TestCloseWhileATwinIsGone(t *testing.T) {
	ns := newNetns(t)
	_, log := start(t, ns)
	in(t, ns, "sh", "-c", "ip link set lan down; ip link set lan name other; ip tuntap add lan mode tap; ip link del other")
	eventually(t, "it fails", func() bool { return log.count("cannot be made again yet") == 1 })
	// start's cleanup closes, and goleak sees what stays
}

// A name that is taken, or an address that cannot be, is an error that says so, and
// nothing stays behind. SP-1
func TestOpenFails(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare string
		change  func(*Config)
		want    string
	}{
		{"the name is taken", "ip tuntap add wan.100 mode tap", nil, "TAP wan.100: an interface of this name is there already"},
		{"one name twice", "", func(c *Config) { c.Twins[1].Name = "lan" }, "TAP lan: an interface of this name is there already"},
		{"an address twice", "", func(c *Config) { c.Twins[1].Addresses = append(c.Twins[1].Addresses, c.Twins[1].Addresses[0]) }, "add address 10.2.2.1/24"},
		{"no such namespace", "", func(c *Config) { c.Netns = "no-such-namespace" }, "network namespace /run/netns/no-such-namespace"},
		{"no namespace", "", func(c *Config) { c.Netns = "/etc/hostname" }, "enter network namespace /etc/hostname"},
		{"a name too long", "", func(c *Config) { c.Twins[1].Name = "sixteen-letters!" }, "TAP sixteen-letters!"},
		{"an address of no station", "", func(c *Config) { c.Twins[1].MAC[0] = 1 }, "set address 010000000201"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ns := newNetns(t)
			if c.prepare != "" {
				in(t, ns, "sh", "-c", c.prepare)
			}
			before := in(t, ns, "ip", "-br", "link")
			config := Config{Netns: ns, Twins: twoTwins(), Workers: 2, FrameBytes: 1518, Log: slog.New(slog.DiscardHandler)}
			if c.change != nil {
				c.change(&config)
			}
			s, err := Open(config)
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want %q", err, c.want)
			}
			if after := in(t, ns, "ip", "-br", "link"); after != before {
				t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

// Close leaves nothing in the namespace. SP-1
func TestCloseLeavesNothing(t *testing.T) {
	ns := newNetns(t)
	before := in(t, ns, "ip", "-br", "link")
	s, err := Open(Config{Netns: ns, Twins: twoTwins(), Workers: 2, FrameBytes: 1518, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if after := in(t, ns, "ip", "-br", "link"); after != before {
		t.Errorf("left behind:\n%s", after)
	}
}

package main

import (
	"testing"

	"ffwd/conf"
)

// A listed rule says all that its configuration says. FF-6, VQ-1, VQ-6, TO-3, CT-7
func TestRulesAreListedWhole(t *testing.T) {
	config, err := conf.Parse("f", []byte(`
[[ports]]
name = "lan"
device = "net_null0"
[[ports]]
name = "spare"
device = "net_null1"
[[queues]]
number = 3
[[queues]]
number = 4
[[timeout_policies]]
name = "web"
family = "ipv4"
protocol = "tcp"
[[rules]]
action = "queue"
queue = "3-4"
bypass = true
fail_open = true
[[rules]]
action = "tee"
tee_port = "spare"
in_ports = ["lan"]
[[rules]]
action = "accept"
protocol = "tcp"
src = ["10.0.0.0/8"]
dst_ports = [22]
state = ["new"]
timeout = "web"
set_ct_mark = 5
priority = true
[[rules]]
action = "reject"
reject_with = "tcp_reset"
protocol = "tcp"
conn_max = 20
conn_max_per = "source"
`))
	if err != nil {
		t.Fatal(err)
	}
	want := [][2]string{
		{"queue, queue 3-4, bypass, fail_open", "any"},
		{"tee, tee_port spare", "in lan"},
		{"accept, set_ct_mark 0x5, timeout web, priority", "src 10.0.0.0/8 protocol tcp dst_ports 22 state new"},
		{"reject, with tcp_reset", "protocol tcp conn_max 20 per source"},
	}
	for i := range config.Rules {
		if got := [2]string{does(&config.Rules[i]), matches(&config.Rules[i])}; got != want[i] {
			t.Errorf("rule %d: %q, want %q", i, got, want[i])
		}
	}
}

package control

import (
	"reflect"
	"testing"
	"time"

	"ffwd/conf"
	"ffwd/ct"
)

// TO-1: every timeout of the configuration is one state's, and every state's
// timeout can be configured.
func TestEveryTimeoutIsConfigured(t *testing.T) {
	var c conf.Timeouts
	n := 0
	number(reflect.ValueOf(&c).Elem(), &n)
	set, owner := timeouts(&c), map[uint32]ct.State{}
	for _, protocol := range []string{"generic", "udp", "icmp", "icmpv6", "gre", "tcp", "sctp"} {
		for _, s := range ct.Timeouted(protocol) {
			ticks := set[s]
			if other, twice := owner[ticks]; twice || ticks < ct.Tick(int64(time.Hour)) {
				t.Errorf("%s %s: %d ticks, as state %d", protocol, s.TimeoutName(), ticks, other)
			}
			owner[ticks] = s
		}
	}
	if len(owner) != n {
		t.Errorf("%d states have timeouts, the configuration has %d", len(owner), n)
	}
}

// number gives every duration below v a value of its own, an hour and more.
func number(v reflect.Value, n *int) {
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Struct {
			number(f, n)
		} else {
			f.SetInt(int64(time.Hour) + int64(*n)*int64(time.Second))
			*n++
		}
	}
}

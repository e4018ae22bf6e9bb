package bench

import (
	"context"
	"errors"
	"time"
)

// expiry is the scenario in which flows come and expire, each packet another, while others are
// resident. Source: CT-9.
const expiry = "ct-expiry"

// expirySizes are the numbers of resident flows.
var expirySizes = []int{1_000_000, 10_000_000}

// The flows that come and go are TCP connections that are picked up, and idle as soon. Their
// number is that of a capture that takes longer than a flow lives and the timing wheel's slot,
// 0.14 s, so that expiry and not the next packet finds that it has ended.
const (
	expiryTraffic = 1_000_000
	expiryBrief   = 10 * time.Millisecond
)

// Expiry is what came and went beside the resident flows.
type Expiry struct {
	CreatedPerS float64   `json:"created_per_s"`
	ExpiredPerS float64   `json:"expired_per_s"`
	Beside      uint64    `json:"beside"`      // flows at the end that are not resident: those that live, and those that wait for the wheel
	TableBytes  uint64    `json:"table_bytes"` // as configured at the start; it does not grow
	Gaps        []PollGap `json:"gaps"`
}

// expiry measures how fast flows come and go.
func (p *processes) expiry(_ context.Context, c *child, n int, socket string, s *setup) (m sample, err error) {
	var before, after dumpReport
	ask := reporter(socket)
	if err := errors.Join(c.pass(s.warmup), ask(&before), c.pass(s.duration), ask(&after)); err != nil {
		return m, err
	}
	seconds := after.DurationS - before.DurationS
	e := &Expiry{
		CreatedPerS: float64(after.Flows.Created-before.Flows.Created) / seconds,
		ExpiredPerS: float64(after.Flows.Expired-before.Flows.Expired) / seconds,
		Beside:      after.Flows.IPv4 - uint64(n),
		TableBytes:  after.Flows.TableBytes,
	}
	m.mpps, e.Gaps = after.since(&before)
	m.expiry = e
	return m, nil
}

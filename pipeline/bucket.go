package pipeline

// bucket is a token bucket that holds what a tenth of a second lets through, and
// at least one token. It starts full.
// Source: FF-10, SP-4; RFC 1812 4.3.2.8, RFC 4443 2.4 (f).
type bucket struct {
	tokens float64
	lastNs int64
}

// allow takes a token, if there is one. A rate of 0 lets nothing through.
func (b *bucket) allow(perSecond int, nowNs int64) bool {
	if perSecond <= 0 {
		return false
	}
	burst := max(1, float64(perSecond)/10)
	if b.lastNs == 0 {
		b.tokens = burst
	}
	b.tokens = min(burst, b.tokens+float64(nowNs-b.lastNs)*float64(perSecond)/1e9)
	b.lastNs = nowNs
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

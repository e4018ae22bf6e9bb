package queue

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"ffwd/packet"
	"ffwd/queue/client"
)

// BenchmarkVerdicts drives packets of 64 bytes through one queue to a listener in
// another goroutine, as fast as both can, with one verdict for each batch of 64.
// Source: VQ-1, VQ-7
func BenchmarkVerdicts(b *testing.B) {
	for _, single := range []bool{false, true} {
		name := "batch"
		if single {
			name = "single"
		}
		b.Run(name, func(b *testing.B) { benchmarkVerdicts(b, single) })
	}
}

func benchmarkVerdicts(b *testing.B, single bool) {
	o := plain(0)
	o.MaxPackets, o.MaxBytes = 1024, 1<<20
	bed := newBed(b, 1, o)
	l := bed.listen(0, client.Spin(50*time.Microsecond))
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() {
		packets := make([]client.Packet, 64)
		for {
			n, err := l.Receive(ctx, packets)
			if err != nil {
				ended <- err
				return
			}
			if single {
				for i := range packets[:n] {
					err = errors.Join(err, l.Decide(&packets[i], client.Verdict{Action: client.Accept}))
				}
			} else {
				err = l.DecideAll(packets[:n], client.Verdict{Action: client.Accept})
			}
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	w, dst := bed.workers[0], make([]packet.Released, 64)
	packets := make([]packet.Packet, 1024)
	for i := range packets {
		packets[i] = bed.packet(i%512, i, 64)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.ResetTimer()
	began := time.Now()
	for sent, done := 0, 0; done < b.N; {
		now := bed.nowNs + int64(time.Since(began))
		for range 64 {
			if sent == b.N || sent-done == len(packets) || w.Push(&packets[sent%len(packets)], in0, now) != packet.Held {
				break
			}
			sent++
		}
		w.Flush(now)
		n := w.Release(dst, now)
		done += n
		for range n {
			w.Count(0, packet.OutcomeConfirmed)
		}
		if n == 0 {
			runtime.Gosched()
		}
	}
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "verdicts/s")
	s := bed.stats(0)
	b.ReportMetric(float64(s.Latency.Quantile(0.5).Microseconds()), "p50-us")
	b.ReportMetric(float64(s.Latency.Quantile(0.99).Microseconds()), "p99-us")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		b.Error(err)
	}
}

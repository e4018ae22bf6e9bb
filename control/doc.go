// Package control applies a conf.Config to a running switch, and answers for it:
// the API on a unix socket and the Prometheus metrics.
//
//	Start   EAL and pools -> ports -> tables -> snapshot -> workers -> services
//	Reload  difference -> prepare everything -> commit by one pointer store
//	Stop    services -> workers drain -> ports -> pools full? -> EAL
//
// Start pushes one undo step for each thing it makes. Both a failed Start and
// Stop run them in reverse, so there is one order of taking down and not two.
//
// Owner threads: everything here runs on ordinary goroutines, apart from the
// workers, which are goroutines locked to a thread of their core. Control reads
// a worker through Worker.Do between two polls, and writes only by publishing a
// new pipeline.Snapshot or through the fib tables, which are safe to read
// meanwhile. What is retired goes through one epoch.Domain, and a goroutine
// reclaims while something waits. Nothing is polled but the ports' links: the
// garbage collector stops workers, so what allocates does so on demand.
//
// Reports: a sample is one reading of all counters, a Report the difference of
// two. Metrics, API and command line print nothing that is not in a Report.
//
// To add a reloadable key: its path in conf's reloadable, and its part of
// Switch.prepare. To add an endpoint: a line in api.go and in docs/api.md.
package control

// Package bench measures the switch beside DPDK's own dpdk-testpmd on the same
// packets, and reports the difference. It is what `ffwd bench` runs.
//
// A load is a capture made from a seed (package capture), played for ever by
// net_pcap with infinite_rx=1 and discarded by net_null: no NIC, no generator, and a
// floor that holds a copy of every packet. For each load and each repetition
//
//	dpdk-testpmd io, dpdk-testpmd macswap, ffwd, ffwd with another configuration, ...
//
// run one after the other in processes of their own, on the same cores, with the
// same devices, burst, mbufs and kind of memory, so that a noisy neighbour hits all
// of them. Medians over the repetitions are compared; times in absolute terms mean
// little on a shared machine, the difference to the floor means more.
//
// With Options.Peers the other programs of the field that do the same work run
// beside each variant: DPDK's examples l3fwd and ip_fragmentation, compiled on the
// spot (patch.go, peer.go, telemetry.go), OVS-DPDK (ovs.go), and rte_hash beside our flow table alone
// (table.go, flowtable.go).
//
// What is in a run: scenario.go. What a row means: result.go. How a process is
// driven: testpmd.go, ffwd.go. To add a scenario, add a variant to catalogue.
//
// The package links no DPDK. It runs on the caller's goroutine; processes it
// started are gone when Run returns.
package bench

// Package e2e tests the command ffwd between real hosts, and from file to file.
//
//	client -- veth c0 = r0 -- [lan] router [wan] -- r1 = s0 veth -- server
//
// Client, router and server are network namespaces that each test makes and
// removes. The router is ffwd over packet sockets or AF_XDP, or the kernel: every
// check passes with the kernel in ffwd's place first, so that a failure says
// something about ffwd and not about the check. The hosts are the kernel's: its
// ping, TCP and reassembly judge what we send, and so does tshark.
//
// After every run of ffwd its exit code (no mbuf missing), FF-12's equation and
// what it left behind are checked, in (*process).stop.
//
// Ports of NICs are tested with those that QEMU emulates, in a machine whose files are
// ours, with the client's and the server's interfaces for cables: nic_*_test.go, which
// only `make nic-test` builds (tag nic) and which takes minutes. To add one: a line in
// nics.
//
// What waits for something polls for it with a deadline. Tests that make
// namespaces need root and say so; those that go from file to file do not.
// To add a check: a function in the table of the topology it needs.
package e2e

// Command ffwd is the switch, and the client of a running one.
//
// Exit codes:
//
//	0  ended as asked
//	1  a fault while starting, running or stopping, or of the switch that was asked
//	2  a wrong command line or configuration
//	3  at exit an mbuf was missing or the packet counters did not add up: a bug
package main

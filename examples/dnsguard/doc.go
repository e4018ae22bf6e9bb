// Command dnsguard listens to a verdict queue and drops DNS answers for names of a
// blocklist, and for names below them.
//
//	dnsguard -socket /run/ffwd/queue.sock -queue 0 blocklist.txt
//
// with rules that lead answers there:
//
//	[[queues]]
//	number = 0
//	[[rules]]
//	action = "queue"
//	queue = 0
//	bypass = true
//	protocol = "udp"
//	src_ports = [53]
//
// The blocklist has one name per line; # begins a comment. Answers that come in pieces,
// by TCP or encrypted pass.
package main

// Package client listens to a verdict queue of a running switch: it receives the
// packets that rules gave to the queue, and says what is to become of each.
//
//	l, err := client.Open(ctx, "/run/ffwd/queue.sock", 0)
//	packets := make([]client.Packet, 64)
//	for {
//		n, err := l.Receive(ctx, packets)
//		...
//		err = l.Decide(&packets[0], client.Verdict{Action: client.Drop})
//		err = l.DecideAll(packets[1:n], client.Verdict{Action: client.Accept})
//	}
//
// Packets lie in memory shared with the switch. While both sides are busy no system
// call is made; a listener that has nothing to do sleeps, and is woken.
//
// A packet that is not decided within the queue's timeout leaves by its rule's policy,
// and so does everything when a listener closes, dies or stalls.
//
// Owner threads: a Listener's methods are for one goroutine at a time, but for Close,
// which any may call. The package needs nothing but the standard library,
// golang.org/x/sys and this project's queue/wire.
package client

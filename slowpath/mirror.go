package slowpath

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"ffwd/fib"
)

// MirrorConfig says what is mirrored, and where to.
type MirrorConfig struct {
	Netns  *Netns
	Tables []*fib.Table
	// Kernel tells which of Tables gets the routes of a kernel table.
	Kernel map[uint32]uint16
	Twins  []MirroredTwin
	// Own are the addresses of the configuration, which are in Tables already and
	// stay there whatever the kernel has.
	Own map[uint16][]netip.Prefix
	// Static are the neighbours of the configuration, see Mirror.Pin.
	Static map[Neighbour]fib.MAC
	// OnAddresses is told all addresses that an interface has, those of Own first,
	// whenever they change. It must not call the Mirror.
	OnAddresses func(iface uint16, addresses []netip.Prefix)
	Log         *slog.Logger

	receiveBytes   int           // of the notifications' buffers; 0: the default
	resyncInterval time.Duration // as above
	auditInterval  time.Duration // as above
	auditPause     int           // times as long as an audit took; 0: the default
}

// Mirror keeps the kernel's routes, neighbours and addresses in the FIB.
//
// Each of two goroutines reads one socket: one gets links, addresses, nexthop
// objects and routes, the other links and neighbours, so that a storm of
// neighbours does not cost the notifications of routes. Either keeps a view of
// what the kernel has and makes the FIB follow it. After a loss of notifications
// the kernel is dumped into a new view, and the difference between the two is
// what is changed: packets of routes that stay do not notice.
//
// The preference for one prefix: addresses of the ports and their subnets, then
// routes of the configuration, then routes of the kernel. For one neighbour:
// that of the configuration, then that of the kernel.
//
// All methods may be called from any goroutine. Source: SP-2, SP-3.
type Mirror struct {
	routes     *routeMirror
	neighbours *neighbourMirror
	feeds      [2]*feed

	cancel  context.CancelFunc
	running sync.WaitGroup
}

// OpenMirror dumps the kernel into the tables and returns when that is done; what
// changes from then on follows. On failure, or when ctx ends meanwhile, nothing runs, and
// what was entered stays; afterwards ctx means nothing.
func OpenMirror(ctx context.Context, c MirrorConfig) (*Mirror, error) {
	if c.receiveBytes == 0 {
		c.receiveBytes = defaultReceiveBytes
	}
	if c.resyncInterval == 0 {
		c.resyncInterval = defaultResyncInterval
	}
	if c.auditInterval == 0 {
		c.auditInterval = defaultAuditInterval
	}
	if c.auditPause == 0 {
		c.auditPause = defaultAuditPause
	}
	m := &Mirror{routes: newRouteMirror(&c), neighbours: newNeighbourMirror(&c)}
	m.feeds = [2]*feed{
		newFeed("routes", &c, routeGroups, m.routes),
		newFeed("neighbours", &c, neighbourGroups, m.neighbours),
	}
	following, cancel := context.WithCancel(context.Background())
	m.cancel, m.routes.stopping = cancel, following.Done()
	interrupt := context.AfterFunc(ctx, cancel)
	defer interrupt()
	for _, f := range m.feeds {
		err := f.open(following)
		if err == nil && ctx.Err() == nil {
			continue
		}
		cancel()
		closed := errors.Join(m.feeds[0].close(), m.feeds[1].close())
		if ctx.Err() != nil { // then whatever failed did so for that
			return nil, ctx.Err()
		}
		return nil, errors.Join(err, closed)
	}
	for _, f := range m.feeds {
		m.running.Go(func() { f.run(following) })
	}
	return m, nil
}

// Close stops following. What is in the tables stays there.
func (m *Mirror) Close() error {
	m.cancel()
	m.running.Wait()
	return nil
}

// MirrorStatus is what a Mirror has done.
type MirrorStatus struct {
	Routes     map[Outcome]int // prefixes by what became of their route
	Addresses  int             // of the kernel alone
	Neighbours int             // resolved
	Refused    int             // neighbours that the table does not take
	Feeds      [2]FeedStatus   // routes, neighbours
}

// Status reports what was mirrored.
func (m *Mirror) Status() MirrorStatus {
	var s MirrorStatus
	m.routes.status(&s)
	m.neighbours.status(&s)
	for i, f := range m.feeds {
		s.Feeds[i] = f.status()
	}
	return s
}

// Outcome is what became of a kernel route.
type Outcome uint8

// Installed and Connected routes forward; the others are not in the FIB.
const (
	Absent      Outcome = iota // of a prefix that the kernel has no route to
	Installed                  // in the FIB
	Connected                  // an address of ours, or its subnet: in the FIB by that
	Dead                       // its interfaces are down
	NoNexthop                  // its nexthop object is not known
	TooManyHops                // more than fib.MaxHops
	OtherVRF                   // an address of a port in another VRF
	Refused                    // the FIB takes it for an error
	Full                       // the FIB is full
	numOutcomes
)

var outcomeNames = [numOutcomes]string{
	"absent", "installed", "connected", "dead", "no_nexthop", "too_many_hops", "other_vrf", "refused", "table_full",
}

// String returns the outcome's one word, in listings and metrics.
func (o Outcome) String() string { return outcomeNames[o] }

// MarshalText makes the word the key of a JSON object.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"ffwd/conf"
	"ffwd/ct"
	"ffwd/packet"
)

// FlowList answers GET /v1/flows. Next goes into ?after= for the flows behind
// these; "" is the end.
type FlowList struct {
	Flows []FlowStatus `json:"flows"`
	Next  string       `json:"next"`
}

// FlowStatus is one flow. Pairs are original direction first, reply second.
type FlowStatus struct {
	Worker         int        `json:"worker"`
	Family         string     `json:"family"` // ipv4 or ipv6
	Protocol       string     `json:"protocol"`
	ProtocolNumber uint8      `json:"protocol_number"`
	Zone           uint16     `json:"zone"`
	State          string     `json:"state"`
	Original       Tuple      `json:"original"`
	Reply          Tuple      `json:"reply"`
	ICMP           *ICMPQuery `json:"icmp,omitempty"`
	Packets        [2]uint64  `json:"packets"`
	Bytes          [2]uint64  `json:"bytes"` // of L3
	Mark           uint32     `json:"mark"`
	Timeout        string     `json:"timeout,omitempty"` // its timeout policy
	Replied        bool       `json:"replied"`
	Assured        bool       `json:"assured"` // early drop spares it
	AgeS           float64    `json:"age_s"`
	ExpiresS       float64    `json:"expires_s"`
}

// Tuple is one direction of a flow. An ICMP query has its identifier in both ports;
// a protocol without ports has zeroes.
type Tuple struct {
	Src     netip.Addr `json:"src"`
	Dst     netip.Addr `json:"dst"`
	SrcPort uint16     `json:"src_port"`
	DstPort uint16     `json:"dst_port"`
}

// ICMPQuery is what tells ICMP queries between two hosts apart.
type ICMPQuery struct {
	Type uint8  `json:"type"` // of the request
	Code uint8  `json:"code"`
	ID   uint16 `json:"id"`
}

// FlowCount answers GET /v1/flows/count and POST /v1/flows/delete.
type FlowCount struct {
	Flows uint64 `json:"flows"`
}

// FlowEvent is one line of GET /v1/flows/events. A line with Lost alone says how many
// events found no room since the stream began.
type FlowEvent struct {
	Event string      `json:"event,omitempty"` // NEW, UPDATE or DESTROY
	Flow  *FlowStatus `json:"flow,omitempty"`
	Lost  uint64      `json:"lost,omitempty"`
}

const (
	flowStep   = 128     // table entries a worker looks at between two polls
	eventSlots = 1 << 12 // events per worker that wait for the reader
	eventPause = 20 * time.Millisecond
)

// getFlows walks the workers' tables in steps, from where the client left off.
func (s *Switch) getFlows(r *http.Request) (any, error) {
	limit, err := limitOf(r)
	if err != nil {
		return nil, err
	}
	filter, err := filterOf(r.URL.Query())
	if err != nil {
		return nil, err
	}
	at, from, err := parseCursor(r.URL.Query().Get("after"))
	if err != nil {
		return nil, err
	}
	list := FlowList{Flows: []FlowStatus{}}
	step := make([]ct.Info, 0, flowStep) // filled on the worker's thread, which must not allocate
	for ; at < len(s.workers); at, from = at+1, 0 {
		for more := s.workers[at].Table() != nil; more; more = from != 0 {
			room := limit - len(list.Flows)
			if room == 0 {
				list.Next = fmt.Sprintf("%d:%d", at, from)
				return list, nil
			}
			step = step[:0]
			from, err = s.walk(r.Context(), s.workers[at], from, &filter, func(_ uint32, f *ct.Info) bool {
				step = append(step, *f)
				return len(step) < room
			})
			if err != nil {
				return nil, err
			}
			for i := range step {
				list.Flows = append(list.Flows, s.flowStatus(at, &step[i]))
			}
		}
	}
	return list, nil
}

// walk takes one step through a worker's table, on its thread, and visits the
// flows that the filter chooses. It returns where to go on, 0 at the end. A flow
// whose time has passed is none any more, although the wheel has not come by.
func (s *Switch) walk(ctx context.Context, w *worker, from uint32, filter *ct.Filter, visit func(i uint32, f *ct.Info) bool) (uint32, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	err := w.Do(func() {
		now := s.clock.Now()
		from = w.Table().Walk(from, flowStep, func(i uint32) bool {
			f := w.Table().Info(i, now)
			return f.Expires <= 0 || !filter.Match(&f) || visit(i, &f)
		})
	})
	return from, err
}

// each visits every flow that the filter chooses, worker by worker, in steps.
func (s *Switch) each(r *http.Request, filter *ct.Filter, visit func(t *ct.Table, i uint32)) (n uint64, err error) {
	for _, w := range s.workers {
		from := uint32(0)
		for more := w.Table() != nil; more; more = from != 0 {
			from, err = s.walk(r.Context(), w, from, filter, func(i uint32, _ *ct.Info) bool {
				n++
				visit(w.Table(), i)
				return true
			})
			if err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (s *Switch) countFlows(r *http.Request) (any, error) {
	filter, err := filterOf(r.URL.Query())
	if err != nil {
		return nil, err
	}
	n, err := s.each(r, &filter, func(*ct.Table, uint32) {})
	return FlowCount{n}, err
}

// deleteFlows deletes what a filter chooses; without one, ?all=1 must say so.
func (s *Switch) deleteFlows(r *http.Request) (any, error) {
	filter, err := filterOf(r.URL.Query())
	if err != nil {
		return nil, err
	}
	if filter.Empty() && r.URL.Query().Get("all") != "1" {
		return nil, badRequest("no filter chooses flows: say all=1 to delete every flow")
	}
	n, err := s.each(r, &filter, func(t *ct.Table, i uint32) { t.Delete(i) })
	return FlowCount{n}, err
}

// streamFlowEvents answers GET /v1/flows/events: one JSON object per line, until the
// client leaves. Each client has rings of its own, and loses what it is too slow for.
func (s *Switch) streamFlowEvents(w http.ResponseWriter, r *http.Request) {
	filter, err := filterOf(r.URL.Query())
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		err = requestError{http.StatusMethodNotAllowed, "/v1/flows/events takes GET only"}
	}
	rings := make([]*ct.Events, len(s.workers))
	defer s.silence(rings)
	if err == nil {
		err = s.listen(rings)
	}
	if err != nil {
		status, body := describe(err)
		writeJSON(w, status, body)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	flush := http.NewResponseController(w)
	_ = flush.SetReadDeadline(time.Time{}) // the stream outlives what one answer may take
	_ = flush.SetWriteDeadline(time.Time{})
	out := json.NewEncoder(w)
	lost := uint64(0)
	for {
		if flush.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(eventPause):
		}
		now := uint64(0)
		for i, ring := range rings {
			if ring == nil {
				continue
			}
			now += ring.Lost()
			ring.Take(func(e *ct.Event) bool {
				if filter.Match(&e.Flow) {
					flow := s.flowStatus(i, &e.Flow)
					err = out.Encode(FlowEvent{Event: e.Kind.String(), Flow: &flow})
				}
				return err == nil
			})
		}
		if now != lost {
			lost = now
			err = out.Encode(FlowEvent{Lost: lost})
		}
		if err != nil {
			return
		}
	}
}

// listen gives each worker with a table a ring of one client.
func (s *Switch) listen(rings []*ct.Events) error {
	for i, worker := range s.workers {
		if worker.Table() == nil {
			continue
		}
		ring, room := ct.NewEvents(eventSlots), false
		if err := worker.Do(func() { room = worker.Table().Report(ring) }); err != nil {
			return err
		}
		if !room {
			return requestError{http.StatusConflict, fmt.Sprintf("%d clients read the events: try again when one has left", ct.MaxReaders)}
		}
		rings[i] = ring
	}
	return nil
}

// silence ends what listen began. A worker that is stuck then keeps its ring, which fills.
func (s *Switch) silence(rings []*ct.Events) {
	for i, ring := range rings {
		if ring != nil {
			_ = s.workers[i].Do(func() { s.workers[i].Table().Silence(ring) })
		}
	}
}

// filterOf reads a filter from a request: proto, src, dst, sport, dport, zone, mark,
// state, family.
func filterOf(q url.Values) (f ct.Filter, err error) {
	if text := q.Get("proto"); text != "" {
		var p conf.Protocol
		if err := p.UnmarshalText([]byte(text)); err != nil {
			return f, badRequest("proto: %v", err)
		}
		n, _ := p.Number()
		f.Proto = &n
	}
	for _, a := range []struct {
		key string
		to  *netip.Prefix
	}{{"src", &f.Src}, {"dst", &f.Dst}} {
		if text := q.Get(a.key); text != "" {
			if *a.to, err = prefixOf(text); err != nil {
				return f, badRequest("%s: %q is neither an address nor a prefix", a.key, text)
			}
		}
	}
	for _, n := range []struct {
		key string
		to  **uint16
	}{{"sport", &f.SrcPort}, {"dport", &f.DstPort}, {"zone", &f.Zone}} {
		if text := q.Get(n.key); text != "" {
			v, err := strconv.ParseUint(text, 0, 16)
			if err != nil {
				return f, badRequest("%s: %q is not a number in 0..65535", n.key, text)
			}
			small := uint16(v)
			*n.to = &small
		}
	}
	if text := q.Get("mark"); text != "" {
		value, mask, masked := strings.Cut(text, "/")
		v, errV := strconv.ParseUint(value, 0, 32)
		m, errM := uint64(1<<32-1), error(nil)
		if masked {
			m, errM = strconv.ParseUint(mask, 0, 32)
		}
		if errV != nil || errM != nil || v&^m != 0 {
			return f, badRequest("mark: %q is not a 32-bit number, or number/mask", text)
		}
		f.Mark, f.MarkMask = uint32(v), uint32(m)
	}
	if f.State = q.Get("state"); f.State != "" && !ct.KnownState(f.State) {
		return f, badRequest("state: %q is no tracker's, nor UNREPLIED or ASSURED", f.State)
	}
	switch q.Get("family") {
	case "":
	case "ipv4":
		f.Family = 4
	case "ipv6":
		f.Family = 6
	default:
		return f, badRequest("family: %q is neither ipv4 nor ipv6", q.Get("family"))
	}
	return f, nil
}

func prefixOf(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

// parseCursor reads where a listing goes on: a worker's number and an entry of
// its table.
func parseCursor(text string) (worker int, from uint32, err error) {
	if text == "" {
		return 0, 0, nil
	}
	w, entry, ok := strings.Cut(text, ":")
	a, errA := strconv.ParseUint(w, 10, 16)
	b, errB := strconv.ParseUint(entry, 10, 32)
	if !ok || errA != nil || errB != nil {
		return 0, 0, badRequest("after: %q is not what an earlier answer gave as next", text)
	}
	return int(a), uint32(b), nil
}

func (s *Switch) flowStatus(worker int, f *ct.Info) FlowStatus {
	status := FlowStatus{
		Worker: worker, Family: "ipv4", Protocol: conf.NewProtocol(f.Proto).String(), ProtocolNumber: f.Proto,
		Zone: f.Zone, State: f.State.String(), Original: Tuple(f.Original), Reply: Tuple(f.Reply),
		Packets: f.Packets, Bytes: f.Bytes, Mark: f.Mark, Timeout: s.policies.NameOf(f.Policy), Replied: f.Replied, Assured: f.Assured,
		AgeS: f.Age.Seconds(), ExpiresS: f.Expires.Seconds(),
	}
	if f.Original.Src.Is6() {
		status.Family = "ipv6"
	}
	if f.Proto == packet.ProtoICMP || f.Proto == packet.ProtoICMPv6 {
		what, id := f.Original.DstPort, f.Original.SrcPort
		status.ICMP = &ICMPQuery{Type: uint8(what >> 8), Code: uint8(what), ID: id}
		status.Original.DstPort, status.Reply.SrcPort = id, id
	}
	return status
}

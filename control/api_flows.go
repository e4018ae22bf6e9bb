package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
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
	eventSlots = 1 << 12 // events per worker that wait for the reader
	eventPause = 20 * time.Millisecond
)

// getFlows answers with as many flows as fit, from where the client left off.
func (s *Switch) getFlows(r *http.Request) (any, error) {
	limit, err := limitOf(r)
	if err != nil {
		return nil, err
	}
	filter, err := filterOf(r.URL.Query())
	if err != nil {
		return nil, err
	}
	reader := s.readFlows(&filter)
	if reader.at, reader.from, err = parseCursor(r.URL.Query().Get("after")); err != nil {
		return nil, err
	}
	list := FlowList{Flows: []FlowStatus{}}
	for len(list.Flows) < limit {
		worker, flows, err := reader.next(r.Context(), limit-len(list.Flows))
		if err != nil {
			return nil, err
		}
		for i := range flows {
			list.Flows = append(list.Flows, s.flowStatus(worker, &flows[i]))
		}
		if reader.ended() {
			return list, nil
		}
	}
	list.Next = fmt.Sprintf("%d:%d", reader.at, reader.from)
	return list, nil
}

func (s *Switch) countFlows(r *http.Request) (any, error) {
	filter, err := filterOf(r.URL.Query())
	if err != nil {
		return nil, err
	}
	n, err := s.eachFlow(r.Context(), &filter, func(*ct.Table, uint32) {})
	return FlowCount{n}, err
}

// deleteFlows deletes what a filter chooses; without one, ?all=1 must say so.
func (s *Switch) deleteFlows(r *http.Request) (any, error) {
	filter, err := filterOf(r.URL.Query())
	if err != nil {
		return nil, err
	}
	all, err := flagOf(r, "all")
	if err != nil {
		return nil, err
	}
	if filter.Empty() && !all {
		return nil, badRequest("no filter chooses flows: say all=1 to delete every flow")
	}
	n, err := s.eachFlow(r.Context(), &filter, func(t *ct.Table, i uint32) { t.Delete(i) })
	return FlowCount{n}, err
}

// streamFlowEvents answers GET /v1/flows/events: one JSON object per line, until the
// client leaves. Each client has rings of its own, and loses what it is too slow for.
func (s *Switch) streamFlowEvents(w http.ResponseWriter, r *http.Request) {
	filter, err := filterOf(r.URL.Query())
	rings := make([]*ct.Events, len(s.workers))
	defer s.silence(rings)
	if err == nil {
		err = s.listen(rings)
	}
	if err != nil {
		refuse(w, err)
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
		status.Original.DstPort, status.Reply.SrcPort = id, f.Reply.DstPort
	}
	return status
}

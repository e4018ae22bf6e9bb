package control

import (
	"math"
	"net/http"
	"strconv"
	"time"
)

// Bounds of a stream of flows.
const (
	streamPiece    = 64 << 10         // bytes that are written at once, and a batch more at most
	streamPatience = 30 * time.Second // for the client to take a piece
)

// streamFlows answers GET /v1/flows/stream: every flow that a filter chooses, a line each,
// as JSON or with ?format=text as conntrack prints it, and ?limit= of them at most. It holds
// neither the listing nor the worker: a piece of it is read when the client has taken the one
// before. An answer that ends early is broken off, which HTTP tells the client.
func (s *Switch) streamFlows(w http.ResponseWriter, r *http.Request) {
	reader, format, left, err := s.streamOf(r)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", format.mime)
	out, begun, piece := http.NewResponseController(w), false, []byte(nil)
	var status FlowStatus                // here: it escapes
	_ = out.SetReadDeadline(time.Time{}) // the stream outlives what one answer may take
	for left > 0 && !reader.ended() && err == nil {
		worker, flows, readErr := reader.next(r.Context(), left)
		if err = readErr; err != nil {
			break
		}
		left -= len(flows)
		for i := range flows {
			status = s.flowStatus(worker, &flows[i])
			piece = append(format.add(&status, piece), '\n')
		}
		if len(piece) < streamPiece && left > 0 && !reader.ended() {
			continue
		}
		begun = true
		_ = out.SetWriteDeadline(time.Now().Add(streamPatience))
		_, err = w.Write(piece)
		piece = piece[:0]
	}
	switch {
	case err == nil:
	case begun:
		s.log.Warn("a listing of flows was broken off", "error", err)
		panic(http.ErrAbortHandler)
	default:
		refuse(w, err)
	}
}

// flowFormat is how a stream shows flows.
type flowFormat struct {
	mime string
	add  func(*FlowStatus, []byte) []byte
}

var flowFormats = map[string]flowFormat{
	"":     {"application/x-ndjson", (*FlowStatus).AppendJSON},
	"json": {"application/x-ndjson", (*FlowStatus).AppendJSON},
	"text": {"text/plain; charset=utf-8", (*FlowStatus).AppendLine},
}

// streamOf reads what a request for a stream says.
func (s *Switch) streamOf(r *http.Request) (reader *flowReader, format flowFormat, limit int, err error) {
	query := r.URL.Query()
	filter, err := filterOf(query)
	if err != nil {
		return nil, format, 0, err
	}
	format, known := flowFormats[query.Get("format")]
	if !known {
		return nil, format, 0, badRequest("format: %q is neither json nor text", query.Get("format"))
	}
	limit = math.MaxInt
	if text := query.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 {
			return nil, format, 0, badRequest("limit: %q is not a number from 1 on", text)
		}
	}
	return s.readFlows(&filter), format, limit, nil
}

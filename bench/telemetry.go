package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// telemetry is a connection to a DPDK process's telemetry socket.
// Source: DPDK Programmer's Guide, "Telemetry Library".
type telemetry struct {
	conn net.Conn
	buf  []byte
}

// Where a DPDK process puts its socket below its runtime directory, and what the
// variable is called that names the directory.
const (
	runtimeVariable = "RUNTIME_DIRECTORY"
	telemetrySocket = "dpdk_telemetry.v2"
	telemetryLimit  = 5 * time.Second // for one answer
	telemetryBytes  = 16 << 10        // of one answer, at most
)

// dialTelemetry connects to the one process that has its runtime directory in dir.
func dialTelemetry(dir string) (*telemetry, error) {
	var path string
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), telemetrySocket) {
			path = p
		}
		return err
	})
	if path == "" {
		return nil, errors.Join(fmt.Errorf("no telemetry socket below %s", dir), err)
	}
	conn, err := net.Dial("unixpacket", path)
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	t := &telemetry{conn, make([]byte, telemetryBytes)}
	if _, err := t.receive(); err != nil { // version and process
		conn.Close()
		return nil, err
	}
	return t, nil
}

func (t *telemetry) receive() ([]byte, error) {
	n, err := 0, t.conn.SetReadDeadline(time.Now().Add(telemetryLimit))
	if err == nil {
		n, err = t.conn.Read(t.buf)
	}
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	return t.buf[:n], nil
}

// portCounts are what a port received and transmitted since it was started.
type portCounts struct {
	In  uint64 `json:"ipackets"`
	Out uint64 `json:"opackets"`
}

// port reads the counters of a port.
func (t *telemetry) port(id int) (portCounts, error) {
	const command = "/ethdev/stats"
	if _, err := fmt.Fprintf(t.conn, "%s,%d", command, id); err != nil {
		return portCounts{}, fmt.Errorf("telemetry: %w", err)
	}
	text, err := t.receive()
	if err != nil {
		return portCounts{}, err
	}
	var answer map[string]*portCounts
	if err := json.Unmarshal(text, &answer); err != nil {
		return portCounts{}, fmt.Errorf("telemetry: %s: %w", command, err)
	}
	if answer[command] == nil {
		return portCounts{}, fmt.Errorf("telemetry: port %d has no counters", id)
	}
	return *answer[command], nil
}

// traffic is what passed from the first port to the second, and when it was read.
type traffic struct {
	in, out uint64
	at      time.Time
}

func (t *telemetry) traffic() (traffic, error) {
	at := time.Now()
	source, err := t.port(0)
	if err != nil {
		return traffic{}, err
	}
	sink, err := t.port(1)
	return traffic{source.In, sink.Out, at}, err
}

// peerLossLimit is the share of packets that may be missing: the two ports are asked
// one after the other, and the process may not run in between. A peer that does not
// forward loses all.
const peerLossLimit = 0.05

// since is the rate between two readings, and how many packets left for each that
// came.
func (t traffic) since(before traffic) (sample, error) {
	seconds := t.at.Sub(before.at).Seconds()
	in, out := t.in-before.in, t.out-before.out
	if seconds <= 0 || in == 0 {
		return sample{}, fmt.Errorf("it received %d packets in %.3f s", in, seconds)
	}
	if float64(out) < float64(in)*(1-peerLossLimit) {
		return sample{}, fmt.Errorf("it forwarded %d of %d packets", out, in)
	}
	return sample{mpps: float64(in) / seconds / 1e6, outPerIn: float64(out) / float64(in)}, nil
}

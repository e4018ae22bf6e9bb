package control

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Clients of the control socket that never finish, send what has no end, or come in
// hundreds are answered, cut off or left waiting; one that asks a question has its answer
// meanwhile, and memory is what it was.
func TestHostileClients(t *testing.T) {
	s := startTest(t, twoPorts)
	held := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := held() // under the race detector the flow tables are among it
	dial := func() net.Conn {
		c, err := net.Dial("unix", s.Config().Control.Socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	status := func(c net.Conn) int {
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		response.Body.Close()
		return response.StatusCode
	}

	// More connections than are served at once, each with a request that goes on for ever.
	// They give way when their header is late.
	for range maxClients + maxClients/2 {
		io.WriteString(dial(), "GET /v1/drops HTTP/1.1\r\nHost: ffwd\r\nX: ")
	}
	if got, _ := ask(t, s, "GET", "/v1/drops", ""); got != 200 {
		t.Errorf("status %d beside slow clients", got)
	}

	long := dial()
	fmt.Fprintf(long, "GET /v1/drops HTTP/1.1\r\nHost: ffwd\r\nX: %s\r\n\r\n", strings.Repeat("x", 2*maxHeaderBytes))
	if got := status(long); got != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d for a header of %d bytes", got, 2*maxHeaderBytes)
	}
	for _, path := range []string{"/v1/timeouts/set", "/v1/reload"} {
		huge := dial()
		fmt.Fprintf(huge, "POST %s HTTP/1.1\r\nHost: ffwd\r\nContent-Length: %d\r\n\r\n", path, int64(1)<<40)
		go func() {
			chunk := make([]byte, 1<<20)
			for { // until the switch hangs up
				if _, err := huge.Write(chunk); err != nil {
					return
				}
			}
		}()
		if got := status(huge); got != http.StatusRequestEntityTooLarge && got != http.StatusBadRequest {
			t.Errorf("status %d for a body without end to %s", got, path)
		}
	}
	if more := held() - before; more > maxDocument {
		t.Errorf("%d bytes more are held afterwards", more)
	}
	if got, _ := ask(t, s, "GET", "/v1/drops", ""); got != 200 {
		t.Errorf("status %d afterwards", got)
	}
}

package control

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"ffwd/fib"
)

// A client that sends its document slowly does not keep others from theirs, and is answered
// in the end.
func TestSlowDocumentKeepsNobodyFromReloading(t *testing.T) {
	s := startTest(t, twoPorts)
	slow, err := net.Dial("unix", s.Config().Control.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	doc := string(s.Config().TOML())
	fmt.Fprintf(slow, "POST /v1/reload HTTP/1.1\r\nHost: ffwd\r\nContent-Length: %d\r\n\r\n%s", len(doc), doc[:len(doc)-1])
	await(t, "the slow document", func() (complaint string) {
		if s.documents.bytes.Load() == 0 {
			return "is not read"
		}
		return ""
	})
	if status, answer := ask(t, s, "POST", "/v1/reload", doc); status != http.StatusOK {
		t.Errorf("status %d beside a slow document: %s", status, answer)
	}
	io.WriteString(slow, doc[len(doc)-1:])
	response, err := http.ReadResponse(bufio.NewReader(slow), nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("status %d for the slow document", response.StatusCode)
	}
	if held := s.documents.bytes.Load(); held != 0 {
		t.Errorf("%d bytes are held afterwards", held)
	}
}

// endlessText is a body that ends, or fails, after so many bytes.
type endlessText struct {
	bytes int
	end   error
}

func (e *endlessText) Read(p []byte) (int, error) {
	if e.bytes == 0 {
		return 0, e.end
	}
	n := min(len(p), e.bytes)
	e.bytes -= n
	return n, nil
}

// Documents count from their first byte to their release, whatever becomes of them, and
// together have a bound.
func TestDocumentsAreBounded(t *testing.T) {
	var d documents
	statusOf := func(err error) int {
		var refused requestError
		if errors.As(err, &refused) {
			return refused.status
		}
		return 0
	}
	for _, n := range []int{0, 1, documentStepSize - 1, documentStepSize, documentStepSize + 1, 5 * documentStepSize} {
		doc, release, err := d.read(&endlessText{n, io.EOF})
		if held := int(d.bytes.Load()); err != nil || len(doc) != n || held < n || held > 2*n+documentStepSize {
			t.Fatalf("%d bytes: %d read, %d held, %v", n, len(doc), held, err)
		}
		release()
	}
	if _, _, err := d.read(&endlessText{9, os.ErrDeadlineExceeded}); statusOf(err) != http.StatusRequestTimeout {
		t.Errorf("a document that is late: %v", err)
	}
	if _, _, err := d.read(&endlessText{9, io.ErrUnexpectedEOF}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a document that is cut off: %v", err)
	}
	_, release, err := d.read(&endlessText{maxDocument, io.EOF})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.read(&endlessText{maxDocuments, io.EOF}); statusOf(err) != http.StatusServiceUnavailable {
		t.Errorf("more than all may have: %v", err)
	}
	release()
	if held := d.bytes.Load(); held != 0 {
		t.Errorf("%d bytes are held afterwards", held)
	}
}

// Reloads of large tables that follow one another as quickly as they are taken, from several
// clients at once: each is answered, taken or refused because of another; the others'
// questions are answered meanwhile, packets go on, and what a table took it gives back.
// Source: FF-5, FF-12
func TestReloadStorm(t *testing.T) {
	s := startTest(t, twoPorts)
	const routes, rounds, clients = 5_000, 12, 3
	plain := string(s.Config().TOML())
	docs := [2]string{plain + manyRoutes(routes, "10.2.2.2"), plain + manyRoutes(routes, "10.2.2.3")}
	reload := func(doc string) {
		if status, answer := ask(t, s, "POST", "/v1/reload", doc); status != http.StatusOK && status != http.StatusConflict {
			t.Errorf("status %d: %s", status, answer)
		}
	}
	settle := func() (heap int, table fib.Stats) {
		reload(docs[0])
		await(t, "old parts of the table", func() (complaint string) {
			if _, waiting := s.epoch.Reclaim(); waiting > 0 {
				return fmt.Sprintf("%d wait to be reclaimed", waiting)
			}
			return ""
		})
		table = s.tables[0].Stats()
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc), table
	}
	reload(docs[1])
	heap, table := settle()
	before := s.Report().Received
	var running sync.WaitGroup
	for client := range clients {
		running.Go(func() {
			for round := range rounds {
				reload(docs[(client+round)%2])
			}
		})
	}
	running.Go(func() {
		for range rounds {
			for _, path := range []string{"/v1/report", "/v1/routes?limit=10", "/v1/rules"} {
				if status, answer := ask(t, s, "GET", path, ""); status != http.StatusOK {
					t.Errorf("%s: status %d: %s", path, status, answer)
				}
			}
		}
	})
	running.Wait()
	heapNow, tableNow := settle()
	if s.Report().Received == before {
		t.Error("no packet was received meanwhile")
	}
	if tableNow != table {
		t.Errorf("the table had %+v and has %+v", table, tableNow)
	}
	if grown := heapNow - heap; grown > 8<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

// manyRoutes are n routes to a gateway, in TOML.
func manyRoutes(n int, via string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[[routes]]\nprefix = \"%d.%d.%d.0/24\"\nvia = %q\n", 20+i>>16, i>>8&255, i&255, via)
	}
	return b.String()
}

package control

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
)

const (
	maxDocument      = 64 << 20        // bytes; conf takes no larger file
	maxDocuments     = 2 * maxDocument // bytes of all that are being sent or applied
	documentStepSize = 64 << 10        // of the first buffer of one
)

// documents bounds what the documents of all clients take. One that is sent slowly holds no
// more than what has come of it. Any goroutine may use it.
type documents struct{ bytes atomic.Int64 }

// read reads a document to its end. What is returned counts until release.
func (d *documents) read(from io.Reader) (doc []byte, release func(), err error) {
	held := int64(0)
	defer func() {
		if err != nil {
			d.bytes.Add(-held)
		}
	}()
	for {
		if len(doc) == cap(doc) {
			more := int64(max(documentStepSize, len(doc))) // twice as large each time
			held += more
			if d.bytes.Add(more) > maxDocuments {
				return nil, nil, requestError{http.StatusServiceUnavailable,
					fmt.Sprintf("more than %d MiB of configurations are being sent: try again", maxDocuments>>20)}
			}
			doc = append(make([]byte, 0, len(doc)+int(more)), doc...)
		}
		n, err := from.Read(doc[len(doc):cap(doc)])
		doc = doc[:len(doc)+n]
		switch {
		case errors.Is(err, io.EOF):
			return doc, func() { d.bytes.Add(-held) }, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, nil, requestError{http.StatusRequestTimeout, fmt.Sprintf("the configuration did not come in %v", requestTimeout)}
		case err != nil:
			return nil, nil, fmt.Errorf("read configuration: %w", err)
		}
	}
}

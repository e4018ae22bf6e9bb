package capture

import (
	"bufio"
	"encoding/binary"
	"io"
)

// The classic pcap format, microseconds, little-endian.
// Source: draft-ietf-opsawg-pcap.
const (
	pcapMagic     = 0xa1b2c3d4
	pcapMajor     = 2
	pcapMinor     = 4
	pcapSnapBytes = 65535
	linkEthernet  = 1

	pcapFileHeaderLen   = 24
	pcapRecordHeaderLen = 16
)

// writeBufferBytes keeps a capture of a million frames at some hundred writes.
const writeBufferBytes = 256 << 10

// pcapWriter writes frames one microsecond apart, starting at the epoch: a capture
// must not differ from the one made yesterday.
type pcapWriter struct {
	out    *bufio.Writer
	frames int
	err    error // the first one; later frames are not written
}

func newPcapWriter(w io.Writer) *pcapWriter {
	p := &pcapWriter{out: bufio.NewWriterSize(w, writeBufferBytes)}
	le := binary.LittleEndian
	h := make([]byte, 0, pcapFileHeaderLen)
	h = le.AppendUint32(h, pcapMagic)
	h = le.AppendUint16(h, pcapMajor)
	h = le.AppendUint16(h, pcapMinor)
	h = le.AppendUint64(h, 0) // time zone and accuracy, unused
	h = le.AppendUint32(h, pcapSnapBytes)
	h = le.AppendUint32(h, linkEthernet)
	p.write(h)
	return p
}

func (p *pcapWriter) frame(data []byte) {
	var h [pcapRecordHeaderLen]byte
	le := binary.LittleEndian
	le.PutUint32(h[0:], uint32(p.frames/1_000_000))
	le.PutUint32(h[4:], uint32(p.frames%1_000_000))
	le.PutUint32(h[8:], uint32(len(data)))
	le.PutUint32(h[12:], uint32(len(data)))
	p.write(h[:])
	p.write(data)
	p.frames++
}

func (p *pcapWriter) write(data []byte) {
	if p.err == nil {
		_, p.err = p.out.Write(data)
	}
}

// flush ends the file and returns the first error of all writes.
func (p *pcapWriter) flush() error {
	if p.err == nil {
		p.err = p.out.Flush()
	}
	return p.err
}

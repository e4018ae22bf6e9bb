package pmd

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// A capture file is a header of 24 bytes, then 16 bytes and the frame per packet.
// Source: draft-ietf-opsawg-pcap.
const (
	captureMagic     = 0xa1b2c3d4 // microseconds
	captureEthernet  = 1
	captureSnapBytes = 65535
)

// writeCapture writes frames as a capture file and returns its path.
func writeCapture(t testing.TB, frames [][]byte) string {
	t.Helper()
	le := binary.LittleEndian
	data := le.AppendUint32(nil, captureMagic)
	data = le.AppendUint16(data, 2)
	data = le.AppendUint16(data, 4)
	data = le.AppendUint64(data, 0)
	data = le.AppendUint32(data, captureSnapBytes)
	data = le.AppendUint32(data, captureEthernet)
	for i, frame := range frames {
		data = le.AppendUint32(data, uint32(i))
		data = le.AppendUint32(data, 0)
		data = le.AppendUint32(data, uint32(len(frame)))
		data = le.AppendUint32(data, uint32(len(frame)))
		data = append(data, frame...)
	}
	path := filepath.Join(t.TempDir(), "in.pcap")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// readCapture returns the frames of a capture file.
func readCapture(t testing.TB, path string) [][]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if len(data) < 24 || (le.Uint32(data) != captureMagic && le.Uint32(data) != 0xa1b23c4d) {
		t.Fatalf("%s is no capture file", path)
	}
	var frames [][]byte
	for data = data[24:]; len(data) > 0; {
		n := int(le.Uint32(data[8:]))
		frames = append(frames, data[16:16+n])
		data = data[16+n:]
	}
	return frames
}

// someFrames returns n frames of random bytes whose lengths go from lowest to highest.
func someFrames(n, lowest, highest int) [][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	frames := make([][]byte, n)
	for i := range frames {
		frames[i] = make([]byte, lowest+(highest-lowest)*i/max(n-1, 1))
		for j := range frames[i] {
			frames[i][j] = byte(random.Uint32())
		}
	}
	return frames
}

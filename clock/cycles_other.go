//go:build !amd64 && !arm64

package clock

const (
	hasCounter       = false
	counterNeedsFlag = false
)

// Cycles returns 0: this architecture has no counter that we know how to read.
func Cycles() uint64 { return 0 }

//go:build amd64 || arm64

package clock

import "runtime"

const hasCounter = true

// arm64's generic timer is constant by architecture; x86 tells by a flag.
var counterNeedsFlag = runtime.GOARCH == "amd64"

// Cycles reads the processor's constant-rate cycle counter.
//
//go:noescape
func Cycles() uint64

// Package clock gives the time that workers use: processor cycles for
// measuring stages and monotonic nanoseconds made from them for deadlines.
//
// Reading the cycle counter takes a few nanoseconds and no system call. Where
// the processor has no usable counter, both fall back to the runtime's
// monotonic clock. Safe from any thread.
package clock

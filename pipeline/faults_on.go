//go:build ffwd_faults

package pipeline

const faults = true

package bindings

/*
#include <errno.h>
#include <rte_errno.h>
*/
import "C"

import (
	"errors"
	"fmt"
	"syscall"
)

// Errno is DPDK's error number: Linux's numbers and a few of its own from 1001 on.
// errors.Is matches it with the syscall.Errno of the same number, and so with
// fs.ErrNotExist, fs.ErrPermission and their kin.
type Errno int

// Error returns DPDK's text for the number.
func (e Errno) Error() string { return C.GoString(C.rte_strerror(C.int(e))) }

// Is reports whether target is the same number as a syscall.Errno, or one of the
// conditions of package fs that this number stands for.
func (e Errno) Is(target error) bool {
	if number, ok := target.(syscall.Errno); ok {
		return number == syscall.Errno(e)
	}
	return syscall.Errno(e).Is(target)
}

// ErrNotSupported is what a driver without the operation answers.
const ErrNotSupported = Errno(C.ENOTSUP)

// ErrOnce says that the EAL has been started before: DPDK allows it once per
// process, also after a failure or a cleanup.
var ErrOnce = errors.New("the EAL starts only once per process")

// Error is a failed DPDK call. It prints as one line.
type Error struct {
	Op     string // what was tried: "configure", "set mtu"
	Object string // what it was tried on: "net_pcap0", "mempool mbufs0"
	Errno  Errno  // 0 if DPDK gave none
	Reason string // what DPDK logged about it, or a remedy; may be empty
}

// Error formats as "op object: reason (errno text)", leaving out what is not known.
func (e *Error) Error() string {
	head := e.Op
	if e.Object != "" {
		head += " " + e.Object
	}
	switch {
	case e.Reason == "" && e.Errno == 0:
		return head + ": failed"
	case e.Reason == "":
		return head + ": " + e.Errno.Error()
	case e.Errno == 0:
		return head + ": " + e.Reason
	}
	return fmt.Sprintf("%s: %s (%s)", head, e.Reason, e.Errno.Error())
}

// Unwrap gives errors.Is the number.
func (e *Error) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

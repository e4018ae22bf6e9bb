package bindings

/*
#include <rte_log.h>
#include "shim_log.h"
*/
import "C"

import (
	"runtime"
	"strings"
	"sync"
	"unsafe"
)

// firstFault returns the first error that DPDK logged from line number seq on, or "". Only
// the last FFWD_LOG_LINES lines are kept.
func firstFault(seq uint64) string {
	end := uint64(C.ffwd_log_seq())
	if end-seq > C.FFWD_LOG_LINES {
		seq = end - C.FFWD_LOG_LINES
	}
	for ; seq < end; seq++ {
		var text [C.FFWD_LOG_WIDTH]byte
		var level C.uint32_t
		n := C.ffwd_log_line(C.uint64_t(seq), (*C.char)(unsafe.Pointer(&text[0])), &level)
		if n >= 0 && level <= C.RTE_LOG_ERR { // the smaller, the worse
			return string(text[:n])
		}
	}
	return ""
}

// stdio guards the one process-wide pair of C streams.
var stdio sync.Mutex

// control runs one DPDK call of the control side and makes its result, 0 or more for
// success, a negative errno for failure or -1 for "see rte_errno", an error. C's
// stdout and stderr are turned to the log ring meanwhile, and the first error in it
// is the reason given: DPDK logs the root first and its consequences after it.
func control(op, object string, call func() C.int) error {
	stdio.Lock()
	defer stdio.Unlock()
	runtime.LockOSThread() // rte_errno is per thread
	defer runtime.UnlockOSThread()

	start := C.ffwd_log_seq()
	C.ffwd_stdio_capture()
	ret := call()
	errno := Errno(-ret)
	if ret == -1 {
		errno = lastErrno() // 0: drivers that say -1 seldom mean EPERM
	}
	C.ffwd_stdio_release()
	if ret >= 0 {
		return nil
	}
	return &Error{Op: op, Object: object, Errno: errno, Reason: tidy(firstFault(uint64(start)))}
}

// tidy strips the "EAL: ", "PMD: ", "FATAL: ", "function(): " that DPDK puts in front and
// the full stop and line noise behind.
func tidy(line string) string {
	line = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, line)
	for {
		head, rest, ok := strings.Cut(line, ": ")
		if !ok || rest == "" || !(isLogType(head) || strings.HasSuffix(head, "()")) {
			break
		}
		line = rest
	}
	return strings.TrimRight(strings.TrimSpace(line), ".! ")
}

// isLogType tells "EAL", "PMD" and "FATAL" from the first word of a sentence.
func isLogType(word string) bool {
	for _, r := range word {
		if (r < 'A' || r > 'Z') && r != '_' {
			return false
		}
	}
	return word != ""
}

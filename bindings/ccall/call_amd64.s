#include "textflag.h"

// func Call(fn, arg unsafe.Pointer) int32
//
// runtime.asmcgocall is what cgo's own calls end in, and what the runtime calls C with when
// it does not expect to wait.
//
// There is no map of the frame's pointers: the goroutine runs until fn returns, and whoever wants
// to look at its stack, or to move it, waits for that.
TEXT ·Call(SB), NOSPLIT, $24-20
	MOVQ fn+0(FP), AX
	MOVQ arg+8(FP), BX
	MOVQ AX, 0(SP)
	MOVQ BX, 8(SP)
	CALL runtime·asmcgocall(SB)
	MOVL 16(SP), AX
	MOVL AX, ret+16(FP)
	RET

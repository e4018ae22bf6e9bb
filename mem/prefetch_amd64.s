#include "textflag.h"

// func Prefetch(base unsafe.Pointer, stride uintptr, idx *uint32, n int)
TEXT ·Prefetch(SB), NOSPLIT, $0-32
	MOVQ base+0(FP), DI
	MOVQ stride+8(FP), SI
	MOVQ idx+16(FP), DX
	MOVQ n+24(FP), CX
	SUBQ $4, CX
	JLT  tail

quad: // four at a time: the multiplications overlap
	MOVL 0(DX), R8
	MOVL 4(DX), R9
	MOVL 8(DX), R10
	MOVL 12(DX), R11
	IMULQ SI, R8
	IMULQ SI, R9
	IMULQ SI, R10
	IMULQ SI, R11
	PREFETCHT0 (DI)(R8*1)
	PREFETCHT0 (DI)(R9*1)
	PREFETCHT0 (DI)(R10*1)
	PREFETCHT0 (DI)(R11*1)
	ADDQ $16, DX
	SUBQ $4, CX
	JGE  quad

tail:
	ADDQ $4, CX
	JLE  done

one:
	MOVL 0(DX), R8
	IMULQ SI, R8
	PREFETCHT0 (DI)(R8*1)
	ADDQ $4, DX
	DECQ CX
	JGT  one

done:
	RET

// func PrefetchUpper24(base unsafe.Pointer, idx *uint32, n int)
TEXT ·PrefetchUpper24(SB), NOSPLIT, $0-24
	MOVQ base+0(FP), DI
	MOVQ idx+8(FP), DX
	MOVQ n+16(FP), CX
	SUBQ $4, CX
	JLT  tail

quad: // entry i>>8 is the 4 bytes at i>>8<<2; any byte of their line will do, such as i>>6
	MOVL 0(DX), R8
	MOVL 4(DX), R9
	MOVL 8(DX), R10
	MOVL 12(DX), R11
	SHRL $6, R8
	SHRL $6, R9
	SHRL $6, R10
	SHRL $6, R11
	PREFETCHT0 (DI)(R8*1)
	PREFETCHT0 (DI)(R9*1)
	PREFETCHT0 (DI)(R10*1)
	PREFETCHT0 (DI)(R11*1)
	ADDQ $16, DX
	SUBQ $4, CX
	JGE  quad

tail:
	ADDQ $4, CX
	JLE  done

one:
	MOVL 0(DX), R8
	SHRL $6, R8
	PREFETCHT0 (DI)(R8*1)
	ADDQ $4, DX
	DECQ CX
	JGT  one

done:
	RET

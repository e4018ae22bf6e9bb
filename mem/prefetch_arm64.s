#include "textflag.h"

// func Prefetch(base unsafe.Pointer, stride uintptr, idx *uint32, n int)
TEXT ·Prefetch(SB), NOSPLIT, $0-32
	MOVD base+0(FP), R0
	MOVD stride+8(FP), R1
	MOVD idx+16(FP), R2
	MOVD n+24(FP), R3
	SUBS $4, R3
	BLT  tail

quad: // four at a time: the multiplications overlap
	MOVWU.P 4(R2), R4
	MOVWU.P 4(R2), R5
	MOVWU.P 4(R2), R6
	MOVWU.P 4(R2), R7
	MADD R4, R0, R1, R8 // R8 = R0 + R1*R4
	MADD R5, R0, R1, R9
	MADD R6, R0, R1, R10
	MADD R7, R0, R1, R11
	PRFM (R8), PLDL1KEEP
	PRFM (R9), PLDL1KEEP
	PRFM (R10), PLDL1KEEP
	PRFM (R11), PLDL1KEEP
	SUBS $4, R3
	BGE  quad

tail:
	ADDS $4, R3
	BLE  done

one:
	MOVWU.P 4(R2), R4
	MADD R4, R0, R1, R8
	PRFM (R8), PLDL1KEEP
	SUBS $1, R3
	BGT  one

done:
	RET

// func PrefetchUpper24(base unsafe.Pointer, idx *uint32, n int)
TEXT ·PrefetchUpper24(SB), NOSPLIT, $0-24
	MOVD base+0(FP), R0
	MOVD idx+8(FP), R2
	MOVD n+16(FP), R3
	CBZ  R3, done
	TBNZ $63, R3, done

one:
	MOVWU.P 4(R2), R4
	LSRW $6, R4, R4 // entry i>>8 is the 4 bytes at i>>8<<2; any byte of their line will do
	ADD  R0, R4
	PRFM (R4), PLDL1KEEP
	SUBS $1, R3
	BGT  one

done:
	RET

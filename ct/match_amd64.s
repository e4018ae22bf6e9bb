#include "textflag.h"

// func matchHomes(buckets unsafe.Pointer, numBuckets uint64, flows unsafe.Pointer, hashes *uint64, stride uintptr, found *uint32, n int)
//
// One loop asks for the buckets. The other reads them without a branch: a packet's tag
// in all bytes of X0 is compared with the bucket's first 16 bytes, 12 of which are tags;
// bit 11 is set whatever comes out, so that there is a lowest one among the 12.
// PSHUFB is of SSSE3; DPDK asks for more.
TEXT ·matchHomes(SB), NOSPLIT, $0-56
	MOVQ  buckets+0(FP), DI
	MOVQ  numBuckets+8(FP), SI
	MOVQ  flows+16(FP), DX
	MOVQ  hashes+24(FP), R8
	MOVQ  stride+32(FP), R9
	MOVQ  found+40(FP), R10
	MOVQ  n+48(FP), CX
	TESTQ CX, CX
	JLE   done
	MOVQ  R8, R11
	MOVQ  CX, R12

home: // as in Table.home
	MOVL  (R11), AX
	ADDQ  R9, R11
	IMULQ SI, AX
	SHRQ  $32, AX
	SHLQ  $6, AX
	PREFETCHT0 (DI)(AX*1)
	DECQ  R12
	JGT   home

	PXOR  X1, X1

match:
	MOVQ  (R8), AX
	ADDQ  R9, R8
	MOVL  AX, BX
	IMULQ SI, BX
	SHRQ  $32, BX
	SHLQ  $6, BX
	ADDQ  DI, BX
	SHRQ  $56, AX // as in tagOf
	CMPQ  AX, $1
	ADCQ  $0, AX
	MOVQ  AX, X0
	PSHUFB X1, X0
	PCMPEQB (BX), X0
	PMOVMSKB X0, AX
	ORL   $0x800, AX
	BSFL  AX, AX
	MOVL  16(BX)(AX*4), AX
	MOVL  AX, (R10)
	ADDQ  $4, R10
	SHLQ  $6, AX
	PREFETCHT0 (DX)(AX*1)
	DECQ  CX
	JGT   match

done:
	RET

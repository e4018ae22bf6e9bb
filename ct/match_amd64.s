#include "textflag.h"

// func prefetchHomes(buckets unsafe.Pointer, numBuckets uint64, hashes *uint64, stride uintptr, n int)
TEXT ·prefetchHomes(SB), NOSPLIT, $0-40
	MOVQ  buckets+0(FP), DI
	MOVQ  numBuckets+8(FP), SI
	MOVQ  hashes+16(FP), R8
	MOVQ  stride+24(FP), R9
	MOVQ  n+32(FP), CX
	TESTQ CX, CX
	JLE   done

home: // as in Table.home
	MOVL  (R8), AX
	ADDQ  R9, R8
	IMULQ SI, AX
	SHRQ  $32, AX
	SHLQ  $6, AX
	PREFETCHT0 (DI)(AX*1)
	DECQ  CX
	JGT   home

done:
	RET

// func matchTags(buckets unsafe.Pointer, numBuckets uint64, flows unsafe.Pointer, hashes *uint64, stride uintptr, found, others *uint32, n int) int
//
// The long part of a packet's tag, in
// all bytes of X0, is compared with the bucket's first 16 bytes, 12 of which are tags, and
// the short part with that of the first slot that matches. Both branches are rarely taken.
// PSHUFB is of SSSE3; DPDK asks for more. TZCNT is BSF to a processor that does not know
// it, and to others does not wait for what was in the register: 3 cycles a packet.
//
// Flows are asked for into the second level, which waits for more lines at a time than the
// first; touchSettled has them brought nearer.
TEXT ·matchTags(SB), NOSPLIT, $0-72
	MOVQ  buckets+0(FP), DI
	MOVQ  numBuckets+8(FP), SI
	MOVQ  flows+16(FP), DX
	MOVQ  hashes+24(FP), R8
	MOVQ  stride+32(FP), R9
	MOVQ  found+40(FP), R10
	MOVQ  others+48(FP), R12
	MOVQ  n+56(FP), CX
	XORL  R13, R13
	TESTQ CX, CX
	JLE   done
	PXOR  X1, X1
	XORL  R15, R15 // number of the packet

match:
	MOVQ  (R8), AX
	ADDQ  R9, R8
	MOVL  AX, BX
	MOVL  AX, R11
	IMULQ SI, BX
	SHLL  $28, R11 // as in entryOf
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
	ANDL  $0xfff, AX
	JZ    none

slot:
	TZCNTL AX, R14
	MOVL  16(BX)(R14*4), R14
	XORL  R11, R14
	CMPL  R14, $0x10000000
	JCC   next

found:
	MOVL  R14, (R10)(R15*4)
	INCQ  R15
	SHLQ  $6, R14
	PREFETCHT1 (DX)(R14*1)
	CMPQ  R15, CX
	JLT   match

done:
	MOVQ  R13, ret+64(FP)
	RET

next:
	LEAL  -1(AX), R14
	ANDL  R14, AX
	JNZ   slot

none:
	MOVL  R15, (R12)(R13*4)
	INCQ  R13
	XORL  R14, R14
	JMP   found

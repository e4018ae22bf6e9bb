#include "textflag.h"
#include "layout_amd64.h"

// func keysAndHomes4(heads *packet.Head, n int, tail uint64, s *Secret, buckets unsafe.Pointer, numBuckets uint64)
//
//	DI head   CX how many are left   R8 the end of k1   R9 to R12 the secret   R13 buckets
//	R15 their number   BX frame   AX k0, hash   DX k1   SI ports   R14 turned
TEXT ·keysAndHomes4(SB), NOSPLIT, $0-48
	MOVQ heads+0(FP), DI
	MOVQ n+8(FP), CX
	MOVQ tail+16(FP), R8
	MOVQ s+24(FP), AX
	MOVQ buckets+32(FP), R13
	MOVQ numBuckets+40(FP), R15
	MOVQ 0(AX), R9
	MOVQ 8(AX), R10
	MOVQ 16(AX), R11
	MOVQ 24(AX), R12
	ORQ  $1, R12

head:
	MOVQ Data(DI), BX
	MOVBLZX Proto(DI), DX
	MOVQ 26(BX), AX // addresses
	MOVL 34(BX), SI // ports
	SHLL $8, DX
	ORQ  R8, DX
	MOVQ AX, R14
	ROLQ $32, R14
	MOVL SI, BX
	ROLL $16, BX
	CMPQ R14, AX
	JEQ  same

ordered: // as in canonical: the carry says that the packet's destination is the low end
	CMOVQCS R14, AX
	CMOVLCS BX, SI
	SBBL R14, R14
	ANDL $16, R14 // KeySwapped
	ORB  R14, HeadFlags(DI)
	SHLQ $32, SI
	ORQ  SI, DX
	MOVQ AX, Key0(DI)
	MOVQ DX, Key1(DI)
	XORQ R9, AX // as in hash
	XORQ R10, DX
	MULQ DX
	XORQ DX, AX
	XORQ R11, AX
	MULQ R12
	XORQ DX, AX
	MOVQ AX, Hash(DI)
	MOVL AX, AX // as in home
	IMULQ R15, AX
	SHRQ $32, AX
	SHLQ $6, AX
	PREFETCHT0 (R13)(AX*1)
	ADDQ $HeadSize, DI
	DECQ CX
	JGT  head
	RET

same: // a host that talks to itself
	CMPL BX, SI
	JMP  ordered

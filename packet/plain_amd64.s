#include "textflag.h"
#include "go_asm.h"

// ones<> x the 64-bit sum of a header is at most limit<> if it is a multiple of 0xffff:
// division by multiplication, see IPv4.ChecksumOK.
DATA ones<>+0(SB)/8, $0xfffefffefffeffff
GLOBL ones<>(SB), RODATA|NOPTR, $8
DATA limit<>+0(SB)/8, $0x0001000100010001
GLOBL limit<>(SB), RODATA|NOPTR, $8

// The end of a Head, from Len on: L3 14, L4 20, Flags HasPorts, Verdict Continue.
DATA tail<>+0(SB)/8, $0x00010800140e0000
GLOBL tail<>(SB), RODATA|NOPTR, $8

// func plainFrames4(mbufs **Mbuf, from, n int, mac uint64, r *Run) (taken int, bytes, protocols uint64)
//
//	SI mbufs   CX n   BX i   DI head i   R12 sizes   R13 destinations   R14 Martian4
//	R15 protocols   X3 bytes   X15 X14 X13 what to compare, see below
//	from good on R8 is the run
//	R8 mbuf, its flags   R9 its length   R10 frame   R11 destination   AX length   DX protocol
TEXT ·plainFrames4(SB), NOSPLIT, $0-64
	MOVQ mbufs+0(FP), SI
	MOVQ n+16(FP), CX
	MOVQ mac+24(FP), X15
	MOVQ r+32(FP), DI
	LEAQ Run_Size(DI), R12
	LEAQ Run_Dst4(DI), R13
	LEAQ ·Martian4(SB), R14
	MOVQ from+8(FP), BX
	IMUL3Q $Head__size, BX, AX
	ADDQ AX, DI
	XORL R15, R15
	PXOR X3, X3

	// Octets 0 to 15: our address; any source; ethertype, version, header length; any TOS.
	MOVQ $0x0045000800000000, AX
	MOVQ AX, X0
	PUNPCKLQDQ X0, X15
	MOVQ $0x0000ffffffffffff, AX
	MOVQ AX, X14
	MOVQ $0x00ffffff00000000, AX
	MOVQ AX, X0
	PUNPCKLQDQ X0, X14

	// Octets 16 to 31: MF and the offset, none.
	MOVQ $0x0000ff3f00000000, AX
	MOVQ AX, X13

frame:
	MOVQ (SI)(BX*8), R8
	MOVWLZX Mbuf_DataLen(R8), R9
	MOVWLZX Mbuf_DataOff(R8), R10
	ADDQ Mbuf_BufAddr(R8), R10
	CMPL R9, $42
	JLT done
	MOVOU (R10), X0
	MOVOU 16(R10), X1
	PAND X14, X0
	PXOR X15, X0
	PAND X13, X1
	POR X1, X0
	PTEST X0, X0 // of SSE4.1, as DPDK asks for
	JNE done
	MOVBLZX 26(R10), AX
	MOVBLZX 30(R10), DX
	MOVBLZX (R14)(AX*1), AX
	ORB (R14)(DX*1), AX
	JNE done
	CMPB 22(R10), $1
	JLS done
	MOVWLZX 16(R10), AX
	MOVBLZX 23(R10), DX
	ROLW $8, AX
	MOVL 30(R10), R11
	ADDL $14, AX
	CMPL AX, R9
	JGT done
	CMPL DX, $17
	JNE tcp
	MOVWLZX 38(R10), R9 // UDP's length
	ROLW $8, R9
	CMPL R9, $8
	JLT done
	ADDL $34, R9
	CMPL R9, AX // so AX is 42 at least
	JGT done
	MOVWLZX Mbuf_DataLen(R8), R9

whole:
	MOVQ Mbuf_OlFlags(R8), R8
	TESTL $0x50, R8 // RxVLANStripped, RxIPCksumBad
	JNE done
	TESTL $0x80, R8 // RxIPCksumGood
	JNE good
	MOVQ 14(R10), R8
	ADDQ 22(R10), R8
	ADCQ R11, R8
	ADCQ $0, R8
	IMULQ ones<>(SB), R8
	CMPQ R8, limit<>(SB)
	JHI done

good:
	BSWAPL R11
	MOVL R11, (R13)(BX*4)
	LEAL -14(AX), R11
	MOVW R11, (R12)(BX*2)
	MOVQ r+32(FP), R8
	MOVB DX, Run_Proto(R8)(BX*1)
	MOVL 26(R10), R11
	BSWAPL R11
	MOVL R11, Run_Src4(R8)(BX*4)
	MOVL 34(R10), R11
	MOVL R11, Run_Ports(R8)(BX*4)
	ORL DX, R15
	SHLQ $32, DX
	ORQ AX, DX
	ORQ tail<>(SB), DX
	MOVQ R10, Head_Data(DI)
	MOVQ DX, Head_Len(DI)
	MOVQ R9, X4
	PADDQ X4, X3
	ADDQ $Head__size, DI
	INCQ BX
	CMPQ BX, CX
	JLT frame

done:
	MOVQ BX, taken+40(FP)
	MOVQ X3, bytes+48(FP)
	MOVQ R15, protocols+56(FP)
	RET

tcp:
	CMPL DX, $6
	JNE done
	CMPL AX, $54
	JLT done
	JMP whole

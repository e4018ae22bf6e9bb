#include "textflag.h"
#include "layout_amd64.h"

// func touchSettled(heads *packet.Head, stride uintptr, n int, candidates *uint32, flows unsafe.Pointer, now uint32, timeouts *Timeouts) int
//
//	DI head   SI stride   R8 timeouts   CX n   R9 candidates   R10 flows   R11 now   BX i
//	R12 flow   R13 its flags   R14 the head's   R15 direction   AX lives   DX deadline
TEXT ·touchSettled(SB), NOSPLIT, $0-64
	MOVQ heads+0(FP), DI
	MOVQ stride+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ candidates+24(FP), R9
	MOVQ flows+32(FP), R10
	MOVL now+40(FP), R11
	MOVQ timeouts+48(FP), R8
	XORL BX, BX
	CMPQ BX, CX
	JGE  done

packet:
	LEAQ 8(BX), AX // the flow of a packet ahead, or behind the last this one's
	CMPQ AX, CX
	CMOVQGE BX, AX
	MOVL (R9)(AX*4), DX
	SHLQ $6, DX
	PREFETCHT0 (R10)(DX*1)
	MOVL (R9)(BX*4), R12
	SHLQ $6, R12
	ADDQ R10, R12
	MOVQ Key0(DI), AX
	MOVQ Key1(DI), DX
	CMPQ AX, 0(R12)
	JNE  done
	CMPQ DX, 8(R12)
	JNE  done
	CMPB Verdict(DI), $1 // Continue
	JNE  done
	MOVBLZX HeadFlags(DI), R14
	MOVBLZX Flags(R12), R13
	MOVL R14, R15
	XORL R13, R15
	SHRL $4, R15 // origSwapped
	ANDL $1, R15
	MOVL R15, DX
	SHLL $5, DX // seenReply, if it is one
	ORL  DX, R14
	ORL  $2, DX // settled
	MOVL R13, AX
	ANDL DX, AX
	CMPL AX, DX
	JNE  done
	TESTL $1, R14 // IsIPv6
	JNE  done
	MOVWLZX Policy(R12), AX
	MOVBLZX State(R12), DX
	SHLQ $7, AX // a row of Timeouts
	ADDQ R8, AX
	CMPL DX, $2 // UDPAnswered
	JEQ  answered

old:
	MOVL (AX)(DX*4), AX
	MOVL R11, DX
	ADDL AX, DX           // the new deadline
	SUBL Deadline(R12), DX
	CMPL DX, AX           // closer than before, or behind the old one
	JCC  done
	MOVL Packets(R12)(R15*4), DX
	INCL DX
	JZ   done
	MOVL DX, Packets(R12)(R15*4)
	ADDL R11, AX
	MOVL AX, Deadline(R12)
	MOVWLZX Len(DI), AX
	MOVBLZX L3(DI), DX
	SUBL DX, AX
	ADDQ AX, Bytes(R12)(R15*8)
	MOVB R14, HeadFlags(DI)
	SHRL $5, R13 // seenReply: established, else new
	ANDL $1, R13
	INCL R13
	MOVB R13, HeadState(DI)
	MOVL (R9)(BX*4), AX
	MOVL AX, HeadFlow(DI)
	ADDQ SI, DI
	INCQ BX
	CMPQ BX, CX
	JLT  packet

done:
	MOVQ BX, ret+56(FP)
	RET

answered: // as Flow.age and young
	MOVL R11, R13
	SHRL $8, R13
	SUBB Born(R12), R13
	CMPB R13, $6
	JHI  done
	MOVBLZX Flags(R12), R13
	JMP  old

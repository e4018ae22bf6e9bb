#include "textflag.h"
#include "layout_amd64.h"

// ARGUMENTS loads those that both loops have.
#define ARGUMENTS \
	MOVQ n+16(FP), CX        \
	MOVQ candidates+24(FP), R9 \
	MOVQ flows+32(FP), R10   \
	MOVL now+40(FP), R11     \
	MOVQ timeouts+48(FP), R8 \
	XORL BX, BX

// FOUND makes R12 the flow found for packet BX, whose key it has, and asks for that of a packet
// ahead.
#define FOUND \
	MOVL (4*Ahead)(R9)(BX*4), AX \
	SHLQ $6, AX              \
	PREFETCHT0 (R10)(AX*1)   \
	MOVL (R9)(BX*4), R12     \
	SHLQ $6, R12             \
	ADDQ R10, R12            \
	MOVQ Key0(DI), AX        \
	MOVQ Key1(DI), DX        \
	CMPQ AX, 0(R12)          \
	JNE  done                \
	CMPQ DX, 8(R12)          \
	JNE  done

// SETTLED makes sure that the flow is settled, and has seen a reply if the packet, whose flags
// are in R15, is one: R15 is 4 then, else 0. R13 are the flow's flags. AX is how long it lives.
#define SETTLED \
	MOVBLZX Flags(R12), R13  \
	XORL R13, R15            \
	ANDL $16, R15            \ // origSwapped
	LEAL 2(R15*2), DX        \ // settled, and seenReply if it is one
	SHRL $2, R15             \
	MOVL R13, AX             \
	ANDL DX, AX              \
	CMPL AX, DX              \
	JNE  done                \
	MOVWLZX Policy(R12), AX  \
	MOVBLZX State(R12), DX   \
	SHLQ $7, AX              \ // a row of Timeouts
	ADDQ R8, AX              \
	CMPL DX, $2              \ // UDPAnswered
	JEQ  answered            \
old:                             \
	MOVL (AX)(DX*4), AX

// RENEW moves the deadline, which neither comes closer nor has passed, and counts the packet.
#define RENEW \
	LEAL (R11)(AX*1), R14    \
	MOVL R14, DX             \
	SUBL Deadline(R12), DX   \
	CMPL DX, AX              \
	JCC  done                \
	MOVL Packets(R12)(R15*1), DX \
	INCL DX                  \
	JZ   done                \
	MOVL DX, Packets(R12)(R15*1) \
	MOVL R14, Deadline(R12)

// YOUNG lets flows of UDP pass that are: as Flow.age and young.
#define YOUNG \
answered:                        \
	MOVL R11, R14            \
	SHRL $8, R14             \
	SUBB Born(R12), R14      \
	CMPB R14, $6             \
	JLS  old

// func joinSettled(heads *packet.Head, sizes *uint16, n int, candidates *uint32, flows unsafe.Pointer, now uint32, timeouts *Timeouts) int
//
//	DI head   SI size   R8 timeouts   CX n   R9 candidates   R10 flows   R11 now   BX i
TEXT ·joinSettled(SB), NOSPLIT, $0-64
	MOVQ heads+0(FP), DI
	MOVQ sizes+8(FP), SI
	ARGUMENTS

packet:
	FOUND
	MOVBLZX HeadFlags(DI), R15
	SETTLED
	RENEW
	MOVWLZX (SI)(BX*2), AX
	ADDQ AX, Bytes(R12)(R15*2)
	ADDQ $HeadSize, DI
	INCQ BX
	CMPQ BX, CX
	JLT  packet

done:
	MOVQ BX, ret+56(FP)
	RET
	YOUNG
	JMP  done

// func touchSettled(heads *packet.Head, stride uintptr, n int, candidates *uint32, flows unsafe.Pointer, now uint32, timeouts *Timeouts) int
//
// As joinSettled; SI is the stride.
TEXT ·touchSettled(SB), NOSPLIT, $0-64
	MOVQ heads+0(FP), DI
	MOVQ stride+8(FP), SI
	ARGUMENTS

packet:
	FOUND
	CMPB Verdict(DI), $1 // Continue
	JNE  done
	MOVBLZX HeadFlags(DI), R15
	TESTL $1, R15 // IsIPv6
	JNE  done
	SETTLED
	RENEW
	MOVWLZX Len(DI), AX
	MOVBLZX L3(DI), DX
	SUBL DX, AX
	ADDQ AX, Bytes(R12)(R15*2)
	SHLL $3, R15 // seenReply
	ORB  R15, HeadFlags(DI)
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
	YOUNG
	JMP  done

#include "textflag.h"
#include "layout_amd64.h"

// The factors of segmentDigest.
DATA factors<>+0(SB)/8, $0x9e3779b97f4a7c15
DATA factors<>+8(SB)/8, $0xd6e8feb86659fd93
GLOBL factors<>(SB), RODATA|NOPTR, $16

// func touchSegments(heads *packet.Head, stride uintptr, n int, candidates *uint32, flows, windows unsafe.Pointer, now uint32, timeouts *Timeouts, odd uint8) int
//
//	DI head   BX i   R12 flow   R13 window   SI own side   R11 other side   R15 direction
//	R8 header, announced window   R9 bytes, deadline   R10 payload, end   DX acknowledged
//	R14 digest   AX CX
//
// In the order of touchTCPPlain. Nothing is written before all has been looked at.
TEXT ·touchSegments(SB), NOSPLIT, $0-80
	MOVQ heads+0(FP), DI
	ORB  $4, odd+64(FP) // assured, which it must have, beside those that it must not have
	XORL BX, BX

packet:
	MOVQ candidates+24(FP), AX
	MOVL (AX)(BX*4), R13
	MOVQ R13, R12
	SHLQ $6, R12
	ADDQ flows+32(FP), R12
	MOVQ Key0(DI), AX
	MOVQ Key1(DI), DX
	CMPQ AX, 0(R12)
	JNE  done
	CMPQ DX, 8(R12)
	JNE  done
	CMPB State(R12), $TCPEstablished
	JNE  done
	MOVBLZX Flags(R12), DX
	MOVBLZX odd+64(FP), AX
	ANDL DX, AX
	CMPL AX, $4
	JNE  done
	CMPB Verdict(DI), $1 // Continue
	JNE  done
	MOVBLZX HeadFlags(DI), R15
	TESTL $3, R15 // IsIPv6, IsFragment
	JNE  done
	XORL DX, R15
	SHRL $4, R15 // origSwapped
	ANDL $1, R15

	// The header: data or an acknowledgement, without options or with timestamps.
	MOVBLZX L3(DI), AX
	MOVQ Data(DI), R8
	ADDQ AX, R8
	MOVWLZX Len(DI), R10
	SUBL AX, R10
	MOVBLZX L4(DI), AX
	ADDQ AX, R8
	SUBL AX, R10
	MOVBLZX 12(R8), DX
	ANDL $0xf0, DX
	SHRL $2, DX
	SUBL DX, R10
	JMI  done
	MOVBLZX 13(R8), AX
	ANDL $0x17, AX
	CMPL AX, $0x10 // ACK without FIN, SYN, RST
	JNE  done
	CMPL DX, $20
	JNE  options

sides:
	SHLQ $5, R13
	ADDQ windows+40(FP), R13
	MOVL R15, AX
	SHLL $4, AX
	LEAQ (R13)(AX*1), SI
	XORL $16, AX
	LEAQ (R13)(AX*1), R11

	// The digest, of which the latest segment has another one.
	MOVL 4(R8), CX
	MOVL 8(R8), DX
	MOVWLZX 14(R8), R8
	BSWAPL CX
	BSWAPL DX
	ROLW $8, R8
	MOVQ CX, AX
	SHLQ $32, AX
	ORQ  DX, AX
	MOVL R10, R14
	SHLQ $16, R14
	ORQ  R8, R14
	LEAQ (R15)(R14*2), R14
	IMULQ factors<>+0(SB), R14
	XORQ AX, R14
	IMULQ factors<>+8(SB), R14
	SHRQ $56, R14
	CMPB R14, Digest(R13)
	JEQ  done

	// Sequence numbers: none behind its side's, inside the windows.
	ADDL CX, R10
	MOVL R10, AX
	SUBL End(SI), AX
	MOVL MaxEnd(SI), CX
	SUBL R10, CX
	ORL  CX, AX
	MOVL DX, CX
	SUBL MaxAck(SI), CX
	ORL  CX, AX
	JMI  done
	MOVBLZX Bits(SI), CX
	TESTL $0x80, CX // sideAcked
	JEQ  done
	LEAL -1(R8), AX
	CMPW AX, MaxWin(SI)
	JCC  done
	ANDL $15, CX // scaleMask
	SHLL CX, R8
	MOVL End(R11), AX
	SUBL DX, AX
	MOVL $66000, CX // maxAckLag
	CMPL CX, R8
	CMOVLCS R8, CX
	CMPL AX, CX
	JHI  done

	// Who has data out that is not acknowledged: own bits in CL, the other's above them.
	XORL CX, CX
	CMPL R10, End(SI)
	SETNE CX
	SHLL $6, CX // sideUnacked
	ORB  Bits(SI), CX
	CMPL AX, $1 // carries if nothing is
	SBBL AX, AX
	ANDL $0x40, AX
	NOTL AX
	ANDB Bits(R11), AX
	MOVBLZX AX, AX
	SHLL $8, AX
	ORL  AX, CX

	// The deadline.
	MOVWLZX Policy(R12), AX
	SHLQ $7, AX // a row of Timeouts
	ADDQ timeouts+56(FP), AX
	MOVL (4*TCPEstablished)(AX), R9
	TESTL $0x4040, CX
	JEQ  idle
	MOVL (4*TCPUnacknowledged)(AX), AX
	CMPL AX, R9
	CMOVLCS AX, R9

idle:
	ADDL now+48(FP), R9
	MOVL Deadline(R12), AX
	SUBL now+48(FP), AX
	TESTL AX, AX
	JLE  done
	MOVL R9, AX
	SUBL Deadline(R12), AX
	JMI  closer

counters:
	MOVL Packets(R12)(R15*4), AX
	INCL AX
	JZ   done
	MOVL AX, Packets(R12)(R15*4)
	MOVL R9, Deadline(R12)
	MOVB R14, Digest(R13)
	MOVB CX, Bits(SI)
	SHRL $8, CX
	MOVB CX, Bits(R11)
	MOVL R10, End(SI)
	MOVL DX, MaxAck(SI)
	ADDL R8, DX
	MOVL DX, AX
	SUBL MaxEnd(R11), AX
	TESTL AX, AX
	JLE  narrow
	MOVL DX, MaxEnd(R11)

narrow:
	MOVBLZX More(R13), AX
	MOVL R15, CX
	SHLL $5, CX // connLastBack, and seenReply
	ANDL $0xdc, AX // but for retransMask, connLastBack
	ORL  CX, AX
	ORL  $0x40, AX // connLastEnd
	MOVB AX, More(R13)
	ORB  CX, HeadFlags(DI)
	MOVB $2, HeadState(DI) // CtEstablished
	MOVWLZX Len(DI), AX
	MOVBLZX L3(DI), CX
	SUBL CX, AX
	ADDQ AX, Bytes(R12)(R15*8)
	MOVQ candidates+24(FP), AX
	MOVL (AX)(BX*4), AX
	MOVL AX, HeadFlow(DI)
	ADDQ stride+8(FP), DI
	INCQ BX
	CMPQ BX, n+16(FP)
	JLT  packet

done:
	MOVQ BX, ret+72(FP)
	RET

closer: // only where the wheel has it for its shorter timeout already
	TESTB $8, Flags(R12) // early
	JNE  counters
	JMP  done

options: // timestampsOnly
	CMPL DX, $32
	JNE  done
	CMPL 20(R8), $0x0a080101
	JNE  done
	JMP  sides

#include "textflag.h"
#include "layout_amd64.h"

// The factors of segmentDigest.
DATA factors<>+0(SB)/8, $0x9e3779b97f4a7c15
DATA factors<>+8(SB)/8, $0xd6e8feb86659fd93
GLOBL factors<>(SB), RODATA|NOPTR, $16

// The pieces of both loops below, in the order of touchTCPPlain. Nothing is written before all
// has been looked at. Their registers:
//
//	DI head   BX i   R12 flow   R13 window   SI own side   R11 other side   R15 direction
//	R8 header, announced window   R9 deadline   R10 payload, end   DX acknowledged
//	R14 digest   AX CX

// CONNECTION makes R12 the flow found for the packet, whose key it has: an established
// connection, with flags DX.
#define CONNECTION \
	MOVQ candidates+24(FP), AX \
	MOVL (AX)(BX*4), R13       \
	MOVQ R13, R12              \
	SHLQ $6, R12               \
	ADDQ flows+32(FP), R12     \
	MOVQ Key0(DI), AX          \
	MOVQ Key1(DI), DX          \
	CMPQ AX, 0(R12)            \
	JNE  done                  \
	CMPQ DX, 8(R12)            \
	JNE  done                  \
	CMPB State(R12), $TCPEstablished \
	JNE  done                  \
	MOVBLZX Flags(R12), DX     \
	MOVL DX, AX                \
	ANDL $(Assured|Odd), AX    \
	CMPL AX, $Assured          \
	JNE  done

// HEADER takes data or an acknowledgement without options; those with timestamps come back
// from OPTIONS. R10, what the network header leaves, becomes the payload.
#define HEADER \
	MOVWLZX 12(R8), AX         \
	ANDL $0x17f0, AX           \ // length, ACK, FIN, SYN, RST
	CMPL AX, $0x1050           \ // 20 bytes, ACK alone
	JNE  options               \
	SUBL $20, R10              \
	JMI  done                  \
sides:

// SIDES finds both sides of the window, and the digest, of which the latest segment has
// another one. R15 has the packet's flags.
#define SIDES \
	XORL DX, R15               \
	ANDL $16, R15              \ // origSwapped: a reply
	SHLQ $5, R13               \
	ADDQ windows+40(FP), R13   \
	LEAQ (R13)(R15*1), SI      \
	MOVL R15, AX               \
	XORL $16, AX               \
	LEAQ (R13)(AX*1), R11      \
	SHRL $4, R15               \
	MOVQ 4(R8), AX             \
	MOVWLZX 14(R8), R8         \
	BSWAPQ AX                  \
	ROLW $8, R8                \
	MOVL AX, DX                \
	MOVQ AX, CX                \
	SHRQ $32, CX               \
	MOVL R10, R14              \
	SHLQ $16, R14              \
	ORQ  R8, R14               \
	LEAQ (R15)(R14*2), R14     \
	IMULQ factors<>+0(SB), R14 \
	XORQ AX, R14               \
	IMULQ factors<>+8(SB), R14 \
	SHRQ $56, R14              \
	CMPB R14, Digest(R13)      \
	JEQ  done

// NUMBERS makes sure that none is behind its side's, all are inside the windows. AX is what
// the other side has sent and this one not acknowledged.
#define NUMBERS \
	ADDL CX, R10               \
	MOVL R10, AX               \
	SUBL End(SI), AX           \
	MOVL MaxEnd(SI), CX        \
	SUBL R10, CX               \
	ORL  CX, AX                \
	MOVL DX, CX                \
	SUBL MaxAck(SI), CX        \
	ORL  CX, AX                \
	JMI  done                  \
	MOVBLZX Bits(SI), CX       \
	TESTL $0x80, CX            \ // sideAcked
	JEQ  done                  \
	LEAL -1(R8), AX            \
	CMPW AX, MaxWin(SI)        \
	JCC  done                  \
	ANDL $15, CX               \ // scaleMask
	SHLL CX, R8                \
	MOVL End(R11), AX          \
	SUBL DX, AX                \
	MOVL $66000, CX            \ // maxAckLag
	CMPL CX, R8                \
	CMOVLCS R8, CX             \
	CMPL AX, CX                \
	JHI  done

// UNACKED tells who has data out that is not acknowledged: own bits in CL, the other's
// above them.
#define UNACKED \
	XORL CX, CX                \
	CMPL R10, End(SI)          \
	SETNE CX                   \
	SHLL $6, CX                \ // sideUnacked
	ORB  Bits(SI), CX          \
	CMPL AX, $1                \ // carries if nothing is
	SBBL AX, AX                \
	ANDL $0x40, AX             \
	NOTL AX                    \
	ANDB Bits(R11), AX         \
	MOVBLZX AX, AX             \
	SHLL $8, AX                \
	ORL  AX, CX

// LIVES makes R9 the new deadline. One that comes closer passes by CLOSER.
#define LIVES \
	MOVWLZX Policy(R12), AX    \
	SHLQ $7, AX                \ // a row of Timeouts
	ADDQ timeouts+56(FP), AX   \
	MOVL (4*TCPEstablished)(AX), R9 \
	TESTL $0x4040, CX          \
	JEQ  idle                  \
	MOVL (4*TCPUnacknowledged)(AX), AX \
	CMPL AX, R9                \
	CMOVLCS AX, R9             \
idle:                              \
	ADDL now+48(FP), R9        \
	MOVL Deadline(R12), AX     \
	SUBL now+48(FP), AX        \
	TESTL AX, AX               \
	JLE  done                  \
	MOVL R9, AX                \
	SUBL Deadline(R12), AX     \
	JMI  closer                \
counters:                          \
	MOVL Packets(R12)(R15*4), AX \
	INCL AX                    \
	JZ   done

// NOTE writes what flow and window have of the segment, but for its bytes. CX becomes
// seenReply if it is one.
#define NOTE \
	MOVL AX, Packets(R12)(R15*4) \
	MOVL R9, Deadline(R12)     \
	MOVB R14, Digest(R13)      \
	MOVB CX, Bits(SI)          \
	SHRL $8, CX                \
	MOVB CX, Bits(R11)         \
	MOVL R10, End(SI)          \
	MOVL DX, MaxAck(SI)        \
	ADDL R8, DX                \
	MOVL DX, AX                \
	SUBL MaxEnd(R11), AX       \
	TESTL AX, AX               \
	JLE  narrow                \
	MOVL DX, MaxEnd(R11)       \
narrow:                            \
	MOVBLZX More(R13), AX      \
	MOVL R15, CX               \
	SHLL $5, CX                \ // connLastBack, and seenReply
	ANDL $0xdc, AX             \ // but for retransMask, connLastBack
	ORL  CX, AX                \
	ORL  $0x40, AX             \ // connLastEnd
	MOVB AX, More(R13)

// SEGMENT is all that is the same in both, from the header on.
#define SEGMENT \
	HEADER                     \
	SIDES                      \
	NUMBERS                    \
	UNACKED                    \
	LIVES                      \
	NOTE

// CLOSER is where deadlines come closer: only if the wheel has the flow for its shorter
// timeout already.
#define CLOSER \
closer:                            \
	TESTB $8, Flags(R12)       \ // early
	JNE  counters              \
	JMP  done

// OPTIONS lets timestampsOnly pass.
#define OPTIONS \
options:                           \
	CMPL AX, $0x1080           \ // 32 bytes, ACK alone
	JNE  done                  \
	SUBL $32, R10              \ // before the options are looked at: there may be none
	JMI  done                  \
	CMPL 20(R8), $0x0a080101   \
	JNE  done                  \
	JMP  sides

// func joinSegments(heads *packet.Head, sizes *uint16, n int, candidates *uint32, flows, windows unsafe.Pointer, now uint32, timeouts *Timeouts) int
TEXT ·joinSegments(SB), NOSPLIT, $0-72
	MOVQ heads+0(FP), DI
	XORL BX, BX

packet:
	CONNECTION
	MOVBLZX HeadFlags(DI), R15
	MOVQ sizes+8(FP), AX
	MOVQ Data(DI), R8
	MOVWLZX (AX)(BX*2), R10
	ADDQ $34, R8 // Ethernet and IPv4
	SUBL $20, R10
	SEGMENT
	MOVQ sizes+8(FP), AX
	MOVWLZX (AX)(BX*2), AX
	ADDQ AX, Bytes(R12)(R15*8)
	ADDQ $HeadSize, DI
	INCQ BX
	CMPQ BX, n+16(FP)
	JLT  packet

done:
	MOVQ BX, ret+64(FP)
	RET
	CLOSER
	OPTIONS

// func touchSegments(heads *packet.Head, stride uintptr, n int, candidates *uint32, flows, windows unsafe.Pointer, now uint32, timeouts *Timeouts) int
TEXT ·touchSegments(SB), NOSPLIT, $0-72
	MOVQ heads+0(FP), DI
	XORL BX, BX

packet:
	CONNECTION
	CMPB Verdict(DI), $1 // Continue
	JNE  done
	MOVBLZX HeadFlags(DI), R15
	TESTL $3, R15 // IsIPv6, IsFragment
	JNE  done
	MOVBLZX L3(DI), AX
	MOVQ Data(DI), R8
	ADDQ AX, R8
	MOVWLZX Len(DI), R10
	SUBL AX, R10
	MOVBLZX L4(DI), AX
	ADDQ AX, R8
	SUBL AX, R10
	SEGMENT
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
	MOVQ BX, ret+64(FP)
	RET
	CLOSER
	OPTIONS

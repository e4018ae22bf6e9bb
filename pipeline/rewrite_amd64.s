#include "textflag.h"
#include "go_asm.h"

// FRAME finds mbuf R9, frame R10 and adjacency AX of packet BX.
#define FRAME \
	MOVL (R13)(BX*4), AX \
	MOVQ (DI)(BX*8), R9  \
	MOVQ (R11), R10      \
	SHLQ $6, AX

// REST writes the link header, whose ethertype stays, tells the mbuf of the length, and goes
// on. It does so in few wide stores, which is what the loop is bound by.
#define REST \
	MOVWLZX (R12)(BX*2), DX                  \
	MOVOU const_adjacencyL2(SI)(AX*1), X0    \
	MOVOU 0(R10), X1                         \
	ADDQ DX, R15                             \
	ADDL $const_ethernetLen, DX              \
	MOVL DX, X2                              \
	PBLENDW $0xc0, X1, X0                    \ // of SSE4.1, as DPDK asks for
	PSLLO $12, X2                            \
	MOVOU X0, 0(R10)                         \
	MOVOU X2, const_mbufFlags(R9)            \ // 0, packet type 0, PktLen
	MOVW DX, const_mbufDataLen(R9)           \
	ADDQ $const_headBytes, R11               \
	INCQ BX

// func rewriteRun(mbufs **packet.Mbuf, heads *packet.Head, sizes *uint16, to *fib.AdjacencyIndex, lines *fib.Adjacency, n int, ipv6 bool) (bytes uint64)
TEXT ·rewriteRun(SB), NOSPLIT, $0-64
	MOVQ mbufs+0(FP), DI
	MOVQ heads+8(FP), R11
	MOVQ sizes+16(FP), R12
	MOVQ to+24(FP), R13
	MOVQ lines+32(FP), SI
	MOVQ n+40(FP), CX
	XORL BX, BX
	XORL R15, R15
	CMPB ipv6+48(FP), $0
	JNE  six

four:
	FRAME
	MOVL 22(R10), DX // TTL, protocol, checksum: see IPv4.DecrementTTL
	CMPL DX, $0xfffe0000
	SBBL R8, R8
	SHLL $16, R8
	LEAL 0x1ffff(DX)(R8*1), DX
	MOVL DX, 22(R10)
	REST
	CMPQ BX, CX
	JLT  four
	MOVQ R15, bytes+56(FP)
	RET

six:
	FRAME
	DECB 21(R10)
	REST
	CMPQ BX, CX
	JLT  six
	MOVQ R15, bytes+56(FP)
	RET

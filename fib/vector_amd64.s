//go:build !race

#include "textflag.h"

// Sixteen packets at a time, a lane for each. Nothing is prefetched: the gathers of the
// next sixteen begin while these wait. Each entry is read at once, being 4 bytes at a
// multiple of 4, and a group after the entry that leads to it, as trie's comment asks for.
//
// Registers all of the way:
//
//	DI root  SI groups  DX slots  R8 dst  R9 out  CX packets left
//	K7 lanes that have a packet  K2 lanes whose entry leads to a group
//	Z2 entries  Z11 the default's next hop  Z12 0xff  Z13 idMask

// LANES makes K7 the lanes of the next packets.
#define LANES \
	MOVL    $16, AX  \
	CMPQ    CX, AX   \
	CMOVQLT CX, AX   \
	MOVL    $-1, BX  \
	BZHIL   AX, BX, BX \
	KMOVW   BX, K7

// CONSTANTS fills Z11 to Z13; the default is in AX.
#define CONSTANTS \
	VPBROADCASTD AX, Z11 \
	MOVL $0xff, AX       \
	VPBROADCASTD AX, Z12 \
	MOVL $0x7fffff, AX   \
	VPBROADCASTD AX, Z13

// STEP reads one level of groups by the lowest byte of each lane of W. A gather clears its
// mask as it goes.
#define STEP(W) \
	VPSLLD  $8, Z2, Z3 \ // drops isGroup
	VPTERNLOGD $0xf8, Z12, W, Z3 \ // Z3 | W & 0xff
	VPGATHERDD (SI)(Z3*4), K2, Z2 \
	VPMOVD2M Z2, K2

// PLACES stores the places of the adjacencies of final entries, as place does.
#define PLACES \
	VPANDD   Z13, Z2, Z2 \
	VPTESTNMD Z2, Z2, K3 \
	VMOVDQA32 Z11, K3, Z2 \
	KMOVW    K7, K4 \
	VPXORD   Z4, Z4, Z4 \
	VPGATHERDD (DX)(Z2*4), K4, Z4 \
	VMOVDQU32 Z4, K7, (R9)

// func resolve4x16(root, groups, slots *uint32, dflt uint32, dst *uint32, out *AdjacencyIndex, n int)
TEXT ·resolve4x16(SB), NOSPLIT, $0-56
	MOVQ root+0(FP), DI
	MOVQ groups+8(FP), SI
	MOVQ slots+16(FP), DX
	MOVL dflt+24(FP), AX
	MOVQ dst+32(FP), R8
	MOVQ out+40(FP), R9
	MOVQ n+48(FP), CX
	CONSTANTS

next:
	LANES
	VMOVDQU32.Z (R8), K7, Z0
	VPSRLD   $8, Z0, Z1
	KMOVW    K7, K1
	VPXORD   Z2, Z2, Z2
	VPGATHERDD (DI)(Z1*4), K1, Z2
	VPMOVD2M Z2, K2
	KORTESTW K2, K2
	JZ       final
	STEP(Z0)

final:
	PLACES
	ADDQ $64, R8
	ADDQ $64, R9
	SUBQ $16, CX
	JG   next
	VZEROUPPER
	RET

// Bytes of a quadword turned round; the even and the odd doublewords of two registers.
DATA swap8<>+0(SB)/8, $0x0001020304050607
DATA swap8<>+8(SB)/8, $0x08090a0b0c0d0e0f
GLOBL swap8<>(SB), RODATA|NOPTR, $16

DATA even<>+0(SB)/8, $0x0000000200000000
DATA even<>+8(SB)/8, $0x0000000600000004
DATA even<>+16(SB)/8, $0x0000000a00000008
DATA even<>+24(SB)/8, $0x0000000e0000000c
DATA even<>+32(SB)/8, $0x0000001200000010
DATA even<>+40(SB)/8, $0x0000001600000014
DATA even<>+48(SB)/8, $0x0000001a00000018
DATA even<>+56(SB)/8, $0x0000001e0000001c
GLOBL even<>(SB), RODATA|NOPTR, $64

// HALF loads 8 bytes at OFFSET of the addresses that Z0 and Z1 point to: Z5 has the first
// four of them as numbers, Z6 the others. R10 is 0.
#define HALF(OFFSET) \
	KMOVW      K7, K1 \
	KSHIFTRW   $8, K7, K3 \
	VPXORD     Z3, Z3, Z3 \
	VPXORD     Z4, Z4, Z4 \
	VPGATHERQQ OFFSET(R10)(Z0*1), K1, Z3 \
	VPGATHERQQ OFFSET(R10)(Z1*1), K3, Z4 \
	VPSHUFB    Z14, Z3, Z3 \
	VPSHUFB    Z14, Z4, Z4 \
	VMOVDQA32  Z16, Z5 \
	VMOVDQA32  Z15, Z6 \
	VPERMI2D   Z4, Z3, Z5 \
	VPERMI2D   Z4, Z3, Z6

// BYTES walks by the four bytes of W.
#define BYTES(W) \
	VPROLD   $8, W, W \
	STEP(W)           \
	KORTESTW K2, K2   \
	JZ       final    \
	VPROLD   $8, W, W \
	STEP(W)           \
	KORTESTW K2, K2   \
	JZ       final    \
	VPROLD   $8, W, W \
	STEP(W)           \
	KORTESTW K2, K2   \
	JZ       final    \
	VPROLD   $8, W, W \
	STEP(W)           \
	KORTESTW K2, K2   \
	JZ       final

// func resolve6x16(root, groups, slots *uint32, dflt uint32, dst **[16]byte, out *AdjacencyIndex, n int)
TEXT ·resolve6x16(SB), NOSPLIT, $0-56
	MOVQ root+0(FP), DI
	MOVQ groups+8(FP), SI
	MOVQ slots+16(FP), DX
	MOVL dflt+24(FP), AX
	MOVQ dst+32(FP), R8
	MOVQ out+40(FP), R9
	MOVQ n+48(FP), CX
	CONSTANTS
	VBROADCASTI32X4 swap8<>(SB), Z14
	VMOVDQU32 even<>(SB), Z15
	MOVL $1, AX
	VPBROADCASTD AX, Z16
	VPADDD Z15, Z16, Z16 // odd
	XORL R10, R10

next:
	LANES
	KSHIFTRW $8, K7, K3
	VMOVDQU64.Z (R8), K7, Z0
	VMOVDQU64.Z 64(R8), K3, Z1
	HALF(0)
	VPSRLD   $8, Z5, Z7
	KMOVW    K7, K1
	VPXORD   Z2, Z2, Z2
	VPGATHERDD (DI)(Z7*4), K1, Z2
	VPMOVD2M Z2, K2
	KORTESTW K2, K2
	JZ       final
	STEP(Z5)
	KORTESTW K2, K2
	JZ       final
	BYTES(Z6)
	HALF(8)
	BYTES(Z5)
	BYTES(Z6)

final:
	PLACES
	ADDQ $128, R8
	ADDQ $64, R9
	SUBQ $16, CX
	JG   next
	VZEROUPPER
	RET

// func straight16(lines *Adjacency, at *AdjacencyIndex, sizes *uint16, n int) (taken int, hops, ways uint32)
//
// What most have in common with the first packet, its next hop, is not read again.
//
//	DI lines  R8 at  R9 sizes  CX packets left  DX taken  R10 hops  R11 ways, of these sixteen R12 R13
//	Z16 the first's place  Z17 Z18 its first doublewords  Z19 0xffff  Z20 Forward, untagged
TEXT ·straight16(SB), NOSPLIT, $0-48
	MOVQ lines+0(FP), DI
	MOVQ at+8(FP), R8
	MOVQ sizes+16(FP), R9
	MOVQ n+24(FP), CX
	XORL DX, DX
	XORL R10, R10
	XORL R11, R11
	MOVL (R8), AX
	VPBROADCASTD AX, Z16
	SHLQ $6, AX
	VPBROADCASTD 0(DI)(AX*1), Z17
	VPBROADCASTD 4(DI)(AX*1), Z18
	MOVL $0xffff, AX
	VPBROADCASTD AX, Z19
	MOVL $0x0e01, AX
	VPBROADCASTD AX, Z20

next:
	LANES
	VMOVDQU32.Z (R8), K7, Z0
	VPMOVZXWD.Z (R9), K7, Z1
	XORL R12, R12
	XORL R13, R13
	VMOVDQA32 Z17, Z2
	VPCMPD $4, Z16, Z0, K7, K1
	KORTESTW K1, K1
	JZ   alike
	KMOVW K1, R12
	VPSLLD $4, Z0, Z0
	KMOVW K1, K2
	VPGATHERDD (DI)(Z0*4), K2, Z2
	VMOVDQA32 Z18, Z3
	VPGATHERDD 4(DI)(Z0*4), K1, Z3
	VPXORD Z18, Z3, Z3
	VPTESTMD Z19, Z3, K7, K1
	KMOVW K1, R13

alike:
	VPANDD Z19, Z2, Z3
	VPSRLD $16, Z2, Z2
	VPCMPD $4, Z20, Z3, K7, K1
	VPCMPUD $6, Z2, Z1, K7, K2 // too large
	KORW K1, K2, K1
	KORTESTW K1, K1
	JNZ  stop
	ORL  R12, R10
	ORL  R13, R11
	ADDQ $16, DX
	ADDQ $64, R8
	ADDQ $32, R9
	SUBQ $16, CX
	JG   next
	ADDQ CX, DX // the last ones were not sixteen

done:
	MOVQ DX, taken+32(FP)
	MOVL R10, hops+40(FP)
	MOVL R11, ways+44(FP)
	VZEROUPPER
	RET

stop:
	KMOVW K1, AX
	TZCNTL AX, AX
	ADDQ AX, DX
	BZHIL AX, R12, R12
	BZHIL AX, R13, R13
	ORL  R12, R10
	ORL  R13, R11
	JMP  done

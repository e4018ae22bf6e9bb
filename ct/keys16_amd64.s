#include "textflag.h"
#include "layout_amd64.h"

// Bytes of each lane turned round.
DATA swap4<>+0(SB)/8, $0x0405060700010203
DATA swap4<>+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL swap4<>(SB), RODATA|NOPTR, $16

// MUM makes A, of eight numbers, what mum is of them and the eight that B0 has in its lower
// halves and, moved there, in B1. K7 are the upper halves.
#define MUM(A, B0, B1) \
	VPSRLQ   $32, A, Z8      \
	VPMULUDQ B0, A, Z9       \
	VPMULUDQ B1, A, Z10      \
	VPMULUDQ B0, Z8, Z11     \
	VPMULUDQ B1, Z8, Z12     \
	VPSRLQ   $32, Z9, Z13    \
	VPADDQ   Z13, Z10, Z10   \
	VPANDQ   Z26, Z10, Z13   \
	VPADDQ   Z13, Z11, Z11   \
	VPSRLQ   $32, Z10, Z10   \
	VPADDQ   Z10, Z12, Z12   \
	VPSRLQ   $32, Z11, Z13   \
	VPADDQ   Z13, Z12, Z12   \
	VPSLLQ   $32, Z11, Z11   \
	VMOVDQA32 Z11, K7, Z9    \
	VPXORQ   Z9, Z12, A

// HASH makes Z14 the hashes of keys K0 and K1, see Secret.hash, and Z15 where the buckets
// of their homes are.
#define HASH(K0, K1) \
	VPXORQ   Z17, K0, Z14    \
	VPXORQ   Z18, K1, Z15    \
	VPSRLQ   $32, Z15, Z16   \
	MUM(Z14, Z15, Z16)       \
	VPXORQ   Z19, Z14, Z14   \
	MUM(Z14, Z20, Z21)       \
	VPMULUDQ Z22, Z14, Z15   \
	VPSRLQ   $32, Z15, Z15   \
	VPSLLQ   $6, Z15, Z15

// ASK asks the cache for the bucket of packet I, whose home is at HOME on the stack.
#define ASK(I, HOME) \
	MOVQ HOME, AX            \
	PREFETCHT0 (R13)(AX*1)

// REST stores the hash of packet I, which is at HASH on the stack, and its flags.
#define REST(I, HASH) \
	MOVQ HASH, AX            \
	MOVBLZX flags-16+(I)(SP), BX \
	MOVQ AX, ((I)*HeadSize+Hash)(R9)       \
	MOVB BX, ((I)*HeadSize+HeadFlags)(R9)

// KEYS stores the keys of packets I, I+4, I+8 and I+12, the quarters of Z and its low one, X.
#define KEYS(I, X, Z) \
	VMOVDQU  X, ((I)*HeadSize+Key0)(R9)    \
	VEXTRACTI64X2 $1, Z, ((I+4)*HeadSize+Key0)(R9)  \
	VEXTRACTI64X2 $2, Z, ((I+8)*HeadSize+Key0)(R9)  \
	VEXTRACTI64X2 $3, Z, ((I+12)*HeadSize+Key0)(R9)

// func keysAndHomes16(src, dst, ports *uint32, proto *uint8, heads *packet.Head, n int, tail uint64, s *Secret, buckets unsafe.Pointer, numBuckets uint64)
//
// Packets with even numbers are in some registers, those with odd ones in others, for
// numbers of 64 bits have two lanes:
//
//	Z0 low ends   Z1 high ends   Z2 ports   Z3 the end of k1   Z4 Z5 even k0 and k1   Z6 Z7 odd ones
//	K1 packets from the high end   Z17 to Z21 the secret   Z22 the number of buckets
//	R9 head   R13 buckets
//
// The frame's 272 bytes: hashes of even packets, homes of theirs, both of odd ones; flags.
TEXT ·keysAndHomes16(SB), NOSPLIT, $272-80
	MOVQ src+0(FP), DI
	MOVQ dst+8(FP), SI
	MOVQ ports+16(FP), DX
	MOVQ proto+24(FP), R8
	MOVQ heads+32(FP), R9
	MOVQ n+40(FP), CX
	MOVQ s+56(FP), AX
	MOVQ buckets+64(FP), R13
	VPBROADCASTD tail+48(FP), Z31
	VPBROADCASTQ 0(AX), Z17
	VPBROADCASTQ 8(AX), Z18
	VPBROADCASTQ 16(AX), Z19
	MOVQ 24(AX), AX
	ORQ  $1, AX
	VPBROADCASTQ AX, Z20
	VPSRLQ $32, Z20, Z21
	VPBROADCASTQ numBuckets+72(FP), Z22
	VBROADCASTI32X4 swap4<>(SB), Z23
	MOVL $HasPorts, AX
	VPBROADCASTD AX, Z24
	MOVL $(HasPorts|KeySwapped), AX
	VPBROADCASTD AX, Z25
	VPTERNLOGD $0xff, Z26, Z26, Z26
	VPSRLQ $32, Z26, Z26 // lower halves
	MOVL $0xaaaa, AX
	KMOVW AX, K7

next:
	VMOVDQU32 (DI), Z0
	VMOVDQU32 (SI), Z1
	VMOVDQU32 (DX), Z2
	VPMOVZXBD (R8), Z3
	VPSHUFB Z23, Z0, Z0 // as canonical has them
	VPSHUFB Z23, Z1, Z1
	VPROLD  $16, Z2, Z8
	VPCMPUD $1, Z1, Z0, K1
	VPCMPEQD Z0, Z1, K2
	VPCMPUD $1, Z2, Z8, K2, K2 // of a host that talks to itself
	KORW    K1, K2, K1
	VMOVDQA32 Z8, K1, Z2
	VMOVDQA32 Z24, Z8
	VMOVDQA32 Z25, K1, Z8
	VPMOVDB Z8, flags-16(SP)
	VPMINUD Z0, Z1, Z8
	VPMAXUD Z0, Z1, Z0
	VMOVDQA32 Z8, Z1
	VPSLLD  $8, Z3, Z3
	VPORD   Z31, Z3, Z3

	VPSLLQ  $32, Z1, Z8
	VPSLLQ  $32, Z2, Z9
	VPSRLQ  $32, Z0, Z10
	VPSRLQ  $32, Z3, Z11
	VPBLENDMD Z8, Z0, K7, Z4
	VPBLENDMD Z9, Z3, K7, Z5
	VPBLENDMD Z1, Z10, K7, Z6
	VPBLENDMD Z2, Z11, K7, Z7
	HASH(Z4, Z5)
	VMOVDQU64 Z14, even-272(SP)
	VMOVDQU64 Z15, homes-208(SP)
	HASH(Z6, Z7)
	VMOVDQU64 Z14, odd-144(SP)
	VMOVDQU64 Z15, oddhomes-80(SP)
	ASK(0, homes-208(SP))
	ASK(1, oddhomes-80(SP))
	ASK(2, homes-200(SP))
	ASK(3, oddhomes-72(SP))
	ASK(4, homes-192(SP))
	ASK(5, oddhomes-64(SP))
	ASK(6, homes-184(SP))
	ASK(7, oddhomes-56(SP))
	ASK(8, homes-176(SP))
	ASK(9, oddhomes-48(SP))
	ASK(10, homes-168(SP))
	ASK(11, oddhomes-40(SP))
	ASK(12, homes-160(SP))
	ASK(13, oddhomes-32(SP))
	ASK(14, homes-152(SP))
	ASK(15, oddhomes-24(SP))
	VPUNPCKLQDQ Z5, Z4, Z8
	VPUNPCKHQDQ Z5, Z4, Z9
	VPUNPCKLQDQ Z7, Z6, Z10
	VPUNPCKHQDQ Z7, Z6, Z11
	KEYS(0, X8, Z8)
	KEYS(2, X9, Z9)
	KEYS(1, X10, Z10)
	KEYS(3, X11, Z11)
	REST(0, even-272(SP))
	REST(1, odd-144(SP))
	REST(2, even-264(SP))
	REST(3, odd-136(SP))
	REST(4, even-256(SP))
	REST(5, odd-128(SP))
	REST(6, even-248(SP))
	REST(7, odd-120(SP))
	REST(8, even-240(SP))
	REST(9, odd-112(SP))
	REST(10, even-232(SP))
	REST(11, odd-104(SP))
	REST(12, even-224(SP))
	REST(13, odd-96(SP))
	REST(14, even-216(SP))
	REST(15, odd-88(SP))
	ADDQ $64, DI
	ADDQ $64, SI
	ADDQ $64, DX
	ADDQ $16, R8
	ADDQ $(16*HeadSize), R9
	SUBQ $16, CX
	JGT  next
	VZEROUPPER
	RET

#include "textflag.h"
#include "go_asm.h"

// Sixteen frames at a time: their headers are loaded as rows, turned into columns, and each
// check is made of all at once, a lane for each frame.

// Constants of a lane, each once.
DATA of16<>+0(SB)/4, $0x00ffffff  // ethertype, version and header length ...
DATA of16<>+4(SB)/4, $0x00450008  // ... are these: plainType4
DATA of16<>+8(SB)/4, $0x0000ff3f  // MF and the offset: fragmentMask
DATA of16<>+12(SB)/4, $0x0000ffff // a half
DATA of16<>+16(SB)/4, $14         // bytes of an Ethernet header,
DATA of16<>+20(SB)/4, $28         // of IPv4 and UDP,
DATA of16<>+24(SB)/4, $40         // of IPv4 and TCP
DATA of16<>+28(SB)/4, $17         // UDP
DATA of16<>+32(SB)/4, $6          // TCP
DATA of16<>+36(SB)/4, $0x000000ff // an octet
DATA of16<>+40(SB)/4, $1
DATA of16<>+44(SB)/4, $222        // of Martian4: 0 and 224 to 255, less 1,
DATA of16<>+48(SB)/4, $126        // and 127, less 1
DATA of16<>+52(SB)/4, $8          // bytes of UDP's header,
DATA of16<>+56(SB)/4, $20         // of IPv4's
// A head's Len, to which the packet's is added, L3 and L4; Proto, to which it is added, Flags,
// Verdict and State: HasPorts, Continue.
DATA of16<>+60(SB)/4, $0x140e000e
DATA of16<>+64(SB)/4, $0x00010800
// Of IPv6: ethertype and version are these; what a frame has before the payload; what
// a packet has; TCP's header; of martian6, 0, 0xfe and 0xff, less 1; the end of a head.
DATA of16<>+68(SB)/4, $0x00f0ffff
DATA of16<>+72(SB)/4, $0x0060dd86
DATA of16<>+76(SB)/4, $54
DATA of16<>+80(SB)/4, $40
DATA of16<>+84(SB)/4, $20
DATA of16<>+88(SB)/4, $252
DATA of16<>+92(SB)/4, $0x280e0036
DATA of16<>+96(SB)/4, $0x00010900
// Bytes of a frame that are looked at, at least: of IPv4, of IPv6.
DATA of16<>+100(SB)/4, $44
DATA of16<>+104(SB)/4, $62
GLOBL of16<>(SB), RODATA|NOPTR, $108

// Bytes of each lane: the first two turned round and widened, and all four turned round.
DATA length<>+0(SB)/8, $0x8080040580800001
DATA length<>+8(SB)/8, $0x80800c0d80800809
GLOBL length<>(SB), RODATA|NOPTR, $16
DATA swap4<>+0(SB)/8, $0x0405060700010203
DATA swap4<>+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL swap4<>(SB), RODATA|NOPTR, $16

// LENGTHS fills Z31 with the lengths of the frames, none of which is below that at LEAST.
#define LENGTHS(LEAST) \
	XORL R10, R10              \
	VMOVDQU64 0(BX), Z0        \
	VMOVDQU64 64(BX), Z1       \
	KXNORW  K1, K1, K1         \
	KXNORW  K2, K2, K2         \
	VPXORD  Z2, Z2, Z2         \
	VPXORD  Z3, Z3, Z3         \
	VPGATHERQD Mbuf_DataLen(R10)(Z0*1), K1, Y2 \
	VPGATHERQD Mbuf_DataLen(R10)(Z1*1), K2, Y3 \
	VINSERTI64X4 $1, Y3, Z2, Z31 \
	VPANDD  Z19, Z31, Z31      \
	VPCMPUD.BCST $5, of16<>+LEAST(SB), Z31, K1 \
	KORTESTW K1, K1            \
	JCC     done

// BYTES makes AX the sum of Z22, which has that of the lengths of all frames taken.
#define BYTES \
	VSHUFI64X2 $0x4e, Z22, Z22, Z0 \
	VPADDD  Z22, Z0, Z0        \
	VSHUFI64X2 $0xb1, Z0, Z0, Z1 \
	VPADDD  Z1, Z0, Z0         \
	VPSHUFD $0x4e, Z0, Z1      \
	VPADDD  Z1, Z0, Z0         \
	VPSHUFD $0xb1, Z0, Z1      \
	VPADDD  Z1, Z0, Z0         \
	VMOVD   X0, AX

// FRAME finds packet I's frame: F. What all packets must have in common is gathered in R12
// and R13.
#define FRAME(I, F) \
	MOVQ    ((I)*8)(BX), R9      \
	MOVWLZX Mbuf_DataOff(R9), F \
	ADDQ    Mbuf_BufAddr(R9), F \
	MOVQ    F, ((I)*Head__size+Head_Data)(R8)      \
	MOVQ    0(F), R10          \
	XORQ    SI, R10            \
	ORQ     R10, R12           \
	ORQ     Mbuf_OlFlags(R9), R13

// PAIR loads bytes 12 to 43 of frames I and I+4 into Z.
#define PAIR(I, Y, Z) \
	FRAME(I, R15)              \
	VMOVDQU 12(R15), Y         \
	FRAME(I+4, R15)            \
	VINSERTI64X4 $1, 12(R15), Z, Z

// QUAD turns four pairs round: of A's eight packets, D0 to D3 hold bytes 12 to 15, 16 to
// 19, 20 to 23 and 24 to 27 in every other 16 bytes, and four times 4 bytes on in the rest.
#define QUAD(A, B, C, D, D0, D1, D2, D3) \
	VPUNPCKLDQ  B, A, D0       \
	VPUNPCKHDQ  B, A, D2       \
	VPUNPCKLDQ  D, C, A        \
	VPUNPCKHDQ  D, C, B        \
	VPUNPCKHQDQ A, D0, D1      \
	VPUNPCKLQDQ A, D0, D0      \
	VPUNPCKHQDQ B, D2, D3      \
	VPUNPCKLQDQ B, D2, D2

// ADD adds the two halves of each lane of Z to Z10.
#define ADD(Z) \
	VPANDD  Z19, Z, Z11        \
	VPADDD  Z11, Z10, Z10      \
	VPSRLD  $16, Z, Z11        \
	VPADDD  Z11, Z10, Z10

// FOLD adds the carries to the sum. Once is enough: of ten halves k times 0xffff, which is
// right, becomes 0xffff, and nothing else does.
#define FOLD \
	VPSRLD  $16, Z10, Z11      \
	VPANDD  Z19, Z10, Z10      \
	VPADDD  Z11, Z10, Z10

// UNICAST keeps of K1 the lanes whose third byte of Z is that of a unicast address.
#define UNICAST(Z) \
	VPSRLD  $16, Z, Z11        \
	VPANDD  Z27, Z11, Z11      \
	VPSUBD  Z28, Z11, Z11      \
	VPCMPUD $2, Z29, Z11, K1, K1 \
	VPCMPUD $4, Z30, Z11, K1, K1

// ACROSS makes Z the upper halves of A's lanes and the lower ones of B's.
#define ACROSS(A, B, Z) \
	VPSRLD  $16, A, Z          \
	VPSLLD  $16, B, Z11        \
	VPORD   Z11, Z, Z

// HEAD stores what is at Q on the stack as the last 8 bytes of head I.
#define HEAD(Q, I) \
	MOVQ ends-128+Q*8(SP), R9  \
	MOVQ R9, (I*Head__size+Head_Len)(R8)

// HEADS stores the ends of all heads, which Z3 and Z4 hold by halves of every four.
#define HEADS \
	VMOVDQU64 Z3, ends-128(SP) \
	VMOVDQU64 Z4, ends-64(SP)  \
	HEAD(0, 0) \
	HEAD(1, 1) \
	HEAD(8, 2) \
	HEAD(9, 3) \
	HEAD(2, 4) \
	HEAD(3, 5) \
	HEAD(10, 6) \
	HEAD(11, 7) \
	HEAD(4, 8) \
	HEAD(5, 9) \
	HEAD(12, 10) \
	HEAD(13, 11) \
	HEAD(6, 12) \
	HEAD(7, 13) \
	HEAD(14, 14) \
	HEAD(15, 15)

// NEXT16 writes the heads of sixteen packets that are plain and goes on to the next.
#define NEXT16 \
	HEADS                      \
	VPADDD  Z31, Z22, Z22      \
	ADDQ    $16, AX            \
	ADDQ    $128, BX           \
	ADDQ    $(16*Head__size), R8 \
	ADDQ    $32, DI

// FINISH returns what was taken: how many, their bytes, the bits of their protocols. AT is
// the place of the first.
#define FINISH(AT) \
done:                              \
	MOVQ    AX, taken+(AT)(FP)   \
	BYTES                      \
	MOVQ    AX, bytes+(AT+8)(FP)   \
	XORL    AX, AX             \
	KORTESTW K5, K5            \
	JZ      tcp                \
	ORL     $17, AX            \
tcp:                               \
	KORTESTW K6, K6            \
	JZ      all                \
	ORL     $6, AX             \
all:                               \
	MOVB    AX, protocols+(AT+16)(FP) \
	VZEROUPPER                 \
	RET

// func plainSixteens4(mbufs **Mbuf, n int, mac uint64, r *Run, at int) (taken int, bytes uint64, protocols uint8)
//
// The frame's 128 bytes: ends.
TEXT ·plainSixteens4(SB), NOSPLIT, $128-57
	MOVQ mbufs+0(FP), BX
	MOVQ n+8(FP), CX
	MOVQ mac+16(FP), SI
	MOVQ r+24(FP), R11
	MOVQ at+32(FP), AX
	IMUL3Q $Head__size, AX, R8
	ADDQ R11, R8
	LEAQ Run_Size(R11)(AX*2), DI
	LEAQ Run_Dst4(R11)(AX*4), DX
	LEAQ Run_Proto(R11)(AX*1), R11
	XORL AX, AX
	VPXORD Z22, Z22, Z22
	KXORW K5, K5, K5 // lanes that ever had UDP
	KXORW K6, K6, K6 // or TCP
	VPBROADCASTD of16<>+0(SB), Z16
	VPBROADCASTD of16<>+4(SB), Z17
	VPBROADCASTD of16<>+8(SB), Z18
	VPBROADCASTD of16<>+12(SB), Z19
	VPBROADCASTD of16<>+16(SB), Z20
	VPBROADCASTD of16<>+20(SB), Z21
	VPBROADCASTD of16<>+28(SB), Z23
	VPBROADCASTD of16<>+32(SB), Z24
	VPBROADCASTD of16<>+36(SB), Z27
	VPBROADCASTD of16<>+40(SB), Z28
	VPBROADCASTD of16<>+44(SB), Z29
	VPBROADCASTD of16<>+48(SB), Z30
	VBROADCASTI32X4 length<>(SB), Z25
	VBROADCASTI32X4 swap4<>(SB), Z26

next:
	SUBQ $16, CX
	JLT  done
	LENGTHS(100)
	XORL R12, R12
	XORL R13, R13
	PAIR(0, Y0, Z0)
	PAIR(1, Y1, Z1)
	PAIR(2, Y2, Z2)
	PAIR(3, Y3, Z3)
	PAIR(8, Y4, Z4)
	PAIR(9, Y5, Z5)
	PAIR(10, Y6, Z6)
	PAIR(11, Y7, Z7)
	SHLQ $16, R12
	ANDQ $0x50, R13 // RxVLANStripped, RxIPCksumBad
	ORQ  R12, R13
	JNZ  done

	QUAD(Z0, Z1, Z2, Z3, Z8, Z9, Z10, Z11)
	QUAD(Z4, Z5, Z6, Z7, Z12, Z13, Z14, Z15)
	VSHUFI64X2 $0x88, Z12, Z8, Z0 // bytes 12 to 15 of each packet
	VSHUFI64X2 $0xdd, Z12, Z8, Z4 // 28 to 31
	VSHUFI64X2 $0x88, Z13, Z9, Z1 // 16 to 19
	VSHUFI64X2 $0xdd, Z13, Z9, Z5 // 32 to 35
	VSHUFI64X2 $0x88, Z14, Z10, Z2 // 20 to 23
	VSHUFI64X2 $0xdd, Z14, Z10, Z6 // 36 to 39
	VSHUFI64X2 $0x88, Z15, Z11, Z3 // 24 to 27

	VPSRLD  $16, Z0, Z10 // the header begins with byte 14
	ADD(Z1)
	ADD(Z2)
	ADD(Z3)
	ADD(Z4)
	VPANDD  Z19, Z5, Z11 // and ends with byte 33
	VPADDD  Z11, Z10, Z10
	FOLD
	VPCMPEQD Z19, Z10, K1
	VPANDD  Z16, Z0, Z0
	VPCMPEQD Z17, Z0, K1, K1
	VPTESTNMD Z18, Z2, K1, K1
	UNICAST(Z3)
	UNICAST(Z4)

	VPSHUFB Z25, Z1, Z1 // the total length
	VPSUBD  Z20, Z31, Z7
	VPCMPUD $2, Z7, Z1, K1, K1
	VPCMPUD $5, Z21, Z1, K1, K1
	VPSRLD  $16, Z2, Z7
	VPANDD  Z27, Z7, Z7
	VPCMPUD $6, Z28, Z7, K1, K1 // a hop to go
	VPSRLD  $24, Z2, Z2 // the protocol
	VPCMPEQD Z24, Z2, K3
	VPCMPUD.BCST $5, of16<>+24(SB), Z1, K3, K3
	VPSRLD  $16, Z6, Z8 // UDP's length
	VPSHUFB Z25, Z8, Z8
	VPSUBD.BCST of16<>+56(SB), Z1, Z7
	VPCMPEQD Z23, Z2, K2
	VPCMPUD.BCST $5, of16<>+52(SB), Z8, K2, K2
	VPCMPUD $2, Z7, Z8, K2, K2
	KORW    K2, K3, K4
	KANDW   K1, K4, K1
	KORTESTW K1, K1
	JCC     done // some lane is not plain
	KORW    K2, K5, K5
	KORW    K3, K6, K6

	ACROSS(Z3, Z4, Z9)
	VPSHUFB Z26, Z9, Z9
	VMOVDQU32 Z9, (Run_Src4-Run_Dst4)(DX)
	ACROSS(Z4, Z5, Z9)
	VPSHUFB Z26, Z9, Z9
	VMOVDQU32 Z9, (DX)
	ACROSS(Z5, Z6, Z9)
	VMOVDQU32 Z9, (Run_Ports-Run_Dst4)(DX)
	VPMOVDB Z2, (R11)
	VPMOVDW Z1, (DI)
	VPADDD.BCST of16<>+60(SB), Z1, Z1
	VPADDD.BCST of16<>+64(SB), Z2, Z2
	VPUNPCKLDQ Z2, Z1, Z3
	VPUNPCKHDQ Z2, Z1, Z4
	NEXT16
	ADDQ $64, DX
	ADDQ $16, R11
	JMP  next

	FINISH(40)

// FRAME6 is FRAME for IPv6, whose destinations are told by their places. What may be UDP's
// length goes on the stack, too: it is out of the row's reach.
#define FRAME6(I, F) \
	MOVQ    ((I)*8)(BX), R9    \
	MOVWLZX Mbuf_DataOff(R9), F \
	ADDQ    Mbuf_BufAddr(R9), F \
	ORQ     Mbuf_OlFlags(R9), R13 \
	MOVQ    F, ((I)*Head__size+Head_Data)(R8) \
	LEAQ    38(F), R9          \
	MOVQ    R9, ((I)*8)(DX)    \
	MOVWLZX 58(F), R9          \
	MOVW    R9, udp-160+(I)*2(SP) \
	MOVQ    0(F), R10          \
	XORQ    SI, R10            \
	ORQ     R10, R12

#define PAIR6(I, Y, Z) \
	FRAME6(I, R15)             \
	VMOVDQU 12(R15), Y         \
	FRAME6(I+4, R15)           \
	VINSERTI64X4 $1, 12(R15), Z, Z

// OTHER6 keeps of K1 the lanes whose third byte of Z needs no second look.
#define OTHER6(Z) \
	VPSRLD  $16, Z, Z11        \
	VPANDD  Z27, Z11, Z11      \
	VPSUBD  Z28, Z11, Z11      \
	VPCMPUD $2, Z29, Z11, K1, K1

// func plainSixteens6(mbufs **Mbuf, n int, mac uint64, heads *Head, size *uint16, dst **[16]byte) (taken int, bytes uint64, protocols uint8)
//
// The frame's 160 bytes: udp, 32; ends, 128.
TEXT ·plainSixteens6(SB), NOSPLIT, $160-65
	MOVQ mbufs+0(FP), BX
	MOVQ n+8(FP), CX
	MOVQ mac+16(FP), SI
	MOVQ heads+24(FP), R8
	MOVQ size+32(FP), DI
	MOVQ dst+40(FP), DX
	XORL AX, AX
	VPXORD Z22, Z22, Z22
	KXORW K5, K5, K5
	KXORW K6, K6, K6
	VPBROADCASTD of16<>+68(SB), Z16
	VPBROADCASTD of16<>+72(SB), Z17
	VPBROADCASTD of16<>+76(SB), Z20
	VPBROADCASTD of16<>+80(SB), Z21
	VPBROADCASTD of16<>+12(SB), Z19
	VPBROADCASTD of16<>+28(SB), Z23
	VPBROADCASTD of16<>+32(SB), Z24
	VPBROADCASTD of16<>+36(SB), Z27
	VPBROADCASTD of16<>+40(SB), Z28
	VPBROADCASTD of16<>+88(SB), Z29
	VBROADCASTI32X4 length<>(SB), Z25

next:
	SUBQ $16, CX
	JLT  done
	LENGTHS(104)
	XORL R12, R12
	XORL R13, R13
	PAIR6(0, Y0, Z0)
	PAIR6(1, Y1, Z1)
	PAIR6(2, Y2, Z2)
	PAIR6(3, Y3, Z3)
	PAIR6(8, Y4, Z4)
	PAIR6(9, Y5, Z5)
	PAIR6(10, Y6, Z6)
	PAIR6(11, Y7, Z7)
	SHLQ $16, R12
	ANDQ $0x40, R13 // RxVLANStripped
	ORQ  R12, R13
	JNZ  done

	QUAD(Z0, Z1, Z2, Z3, Z8, Z9, Z10, Z11)
	QUAD(Z4, Z5, Z6, Z7, Z12, Z13, Z14, Z15)
	VSHUFI64X2 $0x88, Z12, Z8, Z0 // bytes 12 to 15 of each packet
	VSHUFI64X2 $0x88, Z13, Z9, Z1 // 16 to 19
	VSHUFI64X2 $0x88, Z14, Z10, Z2 // 20 to 23
	VSHUFI64X2 $0xdd, Z14, Z10, Z6 // 36 to 39

	VPANDD  Z16, Z0, Z0
	VPCMPEQD Z17, Z0, K1
	OTHER6(Z2)
	OTHER6(Z6)
	VPSRLD  $16, Z1, Z1
	VPSHUFB Z25, Z1, Z1 // the payload's length
	VPSUBD  Z20, Z31, Z7
	VPCMPUD $2, Z7, Z1, K1, K1
	VPSRLD  $8, Z2, Z7
	VPANDD  Z27, Z7, Z7
	VPCMPUD $6, Z28, Z7, K1, K1 // a hop to go
	VPANDD  Z27, Z2, Z2 // the protocol
	VPCMPEQD Z24, Z2, K3
	VPCMPUD.BCST $5, of16<>+84(SB), Z1, K3, K3
	VPMOVZXWD udp-160(SP), Z6
	VPSHUFB Z25, Z6, Z6
	VPCMPEQD Z23, Z2, K2
	VPCMPUD.BCST $5, of16<>+52(SB), Z6, K2, K2
	VPCMPUD $2, Z1, Z6, K2, K2
	KORW    K2, K3, K4
	KANDW   K1, K4, K1
	KORTESTW K1, K1
	JCC     done // some lane is not plain
	KORW    K2, K5, K5
	KORW    K3, K6, K6

	VPADDD  Z21, Z1, Z7
	VPMOVDW Z7, (DI)
	VPADDD.BCST of16<>+92(SB), Z1, Z1
	VPADDD.BCST of16<>+96(SB), Z2, Z2
	VPUNPCKLDQ Z2, Z1, Z3
	VPUNPCKHDQ Z2, Z1, Z4
	NEXT16
	ADDQ $128, DX
	JMP  next

	FINISH(48)

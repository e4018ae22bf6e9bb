// What the assembly knows of a packet.Head, a Flow, a window and of values. touch_amd64.go and
// match_amd64.go hold them to it: what differs does not compile.
#define Data 0
#define Key0 8
#define Key1 16
#define Hash 24
#define HeadFlow 36
#define Len 40
#define L3 42
#define L4 43
#define Proto 44
#define HeadFlags 45
#define Verdict 46
#define HeadState 47
#define HeadSize 48

#define HasPorts 8
#define KeySwapped 16

#define Bytes 16
#define Packets 32
#define Deadline 40
#define Born 44
#define Policy 60
#define State 62
#define Flags 63

#define End 0
#define MaxEnd 4
#define MaxAck 8
#define MaxWin 12
#define Bits 14
#define More 15
#define Digest 31 // More of the Reply side

// Ahead is how many packets ahead of the one being joined a flow is asked for.
#define Ahead 8

#define TCPEstablished 10
#define TCPUnacknowledged 17

#define Assured 4
#define Odd 65

// Package packet gives headers as byte views, checksums, and the burst with its
// verdicts: the vocabulary that every stage shares.
//
// It imports nothing of ours. Views are pointers to fixed-size arrays laid over
// the frame (IPv4 is a [20]byte), so a constant index needs no bounds check, and
// a view exists only behind a length check in the parse stage.
package packet

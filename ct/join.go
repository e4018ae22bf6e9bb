//go:build !ffwd_nojoin

package ct

// joins is whether a packet may join a flow that another packet confirmed before it.
// The tag ffwd_nojoin builds a switch without, which loses such packets as Linux does:
// it proves that the tests of CT-6 and VQ-3 can fail.
const joins = true

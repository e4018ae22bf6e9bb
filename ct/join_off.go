//go:build ffwd_nojoin

package ct

const joins = false

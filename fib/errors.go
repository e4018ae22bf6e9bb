package fib

import (
	"errors"
	"fmt"
)

// What the control side returns, wrapped with the operation and its object.
// An operation that failed has changed nothing.
var (
	// ErrFull: a configured bound would be exceeded, or what would fit is still
	// waiting for the epoch to pass.
	ErrFull = errors.New("table full")
	// ErrPrefix: not a plain IPv4 or IPv6 prefix, or bits set below its length.
	ErrPrefix = errors.New("bad prefix")
	// ErrGateway: the gateway is no usable neighbour of ours.
	ErrGateway = errors.New("bad gateway")
	// ErrRoute: type, hops or weights do not fit together.
	ErrRoute = errors.New("bad route")
	// ErrNoInterface: no interface has that index.
	ErrNoInterface = errors.New("no such interface")
	// ErrInterface: an interface's parameters are out of range.
	ErrInterface = errors.New("bad interface")
	// ErrNotFound: there is no such route, address or neighbour.
	ErrNotFound = errors.New("not found")
	// ErrExists: the address is there already.
	ErrExists = errors.New("exists")
	// ErrOptions: an option is out of range.
	ErrOptions = errors.New("bad option")
)

// full is ErrFull with the bound that was met.
func full(what string, bound int) error {
	return fmt.Errorf("%w: no room beyond %d %s", ErrFull, bound, what)
}

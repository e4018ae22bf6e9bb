// Package house holds the tests that the whole code base answers to: which
// package may import which, where C may be, what every package must have.
package house

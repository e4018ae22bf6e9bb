//go:build race

package fib

// shortestPainted is the shortest prefix length tests paint: under the race
// detector each of a /1's 8 million stores is some 20 ns.
const shortestPainted = 6

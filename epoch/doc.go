// Package epoch reclaims memory that workers may still be reading, by quiescent
// states (QSBR).
//
// Control unpublishes an object by an atomic store, then calls Domain.Retire
// with the function that frees it. Each worker is a Member and declares
// quiescence once per poll, when it holds no reference to anything shared. When
// every online member has done so after the retirement, the function runs, on
// the goroutine that calls Reclaim. A worker that stalls delays reclamation,
// which Lag shows; nothing is ever freed early because of it.
//
// Owner threads: Member methods belong to the member's worker; Domain methods
// may be called from any goroutine.
package epoch

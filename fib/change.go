package fib

// breathSteps is how many routes are changed at a time while those wait who only look: some
// milliseconds.
const breathSteps = 256

// begin starts a control operation that changes the table, for commit to end. Operations
// come one after the other; those that only look wait for a step of one, see breathe.
func (t *Table) begin() {
	t.changing.Lock()
	t.mu.Lock()
}

// breathe lets those in who only look, between two steps of an operation, of which this is
// the nth. What they see is part of the change. One who has waited for a millisecond gets
// the lock when it is unlocked, see sync.Mutex, so that looking at a million routes goes on
// while a million change.
func (t *Table) breathe(n int) {
	if n%breathSteps == breathSteps-1 {
		t.mu.Unlock()
		t.mu.Lock()
	}
}

// commit ends a control operation: neighbours take the host entries that its
// changes leave them, and what it unpublished goes to the retirer.
func (t *Table) commit() {
	t.settleHosts()
	t.grave.close(t.opts.Retirer)
	t.mu.Unlock()
	t.changing.Unlock()
}

package trust

// Leaves is how many certificates are kept.
func Leaves(a *Authority) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.leaves)
}

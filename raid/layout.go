package raid

// A Layout says which logical drives a machine must have.
type Layout struct{}

// Validate reports everything that is wrong with the layout itself, whatever disks there are.
func (l *Layout) Validate() error { return nil }

package plugin

import "fmt"

// member is a process of a session.
type member struct {
	pid  int
	name string
}

func (m member) String() string { return fmt.Sprintf("%s (pid %d)", m.name, m.pid) }

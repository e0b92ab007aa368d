//go:build unix

package raidtest

import (
	"fmt"
	"os"
	"syscall"
)

// locked calls f while no other process, and nobody else in this one, has the chassis. The lock is on a file beside it,
// since the chassis itself is replaced at each change.
func (c *Chassis) locked(f func() error) error {
	lock, err := os.OpenFile(c.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("simulated chassis: %w", err)
	}
	defer lock.Close()
	for {
		if err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("simulated chassis: lock %s: %w", lock.Name(), err)
	}
	return f()
}

//go:build !linux

package dhcp

import (
	"context"
	"errors"
)

// Run fails: it needs Linux.
func (w *Watch) Run(context.Context) error {
	return errors.New("dhcp: watching for other servers needs Linux")
}

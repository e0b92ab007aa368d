//go:build !linux

package hw

import (
	"context"
	"errors"
	"io"
)

func detect(context.Context, options) (*Facts, error) {
	return nil, errors.New("detect hardware: only on Linux; facts that were detected there can be decoded here")
}

// Capture needs Linux, as [Detect] does.
func Capture(context.Context, string, io.Writer, CaptureOptions) error {
	return errors.New("capture hardware: only on Linux")
}

//go:build !linux

package hw

import (
	"context"
	"errors"
)

func detect(context.Context, options) (*Facts, error) {
	return nil, errors.New("detect hardware: only on Linux; facts that were detected there can be decoded here")
}

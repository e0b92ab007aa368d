package plugin

import (
	"context"
	"errors"
	"strings"

	"github.com/project-loda/loda/raid/plugin/raidpb"
)

// maxFailure bounds the text of an error that goes over the wire.
const maxFailure = 64 << 10

// failureOf puts a driver's error into a message.
func failureOf(err error) *raidpb.Failure {
	if err == nil {
		return nil
	}
	f := &raidpb.Failure{Text: strings.ToValidUTF8(err.Error(), "�")}
	if len(f.Text) > maxFailure {
		f.Text = strings.ToValidUTF8(f.Text[:maxFailure], "") + "…"
	}
	switch {
	case errors.Is(err, context.Canceled):
		f.Kind = raidpb.Failure_CANCELED
	case errors.Is(err, context.DeadlineExceeded):
		f.Kind = raidpb.Failure_DEADLINE_EXCEEDED
	}
	return f
}

// driverError is a driver's error on the other side: its words, and whether a context had ended.
type driverError struct {
	text string
	is   error
}

func (e *driverError) Error() string { return e.text }
func (e *driverError) Unwrap() error { return e.is }

func errorOf(f *raidpb.Failure) error {
	if f == nil {
		return nil
	}
	e := &driverError{text: f.GetText()}
	if e.text == "" {
		e.text = "the driver failed and does not say why"
	}
	switch f.GetKind() {
	case raidpb.Failure_CANCELED:
		e.is = context.Canceled
	case raidpb.Failure_DEADLINE_EXCEEDED:
		e.is = context.DeadlineExceeded
	}
	return e
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/project-loda/loda/loda/agentapi"
)

// report sends the latest progress of one action, about once a second, and stops the action when the server does not
// want it any more.
type report struct {
	a      *Agent
	action *agentapi.Action
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{}
	once   sync.Once

	mu     sync.Mutex
	latest *agentapi.Progress
}

// heartbeat is how often progress that did not change is sent: it shows that the machine is alive.
const heartbeat = 15 * time.Second

func newReport(ctx context.Context, a *Agent, action *agentapi.Action) *report {
	r := &report{a: a, action: action, done: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	go r.run()
	return r
}

func (r *report) Progress(p agentapi.Progress) {
	r.a.Console.Progress(string(r.action.Kind), p.Fraction, p.Text)
	r.mu.Lock()
	r.latest = &p
	r.mu.Unlock()
}

func (r *report) Log(text string) {
	r.a.logs.add(r.action.ID, text)
}

func (r *report) run() {
	defer close(r.done)
	var last agentapi.Progress
	var sent time.Time
	for pause(r.ctx, r.a.ProgressEvery) {
		r.mu.Lock()
		p := r.latest
		r.mu.Unlock()
		if p == nil || *p == last && time.Since(sent) < heartbeat {
			continue
		}
		err := r.a.Client.Progress(r.ctx, r.action.ID, *p)
		if e, ok := errors.AsType[*agentapi.StatusError](err); ok && e.Unwanted() {
			r.cancel(&UnwantedError{e.Error()})
			return
		}
		if errors.Is(err, agentapi.ErrSessionLost) {
			r.cancel(err)
			return
		}
		// Progress that did not arrive is out of date anyway.
		last, sent = *p, time.Now()
	}
}

// stop ends the reports and returns why the action was stopped, if it was.
func (r *report) stop() error {
	var cause error
	r.once.Do(func() {
		cause = context.Cause(r.ctx)
		r.cancel(nil)
		<-r.done
	})
	return cause
}

// UnwantedError says that the server stopped an action.
type UnwantedError struct{ Detail string }

func (e *UnwantedError) Error() string { return fmt.Sprintf("stopped by the server: %s", e.Detail) }

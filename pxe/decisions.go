package pxe

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// decisions asks a [Booter], about so many machines at a time. A Booter that is slow, or never answers, costs the machines
// that are asked about their patience, and the server a bounded number of goroutines.
type decisions struct {
	once    sync.Once
	places  chan struct{}
	waiting atomic.Int64
}

const (
	// bootTimeout and maxDecisions are defaults.
	bootTimeout  = 10 * time.Second
	maxDecisions = 256
	// maxWaiting is how many machines wait for each that is asked about.
	maxWaiting = 16
)

// ask returns when the deadline has passed even if the Booter does not. Zero for timeout and most means the defaults; most
// counts with the first call only.
func (d *decisions) ask(ctx context.Context, booter Booter, timeout time.Duration, most int, c Client) (Instruction, error) {
	if timeout == 0 {
		timeout = bootTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	leave, err := d.enter(ctx, most)
	if err != nil {
		return nil, err
	}
	type answer struct {
		in  Instruction
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		var a answer
		defer leave()
		defer func() {
			if p := recover(); p != nil {
				a = answer{nil, fmt.Errorf("the Booter panicked: %v", p)}
			}
			answers <- a
		}()
		a.in, a.err = booter.Boot(ctx, c)
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			return nil, fmt.Errorf("asking the Booter: %w", a.err)
		}
		return a.in, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("the Booter did not answer within %v: %w", timeout, ctx.Err())
	}
}

// enter waits until the Booter may be asked.
func (d *decisions) enter(ctx context.Context, most int) (leave func(), err error) {
	d.once.Do(func() {
		if most <= 0 {
			most = maxDecisions
		}
		d.places = make(chan struct{}, most)
	})
	leave = func() { <-d.places }
	select {
	case d.places <- struct{}{}:
		return leave, nil
	default:
	}
	defer d.waiting.Add(-1)
	if d.waiting.Add(1) > int64(maxWaiting*cap(d.places)) {
		return nil, fmt.Errorf("the Booter is asked about %d machines, and sixteen times as many wait", cap(d.places))
	}
	select {
	case d.places <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("the Booter is asked about %d other machines: %w", cap(d.places), ctx.Err())
	}
}

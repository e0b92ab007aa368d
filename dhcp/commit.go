package dhcp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// commits makes leases durable, as many as there are at a time: what takes the time is to wait for the disk, and that
// takes as long for one lease as for a hundred. It needs no goroutine of its own. Of the requests that wait one is at
// work for all of them, and then leaves the rest to one of those that came meanwhile.
type commits struct {
	store LeaseStore

	mu      sync.Mutex
	waiting []*commit
	working bool
	last    int           // how many the latest group were,
	took    time.Duration // and how long the store took for them
}

// commit is a lease that waits.
type commit struct {
	lease Lease
	done  chan error
}

// maxCommit bounds a group, and with it how long its first lease waits for the others.
const maxCommit = 256

// A group waits for others the longer, the more leases there were in the one before, though not longer than the store took
// for that: with little to do a machine gets its lease at once, and under load a larger group costs store and processor
// less.
const (
	gatherEach  = 75 * time.Microsecond
	gatherLeast = 100 * time.Microsecond // to sleep for less takes as long
	gatherMost  = 2500 * time.Microsecond
)

// commitTimeout is what a store is given for a group. A request's own patience may end before.
const commitTimeout = 5 * time.Second

// errYourTurn tells one that waits that it is to work for all.
var errYourTurn = errors.New("it is this request's turn to store the leases")

// save returns when l is durable, or why it is not. If ctx ends before, it may be stored or not.
func (c *commits) save(ctx context.Context, l Lease) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	mine := &commit{lease: l, done: make(chan error, 1)}
	c.mu.Lock()
	c.waiting = append(c.waiting, mine)
	lead := !c.working
	c.working = true
	c.mu.Unlock()
	for {
		if lead {
			c.lead(mine)
		}
		select {
		case err := <-mine.done:
			if err != errYourTurn {
				return err
			}
			lead = true
		case <-ctx.Done():
			c.leave(mine)
			return ctx.Err()
		}
	}
}

// lead stores the leases that wait, of which mine is the first, and hands over.
func (c *commits) lead(mine *commit) {
	c.mu.Lock()
	if pause := min(time.Duration(c.last)*gatherEach, c.took, gatherMost); c.last > 1 && pause > gatherLeast {
		c.mu.Unlock()
		time.Sleep(pause)
		c.mu.Lock()
	}
	n := min(len(c.waiting), maxCommit)
	group := slices.Clone(c.waiting[:n])
	c.waiting = slices.Delete(c.waiting, 0, n)
	c.last = n
	c.mu.Unlock()

	// Also if the store panics, which is survived further up: nobody may wait for ever.
	errs := slices.Repeat([]error{errPanicked}, n)
	began := time.Now()
	defer func() {
		for i, one := range group {
			one.done <- errs[i]
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.took = time.Since(began)
		c.handOver()
	}()
	leases := make([]Lease, n)
	for i, one := range group {
		leases[i] = one.lease
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	errs = saveAll(ctx, c.store, leases)
}

// handOver makes the first of those that wait go on.
func (c *commits) handOver() {
	if c.working = len(c.waiting) > 0; c.working {
		c.waiting[0].done <- errYourTurn
	}
}

// leave is for a request that lost its patience.
func (c *commits) leave(mine *commit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.waiting, mine)
	if i < 0 {
		return // being stored
	}
	c.waiting = slices.Delete(c.waiting, i, i+1)
	select {
	case <-mine.done: // nothing but errYourTurn, as it was not stored
		c.handOver()
	default:
	}
}

// saveAll saves leases with what the store can.
func saveAll(ctx context.Context, store LeaseStore, leases []Lease) []error {
	errs := make([]error, len(leases))
	if len(leases) == 1 {
		errs[0] = store.SaveLease(ctx, leases[0])
		return errs
	}
	if batch, ok := store.(LeaseBatchStore); ok {
		got := batch.SaveLeases(ctx, leases)
		if len(got) == len(leases) {
			return got
		}
		for i := range errs {
			errs[i] = fmt.Errorf("the lease store reported %d results for %d leases", len(got), len(leases))
		}
		return errs
	}
	// One after the other would take as long as they are many; a store that groups its writes by itself gets a group.
	var wg sync.WaitGroup
	for i := range leases {
		wg.Go(func() {
			errs[i] = errPanicked
			defer func() { _ = recover() }() // the error says so
			errs[i] = store.SaveLease(ctx, leases[i])
		})
	}
	wg.Wait()
	return errs
}

var errPanicked = errors.New("the lease store panicked")

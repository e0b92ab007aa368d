package dhcp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// slowDisk stores one group at a time, each when it is told to.
type slowDisk struct {
	*MemoryLeases
	turn   chan struct{}
	groups atomic.Int32
}

func (d *slowDisk) SaveLeases(ctx context.Context, leases []Lease) []error {
	<-d.turn
	d.groups.Add(1)
	return d.MemoryLeases.SaveLeases(ctx, leases)
}

func (d *slowDisk) SaveLease(ctx context.Context, l Lease) error {
	return d.SaveLeases(ctx, []Lease{l})[0]
}

func leaseOf(i int) Lease {
	return Lease{MAC: machine(i), Addr: addr(number(ip("10.7.0.0")) + uint32(i)), Subnet: "rack-7", GrantedAt: time.Now(),
		ExpiresAt: time.Now().Add(time.Hour)}
}

func saves(t *testing.T, c *commits, l Lease) {
	if err := c.save(context.Background(), l); err != nil {
		t.Error(err)
	}
}

func (c *commits) queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting)
}

func TestLeasesThatWaitAreStoredTogether(t *testing.T) {
	d := &slowDisk{MemoryLeases: NewMemoryLeases(), turn: make(chan struct{})}
	c := &commits{store: d}
	var wg sync.WaitGroup
	wg.Go(func() { saves(t, c, leaseOf(0)) })
	require.Eventually(t, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.last == 1 }, 5*time.Second, time.Millisecond)
	for i := range 100 {
		wg.Go(func() { saves(t, c, leaseOf(i+1)) })
	}
	require.Eventually(t, func() bool { return c.queued() == 100 }, 5*time.Second, time.Millisecond)
	d.turn <- struct{}{}
	d.turn <- struct{}{}
	wg.Wait()
	require.Equal(t, int32(2), d.groups.Load())
	all, err := d.Leases(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 101)
	require.False(t, c.working)
}

func TestEachLeaseOfAGroupHasItsOwnResult(t *testing.T) {
	d := &slowDisk{MemoryLeases: NewMemoryLeases(), turn: make(chan struct{}, 9)}
	require.NoError(t, d.MemoryLeases.SaveLease(t.Context(), leaseOf(5)))
	taken := leaseOf(6)
	taken.Addr = leaseOf(5).Addr
	c := &commits{store: d}
	errs := make([]error, 2)
	var wg sync.WaitGroup
	wg.Go(func() { saves(t, c, leaseOf(0)) })
	require.Eventually(t, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.last == 1 }, 5*time.Second, time.Millisecond)
	wg.Go(func() { errs[0] = c.save(t.Context(), taken) })
	wg.Go(func() { errs[1] = c.save(t.Context(), leaseOf(7)) })
	require.Eventually(t, func() bool { return c.queued() == 2 }, 5*time.Second, time.Millisecond)
	d.turn <- struct{}{}
	d.turn <- struct{}{}
	wg.Wait()
	require.ErrorIs(t, errs[0], ErrAddressTaken)
	require.NoError(t, errs[1])
}

func TestRequestThatLostItsPatienceLetsTheOthersGoOn(t *testing.T) {
	d := &slowDisk{MemoryLeases: NewMemoryLeases(), turn: make(chan struct{})}
	c := &commits{store: d}
	var wg sync.WaitGroup
	wg.Go(func() { saves(t, c, leaseOf(0)) })
	require.Eventually(t, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.last == 1 }, 5*time.Second, time.Millisecond)
	impatient, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() { gone <- c.save(impatient, leaseOf(1)) }()
	require.Eventually(t, func() bool { return c.queued() == 1 }, 5*time.Second, time.Millisecond)
	wg.Go(func() { saves(t, c, leaseOf(2)) })
	require.Eventually(t, func() bool { return c.queued() == 2 }, 5*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-gone, context.Canceled)
	d.turn <- struct{}{}
	d.turn <- struct{}{}
	wg.Wait()
	all, err := d.Leases(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 2, "the one that left was not stored")

	// Also when its turn has just come.
	c.mu.Lock()
	c.working = true
	first, second := &commit{done: make(chan error, 1)}, &commit{done: make(chan error, 1)}
	c.waiting = []*commit{first, second}
	c.handOver()
	c.mu.Unlock()
	c.leave(first)
	require.Equal(t, errYourTurn, <-second.done)
}

// bomb panics.
type bomb struct{ LeaseStore }

func (bomb) SaveLease(context.Context, Lease) error      { panic("boom") }
func (bomb) SaveLeases(context.Context, []Lease) []error { panic("boom") }

func TestPanickingStoreKeepsNobodyWaiting(t *testing.T) {
	c := &commits{store: bomb{}}
	for range 3 {
		require.Panics(t, func() { _ = c.save(t.Context(), leaseOf(1)) })
	}
	require.False(t, c.working)
}

// plainStore has no SaveLeases.
type plainStore struct{ LeaseStore }

func TestStoreWithoutBatchesIsAskedForManyAtATime(t *testing.T) {
	m := NewMemoryLeases()
	require.NoError(t, m.SaveLease(t.Context(), leaseOf(3)))
	group := []Lease{leaseOf(1), leaseOf(2), leaseOf(4)}
	group[1].Addr = leaseOf(3).Addr
	errs := saveAll(t.Context(), plainStore{m}, group)
	require.NoError(t, errs[0])
	require.ErrorIs(t, errs[1], ErrAddressTaken)
	require.NoError(t, errs[2])
	for _, err := range saveAll(t.Context(), plainStore{bomb{}}, group) {
		require.ErrorIs(t, err, errPanicked)
	}
	for _, err := range saveAll(t.Context(), miscounting{m}, group) {
		require.ErrorContains(t, err, "1 results for 3 leases")
	}
}

type miscounting struct{ LeaseStore }

func (miscounting) SaveLeases(context.Context, []Lease) []error { return make([]error, 1) }

// refusing is a store whose disk is full.
type refusing struct{ LeaseStore }

func (refusing) SaveLease(context.Context, Lease) error { return errors.New("no space") }

func TestLeaseThatCannotBeStoredIsNotAcknowledged(t *testing.T) {
	s := rack7()
	a, err := NewAuthority(AuthorityConfig{Subnets: []Subnet{s}, Leases: refusing{NewMemoryLeases()}})
	require.NoError(t, err)
	req := discoverOf(t)
	req.Local, req.Broadcast = gateway, true
	offer, err := a.Respond(t.Context(), req)
	require.NoError(t, err)
	ask := discoverOf(t)
	ask.Local, ask.Broadcast = gateway, true
	asks(fromIP(offer.YourIPAddr))(ask.Packet)
	names(gateway)(ask.Packet)
	ask.Packet.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeRequest))
	ack, err := a.Respond(t.Context(), ask)
	require.Nil(t, ack)
	var unstored *UnstoredError
	require.ErrorAs(t, err, &unstored)
	require.Equal(t, fromIP(offer.YourIPAddr), unstored.Lease.Addr)
	require.ErrorContains(t, err, fmt.Sprintf("save the lease of %s", offer.YourIPAddr))
}
